"""What is asked of Bedrock: what each kind of Claude takes, what cannot be carried, embeddings, the list of models."""

import json

import msgspec
import pytest

from providers.bedrock.blocks import call_id
from providers.bedrock.families import family_of
from providers.bedrock.plugin import BedrockDialect, BedrockOptions
from providers.bedrock.request import write_chat
from providers.errors import BadAnswer, RequestRefused
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    ReasoningOptions,
    ResponseFormat,
    Sampling,
    Secret,
    Target,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
)

OLD, MANUAL, ADAPTIVE = (
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "anthropic.claude-opus-4-5-v1:0",
    "claude-opus-4-6-v1",
)
STRICT, ALWAYS = "global.anthropic.claude-opus-5", "anthropic.claude-fable-5-2"
TOOL = Tool(name="clock", parameters={"type": "object", "properties": {}})
DIALECT = BedrockDialect(BedrockOptions())


def asked(model, content=None, **fields):
    message = Message(role="user", content=content or [TextPart(text="Hello")])
    request = ChatRequest(**{"model": "m", "messages": [message], "dialect": "openai", **fields})
    return write_chat(request, model=model)


def target(model="m", base_url="https://bedrock-runtime.us-east-1.amazonaws.com"):
    return Target(provider="p", model=model, base_url=base_url, credential=Secret("k"))


# --- Names


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-opus-5", "claude"),
        ("arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-1-8b-instruct-v1:0", "other"),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3", "hidden"),
        ("arn:aws:bedrock:us-east-1:123456789012:provisioned-model/a1b2c3", "hidden"),
        ("amazon.nova-pro-v1:0", "nova"),
        ("openai.gpt-oss-120b-1:0", "gpt-oss"),
        ("mistral.mistral-large-3-675b-instruct", "mistral"),
        ("amazon.titan-embed-text-v2:0", "titan-embed"),
        ("cohere.embed-english-v3", "cohere-embed"),
        ("deepseek.v3-v1:0", "other"),
    ],
)
def test_a_family_is_known_by_its_name(model, family):
    assert family_of(model) == family


def test_a_model_is_one_segment_of_the_path():
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-opus-5"
    request = ChatRequest(model="m", messages=[Message(role="user", content=[TextPart(text="x")])], dialect="openai")
    encoded = DIALECT.encode_chat(request, target(arn))
    assert encoded.url == (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A"
        "inference-profile%2Feu.anthropic.claude-opus-5/converse"
    )
    streamed = DIALECT.encode_chat(msgspec.structs.replace(request, stream=True), target("a.b-v1:0"))
    assert streamed.url.endswith("/model/a.b-v1%3A0/converse-stream")


# --- Reasoning


@pytest.mark.parametrize(
    ("model", "options", "cap", "thinking", "effort"),
    [
        (OLD, {"effort": "none"}, None, None, None),
        (MANUAL, {"effort": "minimal"}, None, {"type": "enabled", "budget_tokens": 1024}, None),
        (MANUAL, {"effort": "high"}, 5000, {"type": "enabled", "budget_tokens": 4000}, None),
        (MANUAL, {"budget_tokens": 9000}, 99, {"type": "enabled", "budget_tokens": 9000}, None),
        (MANUAL, {"adaptive": True}, None, {"type": "enabled", "budget_tokens": 12288}, None),
        (MANUAL, {"effort": "none"}, None, None, None),
        (ADAPTIVE, {"effort": "xhigh"}, None, {"type": "adaptive"}, "high"),
        (ADAPTIVE, {"effort": "none"}, None, None, None),
        (STRICT, {"effort": "xhigh"}, None, {"type": "adaptive"}, "xhigh"),
        (STRICT, {"budget_tokens": 30000}, None, {"type": "adaptive"}, "xhigh"),
        (STRICT, {"adaptive": True, "include": True}, None, {"type": "adaptive", "display": "summarized"}, None),
        (STRICT, {"effort": "low", "include": False}, None, {"type": "adaptive", "display": "omitted"}, "low"),
        (STRICT, {"effort": "none"}, None, {"type": "disabled"}, None),
    ],
)
def test_each_kind_of_claude_is_asked_to_think_in_its_way(model, options, cap, thinking, effort):
    body, left = asked(model, reasoning=ReasoningOptions(**options), max_output_tokens=cap)
    assert body.get("additionalModelRequestFields", {}).get("thinking") == thinking
    assert body.get("outputConfig", {}).get("effort") == effort
    assert left == ()


@pytest.mark.parametrize(
    ("model", "cap"), [(OLD, None), (MANUAL, 1000), ("amazon.nova-pro-v1:0", None), ("deepseek.v3-v1:0", None)]
)
def test_where_there_is_no_word_or_no_room_for_it_reasoning_is_left_out(model, cap):
    body, left = asked(model, reasoning=ReasoningOptions(effort="high"), max_output_tokens=cap)
    assert not {"additionalModelRequestFields", "outputConfig"} & body.keys()
    assert left == ("reasoning_effort",)


def test_open_models_of_openai_take_the_word():
    body, left = asked("openai.gpt-oss-20b-1:0", reasoning=ReasoningOptions(effort="minimal"))
    assert (body["additionalModelRequestFields"], left) == ({"reasoning_effort": "low"}, ())


def test_a_claude_that_always_thinks_thinks_little_where_it_shall_not():
    body, left = asked(ALWAYS, reasoning=ReasoningOptions(effort="none"))
    assert (body["outputConfig"], left) == ({"effort": "low"}, ("reasoning_effort",))


def test_an_effort_of_anthropics_clients_alone_turns_no_thinking_on():
    body, left = asked(ADAPTIVE, dialect="anthropic", reasoning=ReasoningOptions(effort="max"))
    assert (body["outputConfig"], left) == ({"effort": "max"}, ())
    assert "additionalModelRequestFields" not in body


def test_a_tool_that_must_be_called_turns_thinking_off_where_it_is_on_unasked():
    choice = ToolChoice(mode="required")
    body, left = asked(STRICT, tools=[TOOL], tool_choice=choice, reasoning=ReasoningOptions(effort="high"))
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}
    assert left == ("reasoning_effort",)


@pytest.mark.parametrize("model", [MANUAL, ADAPTIVE])
def test_a_tool_that_must_be_called_excludes_thinking(model):
    for choice in (ToolChoice(mode="required"), ToolChoice(mode="named", name="clock")):
        body, left = asked(model, tools=[TOOL], tool_choice=choice, reasoning=ReasoningOptions(effort="high"))
        assert "additionalModelRequestFields" not in body
        assert left == ("reasoning_effort",)


def test_a_turn_that_is_half_over_without_signed_thoughts_goes_on_without_thinking():
    call = ToolCallPart(id="1", name="clock")
    result = Message(role="tool", content=[ToolResultPart(id="1", content=[TextPart(text="noon")])])
    user = Message(role="user", content=[TextPart(text="Time?")])

    def thinks(*content, model=MANUAL, after=()):
        messages = [user, Message(role="assistant", content=[*content, call]), result, *after]
        body, _ = asked(model, messages=messages, tools=[TOOL], reasoning=ReasoningOptions(effort="low"))
        return "thinking" in body.get("additionalModelRequestFields", {})

    assert not thinks()
    assert not thinks(ThinkingPart(text="?", signature="gemini:x"))
    assert thinks(ThinkingPart(text="?", signature="anthropic:x"))
    assert not thinks(after=[user])
    assert thinks(after=[Message(role="assistant", content=[TextPart(text="Noon")]), user])
    assert thinks(model=ADAPTIVE)


@pytest.mark.parametrize(
    ("model", "sampling", "config", "fields", "dropped"),
    [
        (OLD, {"temperature": 0.2, "top_p": 0.5, "top_k": 3}, {"temperature": 0.2, "topP": 0.5}, {"top_k": 3}, ()),
        (MANUAL, {"temperature": 0.2, "top_p": 0.5}, {"temperature": 0.2}, None, ("top_p",)),
        (MANUAL, {"top_p": 0.5}, {"topP": 0.5}, None, ()),
        (STRICT, {"temperature": 0.2, "top_p": 0.5, "top_k": 3}, None, None, ("temperature", "top_k", "top_p")),
        ("mistral.mistral-large-2407-v1:0", {"top_k": 3}, None, {"top_k": 3}, ()),
        ("amazon.nova-lite-v1:0", {"top_k": 3}, None, {"inferenceConfig": {"topK": 3}}, ()),
        ("meta.llama3-1-8b-instruct-v1:0", {"top_k": 3}, None, None, ("top_k",)),
    ],
)
def test_sampling_is_said_where_the_model_takes_it(model, sampling, config, fields, dropped):
    body, left = asked(model, sampling=Sampling(**sampling))
    assert body.get("inferenceConfig") == config
    assert body.get("additionalModelRequestFields") == fields
    assert left == dropped


def test_what_only_anthropics_clients_say_reaches_claude():
    extras = {"thinking": {"type": "between_tools"}, "output_config": {"task_budget": 5}, "anthropic_beta": "a, b"}
    body, left = asked(STRICT, dialect="anthropic", extras=extras)
    assert body["additionalModelRequestFields"] == {**extras, "anthropic_beta": ["a", "b"]}
    assert left == ()


# --- The form of the answer


@pytest.mark.parametrize("model", [OLD, "amazon.nova-pro-v1:0"])
def test_a_model_without_schemas_answers_by_a_tool(model):
    form = ResponseFormat(kind="json_schema", name="x", schema={"type": "object"}, description="The answer")
    answer = {"toolSpec": {"name": "answer_in_json", "description": "The answer", "inputSchema": {"json": form.schema}}}
    body, _ = asked(model, response_format=form)
    assert body["toolConfig"] == {"tools": [answer], "toolChoice": {"tool": {"name": "answer_in_json"}}}
    body, _ = asked(model, response_format=form, tools=[TOOL], tool_choice=ToolChoice(mode="none"))
    assert body["toolConfig"] == {"tools": [answer], "toolChoice": {"tool": {"name": "answer_in_json"}}}
    body, _ = asked(model, response_format=form, tools=[TOOL], tool_choice=ToolChoice(mode="auto"))
    assert body["toolConfig"]["toolChoice"] == {"any": {}}
    assert body["toolConfig"]["tools"][1:] == [answer]
    body, _ = asked(model, response_format=form, tools=[TOOL], tool_choice=ToolChoice(mode="required"))
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["clock"]


def test_a_model_with_schemas_needs_no_tool():
    form = ResponseFormat(kind="json_schema", name="x", schema={"oneOf": [{"type": "object"}, {"type": "null"}]})
    body, _ = asked(STRICT, response_format=form)
    schema = json.loads(body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"])
    assert schema == {"anyOf": [{"type": "object", "additionalProperties": False}, {"type": "null"}]}
    assert "toolConfig" not in body


# --- What cannot be carried


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("n", {"n": 2}),
        ("logprobs", {"sampling": Sampling(logprobs=True)}),
        ("logit_bias", {"sampling": Sampling(logit_bias={"1": 1.0})}),
        ("audio", {"extras": {"audio": {"voice": "x"}}}),
        ("guardrailConfig", {"extras": {"guardrailConfig": "gr1"}}),
        ("additionalModelResponseFieldPaths", {"extras": {"additionalModelResponseFieldPaths": "/x"}}),
        ("anthropic_beta", {"extras": {"anthropic_beta": [7]}}),
        ("tools", {"tools": [Tool(name="web_search", kind="web_search")]}),
        ("messages", {"content": [ImagePart(url="https://example.com/cat.png")]}),
        ("messages", {"content": [ImagePart(data="AA==", media_type="image/tiff")]}),
        ("messages", {"content": [FilePart(url="https://example.com/a.pdf", media_type="application/pdf")]}),
        ("messages", {"content": [FilePart(file_id="file-1")]}),
        ("messages", {"content": [FilePart(data="AA==", filename="a.zip", media_type="application/zip")]}),
        ("messages", {"content": [OpaquePart(dialect="openai", value={"type": "input_video", "url": "x"})]}),
        ("messages", {"content": [OpaquePart(dialect="openai", value=7)]}),
    ],
)
def test_what_may_not_be_lost_is_refused_by_name(param, fields):
    with pytest.raises(RequestRefused) as caught:
        asked(STRICT, **fields)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_an_image_by_url_is_named_in_the_refusal():
    with pytest.raises(RequestRefused, match="an image by URL"):
        asked("amazon.nova-lite-v1:0", [ImagePart(url="https://example.com/cat.png")])


def test_hosted_tools_are_left_out_beside_functions_and_listed():
    body, left = asked(STRICT, tools=[TOOL, Tool(name="web_search", kind="web_search_preview")])
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["clock"]
    assert left == ("tools.web_search_preview",)


def test_calls_without_tools_are_told_in_words():
    messages = [
        Message(role="user", content=[TextPart(text="Time?")]),
        Message(role="assistant", content=[ToolCallPart(id="1", name="clock")]),
        Message(role="tool", content=[ToolResultPart(id="1", name="clock", content=[TextPart(text="noon")])]),
    ]
    body, _ = asked(STRICT, messages=messages)
    assert "toolConfig" not in body
    assert body["messages"][1:] == [
        {"role": "assistant", "content": [{"text": "[called the tool clock with {}]"}]},
        {"role": "user", "content": [{"text": "[the tool clock answered]"}, {"text": "noon"}]},
    ]


def test_ids_of_calls_are_kept_where_bedrock_takes_them_and_the_same_for_the_same_elsewhere():
    assert call_id("toolu_01.a:b-c") == "toolu_01.a:b-c"
    odd = [call_id(given) for given in ("call|1", "x" * 65, "")]
    assert len(set(odd)) == 3
    assert all(len(made) == 37 and made.startswith("call_") for made in odd)
    assert call_id("call|1") == odd[0]


def test_a_name_of_any_characters_becomes_one_that_bedrock_takes():
    files = [
        FilePart(data="AA==", filename=name)
        for name in ("Größe.pdf", "文書.pdf", "…/../a b\t c.md", "x" * 300 + ".txt")
    ]
    body, _ = asked(STRICT, files)
    documents = [block["document"] for block in body["messages"][0]["content"] if "document" in block]
    assert [(each["name"], each["format"]) for each in documents] == [
        ("Gr e", "pdf"), ("document", "pdf"), ("a b c", "md"), ("x" * 160, "txt"),
    ]  # fmt: skip


# --- Embeddings


def embeddings(model, inputs, **fields):
    request = EmbeddingRequest(model="m", input=inputs, dialect="openai", **fields)
    encoded = DIALECT.encode_embeddings(request, target(model))
    return encoded.url.rpartition("/model/")[2], json.loads(encoded.body), encoded.dropped


def test_cohere_embeds_many_texts():
    url, body, dropped = embeddings("cohere.embed-v4:0", ["a", "b"], dimensions=256, user="u")
    assert (url, dropped) == ("cohere.embed-v4%3A0/invoke", ("user",))
    assert body == {
        "texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"], "output_dimension": 256,
    }  # fmt: skip
    given = {"input_type": "search_query", "truncate": "END"}
    assert embeddings("cohere.embed-english-v3", ["a"], extras=given)[1].items() >= given.items()


def test_titan_embeds_one():
    _, body, _ = embeddings("amazon.titan-embed-text-v2:0", ["a"], dimensions=512, extras={"normalize": False})
    assert body == {"inputText": "a", "dimensions": 512, "normalize": False}


@pytest.mark.parametrize(
    ("model", "inputs", "more", "param"),
    [
        ("amazon.titan-embed-text-v2:0", ["a", "b"], {}, "input"),
        ("amazon.titan-embed-text-v1", ["a"], {"dimensions": 256}, "dimensions"),
        ("cohere.embed-english-v3", ["a"], {"dimensions": 256}, "dimensions"),
        ("cohere.embed-v4:0", [[1, 2]], {}, "input"),
        ("cohere.embed-v4:0", ["a"], {"extras": {"task": "x"}}, "task"),
        ("anthropic.claude-opus-5", ["a"], {}, "model"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(model, inputs, more, param):
    with pytest.raises(RequestRefused) as caught:
        embeddings(model, inputs, **more)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("answer", "vectors", "usage"),
    [
        (
            {"embedding": [0.5, 1], "inputTextTokenCount": 3, "embeddingsByType": {"float": [0.5, 1]}},
            [[0.5, 1.0]],
            Usage(input_tokens=3),
        ),
        (
            {
                "id": "x",
                "texts": ["a", "b"],
                "embeddings": {"float": [[1], [2]]},
                "response_type": "embeddings_by_type",
            },
            [[1.0], [2.0]],
            None,
        ),
        ({"id": "x", "embeddings": [[1.5]], "response_type": "embeddings_floats"}, [[1.5]], None),
    ],
)
def test_vectors_are_read_in_either_makers_form(answer, vectors, usage):
    read = DIALECT.decode_embeddings(json.dumps(answer).encode())
    assert (read.vectors, read.usage) == (vectors, usage)


@pytest.mark.parametrize(
    "answer", [{}, {"embeddings": {}}, {"embeddings": {"int8": [[1]]}}, {"embedding": "x"}, {"embeddings": []}]
)
def test_no_vectors_are_a_bad_answer(answer):
    with pytest.raises(BadAnswer):
        DIALECT.decode_embeddings(json.dumps(answer).encode())


# --- Models


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://bedrock-runtime.us-east-1.amazonaws.com", "https://bedrock.us-east-1.amazonaws.com/foundation-models"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "https://bedrock-fips.us-gov-west-1.amazonaws.com/foundation-models"),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn", "https://bedrock.cn-north-1.amazonaws.com.cn/foundation-models"),
        ("https://bedrock-runtime.eu-west-1.api.aws", "https://bedrock.eu-west-1.api.aws/foundation-models"),
    ],
)  # fmt: skip
def test_models_are_listed_at_the_control_plane_of_the_same_region(base_url, url):
    request = DIALECT.encode_models(target(base_url=base_url))
    assert (request.method, request.url) == ("GET", url)


@pytest.mark.parametrize(
    "base_url",
    ["https://vpce.example.com", "https://bedrock-runtime.us-east-1.amazonaws.com.evil.example", "http://localhost:1"],
)
def test_at_another_address_the_models_are_not_listed(base_url):
    with pytest.raises(RequestRefused, match="address of AWS's own"):
        DIALECT.encode_models(target(base_url=base_url))


def test_models_that_can_be_called_by_their_id_are_listed():
    def model(name, outputs, types):
        return {"modelId": name, "outputModalities": outputs, "inferenceTypesSupported": types}

    summaries = [
        model("amazon.nova-lite-v1:0", ["TEXT"], ["ON_DEMAND"]),
        model("amazon.titan-embed-text-v2:0", ["EMBEDDING"], ["ON_DEMAND", "PROVISIONED"]),
        model("anthropic.claude-opus-5", ["TEXT"], ["INFERENCE_PROFILE"]),
        model("stability.sd3-5-large-v1:0", ["IMAGE"], ["ON_DEMAND"]),
        {"modelId": 7},
        "odd",
    ]
    body = json.dumps({"modelSummaries": summaries}).encode()
    assert DIALECT.decode_models(body) == ["amazon.nova-lite-v1:0", "amazon.titan-embed-text-v2:0"]
