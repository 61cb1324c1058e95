"""What Google's clients ask, read into the canonical vocabulary; nothing is lost on the way back to Google."""

import msgspec
import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.carry import carry
from providers.errors import RequestRefused
from providers.gemini.downstream import parse_generate
from providers.gemini.upstream import write_generate
from providers.signatures import seal
from providers.types import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    ReasoningOptions,
    ResponseFormat,
    Sampling,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

HI = {"role": "user", "parts": [{"text": "Hi?"}]}
CANONICAL_HI = Message(role="user", content=[TextPart(text="Hi?")])


def _parse(**document) -> ChatRequest:
    return parse_generate({"contents": [HI], **document}, model="m", stream=False)


def _messages(*contents: dict) -> list[Message]:
    return parse_generate({"contents": list(contents)}, model="m", stream=False).messages


def _model(*parts: dict) -> dict:
    return {"role": "model", "parts": list(parts)}


def _user(*parts: dict) -> dict:
    return {"role": "user", "parts": list(parts)}


def _call(name: str, **fields) -> dict:
    return {"functionCall": {"name": name, **fields}}


def _response(name: str, response: dict, **fields) -> dict:
    return {"functionResponse": {"name": name, "response": response, **fields}}


@pytest.mark.parametrize(
    "document",
    [
        {
            "contents": [{"parts": [{"text": "Hi?"}]}],
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "generationConfig": {"topP": 0.9, "topK": 3, "maxOutputTokens": 9, "stopSequences": ["E"]},
            "safetySettings": [{"category": "C", "threshold": "T"}],
        },
        {
            "contents": [{"parts": [{"text": "Hi?"}]}],
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "generation_config": {"top_p": 0.9, "top_k": 3, "max_output_tokens": 9, "stop_sequences": ["E"]},
            "safety_settings": [{"category": "C", "threshold": "T"}],
        },
    ],
)
def test_names_in_either_case_are_understood(document):
    assert parse_generate(document, model="m", stream=True) == ChatRequest(
        model="m",
        messages=[Message(role="system", content=[TextPart(text="Be brief.")]), CANONICAL_HI],
        dialect="gemini",
        sampling=Sampling(top_p=0.9, top_k=3, stop=["E"]),
        max_output_tokens=9,
        stream=True,
        extras={"safetySettings": [{"category": "C", "threshold": "T"}]},
    )


def test_calls_and_answers_without_ids_are_paired_in_order():
    assert _messages(
        HI,
        _model({**_call("f", args={"x": 1}), "thoughtSignature": "c2ln"}, _call("g"), _call("f", args={"x": 2})),
        _user(_response("f", {"output": "one"}), _response("f", {"error": "two"}), _response("g", {"a": [1]})),
        _model(_call("f")),
        _user(_response("f", {"output": {"b": 2}}), {"text": "Go on."}),
    ) == [
        CANONICAL_HI,
        Message(
            role="assistant",
            content=[
                ToolCallPart(id="call_0", name="f", arguments='{"x":1}', signature="gemini:c2ln"),
                ToolCallPart(id="call_1", name="g"),
                ToolCallPart(id="call_2", name="f", arguments='{"x":2}'),
            ],
        ),
        Message(
            role="tool",
            content=[
                ToolResultPart(id="call_0", name="f", content=[TextPart(text="one")]),
                ToolResultPart(id="call_2", name="f", content=[TextPart(text="two")], is_error=True),
                ToolResultPart(id="call_1", name="g", content=[TextPart(text='{"a":[1]}')]),
            ],
        ),
        Message(role="assistant", content=[ToolCallPart(id="call_3", name="f")]),
        Message(role="tool", content=[ToolResultPart(id="call_3", name="f", content=[TextPart(text='{"b":2}')])]),
        Message(role="user", content=[TextPart(text="Go on.")]),
    ]


def test_ids_that_are_given_are_kept():
    messages = _messages(
        HI,
        _model(_call("f", id="x"), _call("f", id="y")),
        _user(_response("f", {"output": "1"}, id="y"), _response("f", {"output": "2"})),
        {"role": "function", "parts": [_response("lost", {"output": "3"})]},
    )
    assert [part.id for part in messages[2].content] == ["y", "x"]
    assert [part.id for part in messages[3].content] == ["lost"]


def test_pieces_of_a_stream_that_a_client_sends_back_are_one_turn():
    sealed = seal("anthropic:sig", "gemini")
    messages = _messages(
        HI,
        _model({"text": "Let ", "thought": True}),
        _model({"text": "me.", "thought": True}),
        _model({"text": "", "thought": True, "thoughtSignature": sealed}),
        _model({"text": "Be"}),
        _model({"text": "cause"}),
        _model(_call("f", id="x")),
        _model({"text": ""}),
    )
    assert messages[1:] == [
        Message(
            role="assistant",
            content=[
                ThinkingPart(text="Let me.", signature="anthropic:sig"),
                TextPart(text="Because"),
                ToolCallPart(id="x", name="f"),
            ],
        )
    ]


def test_a_redacted_thought_comes_back_as_one():
    sealed = seal("anthropic:secret", "gemini")
    part = {"text": "", "thought": True, "thoughtSignature": sealed, "partMetadata": {"redacted": True}}
    told = types.Part.model_validate(part).model_dump(mode="json", by_alias=True, exclude_none=True)
    content = _messages(HI, _model({"text": "Hm.", "thought": True}, told))[1].content
    assert content == [ThinkingPart(text="Hm."), ThinkingPart(signature="anthropic:secret", redacted=True)]


@pytest.mark.parametrize(
    ("wire", "part"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "_-8"}}, ImagePart(media_type="image/png", data="/+8=")),
        ({"inline_data": {"mime_type": "audio/mpeg", "data": "aGk="}}, AudioPart(format="mp3", data="aGk=")),
        (
            {"inlineData": {"mimeType": "application/pdf", "data": "aGk=", "displayName": "a.pdf"}},
            FilePart(media_type="application/pdf", data="aGk=", filename="a.pdf"),
        ),
        (
            {"fileData": {"mimeType": "image/png", "fileUri": "https://x.example/a"}},
            ImagePart(media_type="image/png", url="https://x.example/a"),
        ),
        (
            {"file_data": {"mime_type": "video/mp4", "file_uri": "https://youtu.be/x"}, "videoMetadata": {"fps": 2}},
            FilePart(media_type="video/mp4", url="https://youtu.be/x", extras={"videoMetadata": {"fps": 2}}),
        ),
        ({"fileData": {"fileUri": "gs://bucket/a"}}, FilePart(file_id="gs://bucket/a")),
        (
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}},
            FilePart(file_id="https://generativelanguage.googleapis.com/v1beta/files/a"),
        ),
        ({"executableCode": {"code": "1"}}, OpaquePart(dialect="gemini", value={"executableCode": {"code": "1"}})),
        ({"novel": 1}, OpaquePart(dialect="gemini", value={"novel": 1})),
        ({"text": 7}, OpaquePart(dialect="gemini", value={"text": 7})),
    ],
)
def test_parts_have_their_canonical_forms(wire, part):
    assert _messages(_user(wire)) == [Message(role="user", content=[part])]


def test_functions_and_hosted_tools_are_told_apart():
    openapi = {
        "type": "OBJECT",
        "properties": {
            "tags": {"type": "ARRAY", "items": {"type": "STRING", "nullable": True, "enum": ["a"]}, "maxItems": "3"},
            "any": {"any_of": [{"type": "INTEGER"}, {"type": "NULL"}]},
        },
    }
    request = _parse(
        tools=[
            {"functionDeclarations": [{"name": "f", "description": "F.", "parameters": openapi}, {"name": "g"}]},
            {"google_search": {}, "codeExecution": {}},
        ],
        toolConfig={"functionCallingConfig": {"mode": "VALIDATED"}},
    )
    assert request.tools == [
        Tool(
            name="f",
            description="F.",
            parameters={
                "type": "object",
                "properties": {
                    "tags": {
                        "type": "array",
                        "items": {"type": ["string", "null"], "enum": ["a", None]},
                        "maxItems": 3,
                    },
                    "any": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                },
            },
            strict=True,
        ),
        Tool(name="g", parameters={"type": "object", "properties": {}}, strict=True),
        Tool(name="googleSearch", kind="googleSearch", extras={"googleSearch": {}}),
        Tool(name="codeExecution", kind="codeExecution", extras={"codeExecution": {}}),
    ]
    assert request.tool_choice == ToolChoice(mode="auto")


@pytest.mark.parametrize(
    ("calling", "choice", "is_kept"),
    [
        ({"mode": "AUTO"}, ToolChoice(mode="auto"), False),
        ({"mode": "any"}, ToolChoice(mode="required"), False),
        ({"mode": "NONE"}, ToolChoice(mode="none"), False),
        ({"mode": "ANY", "allowed_function_names": ["f"]}, ToolChoice(mode="named", name="f"), False),
        ({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}, None, True),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, None, True),
        ({"mode": "AUTO", "streamFunctionCallArguments": True}, ToolChoice(mode="auto"), True),
        ({}, None, False),
    ],
)
def test_a_choice_without_an_equal_is_kept_as_it_is(calling, choice, is_kept):
    request = _parse(toolConfig={"functionCallingConfig": calling})
    assert request.tool_choice == choice
    assert request.extras == ({"toolConfig": {"functionCallingConfig": calling}} if is_kept else {})


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ({"responseMimeType": "application/json"}, {"response_format": ResponseFormat(kind="json_object")}),
        ({"responseMimeType": "text/plain"}, {"response_format": ResponseFormat(kind="text")}),
        (
            {"responseMimeType": "application/json", "responseSchema": {"type": "STRING"}},
            {"response_format": ResponseFormat(kind="json_schema", name="response", schema={"type": "string"})},
        ),
        (
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "string"}},
            {"response_format": ResponseFormat(kind="json_schema", name="response", schema={"type": "string"})},
        ),
        (
            {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}},
            {
                "extras": {
                    "generationConfig.responseMimeType": "text/x.enum",
                    "generationConfig.responseSchema": {"type": "STRING"},
                }
            },
        ),
        ({"responseModalities": ["TEXT"]}, {}),
        ({"responseModalities": ["AUDIO"]}, {"extras": {"generationConfig.responseModalities": ["AUDIO"]}}),
        ({"thinkingConfig": {"thinkingBudget": -1}}, {"reasoning": ReasoningOptions(adaptive=True)}),
        ({"thinkingConfig": {"thinkingBudget": 0}}, {"reasoning": ReasoningOptions(budget_tokens=0)}),
        (
            {"thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True}},
            {"reasoning": ReasoningOptions(effort="high", include=True)},
        ),
        ({"candidateCount": 2}, {"n": 2}),
    ],
)
def test_the_config_has_its_canonical_form(config, fields):
    base = ChatRequest(model="m", messages=[CANONICAL_HI], dialect="gemini")
    assert _parse(generationConfig=config) == msgspec.structs.replace(base, **fields)


def test_another_vendor_gets_data_in_the_alphabet_that_it_reads():
    request = types.Part.from_bytes(data=bytes(range(250, 256)) * 3, mime_type="image/png")
    wire = request.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert "_" in wire["inlineData"]["data"] or "-" in wire["inlineData"]["data"]
    parsed = parse_generate({"contents": [_user(wire)]}, model="m", stream=False)
    (image,) = parsed.messages[0].content
    assert "_" not in image.data
    assert "-" not in image.data


# -- nothing is lost

_TEXT = st.text(alphabet='ab \u2028é"\\', min_size=1, max_size=8)
_NAME = st.sampled_from(["f", "g", "h"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAME, inner, max_size=2),
    max_leaves=4,
)
_ARGS = st.dictionaries(_NAME, _JSON, max_size=2)
_SIGNATURE = st.sampled_from(["c2ln", "AAEC"])
_MEDIA = st.sampled_from(
    [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "aGk=", "displayName": "a"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://x.example/a.png"}},
        {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/c"}, "videoMetadata": {"fps": 1.5}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"text": "x", "partMetadata": {"k": "v"}},
    ]
)
_SAID = st.builds(lambda text: {"text": text}, _TEXT)
_SIGNED = st.builds(lambda text, signature: {"text": text, "thoughtSignature": signature}, _TEXT, _SIGNATURE)
_THOUGHT = st.builds(lambda part: {**part, "thought": True}, _SAID | _SIGNED)


@st.composite
def _turns(draw) -> list[dict]:
    """Return a conversation: what the user says, and steps of calls and their answers."""
    contents = [_user(*draw(st.lists(_SAID | _MEDIA, min_size=1, max_size=3)))]
    for number in range(draw(st.integers(0, 3))):
        names = draw(st.lists(_NAME, min_size=1, max_size=3))
        calls = [
            {**_call(name, id=f"{number}.{at}", args=draw(_ARGS)), "thoughtSignature": draw(_SIGNATURE)}
            for at, name in enumerate(names)
        ]
        answers = [
            _response(name, draw(_ARGS | st.builds(lambda v: {"output": v}, _JSON)), id=f"{number}.{at}")
            for at, name in enumerate(names)
        ]
        contents.append(_model(*draw(st.lists(_THOUGHT | _SAID | _SIGNED, max_size=2)), *calls))
        contents.append(_user(*answers, *draw(st.lists(_SAID, max_size=1))))
    return contents


_CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0.0, 0.5]),
        "topP": st.just(0.5),
        "topK": st.just(4),
        "seed": st.integers(0, 9),
        "presencePenalty": st.just(0.5),
        "frequencyPenalty": st.just(0.5),
        "responseLogprobs": st.booleans(),
        "logprobs": st.integers(0, 5),
        "stopSequences": st.just(["END"]),
        "candidateCount": st.integers(1, 3),
        "maxOutputTokens": st.integers(1, 99),
        "mediaResolution": st.just("MEDIA_RESOLUTION_LOW"),
        "speechConfig": st.just({"voiceConfig": {"a_b": 1}}),
        "thinkingConfig": st.sampled_from(
            [{"thinkingBudget": -1}, {"thinkingBudget": 0}, {"thinkingLevel": "LOW", "includeThoughts": True}]
        ),
        "responseMimeType": st.sampled_from(["application/json", "text/plain", "text/x.enum"]),
        "responseJsonSchema": st.just({"type": "object", "properties": {"a": {"const": 1}}}),
    },
)
_DOCUMENT = st.fixed_dictionaries(
    {"contents": _turns()},
    optional={
        "systemInstruction": st.builds(lambda part: {"parts": [part]}, _SAID),
        "generationConfig": _CONFIG,
        "tools": st.just(
            [
                {"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {}}}]},
                {"functionDeclarations": [{"name": "g", "description": "G", "response": {"type": "STRING"}}]},
                {"googleSearch": {"timeRangeFilter": {"a_b": 1}}},
            ]
        ),
        "toolConfig": st.sampled_from(
            [
                {"functionCallingConfig": {"mode": "ANY"}},
                {"functionCallingConfig": {"mode": "VALIDATED"}},
                {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}},
                {"retrievalConfig": {"languageCode": "en"}},
            ]
        ),
        "safetySettings": st.just([{"category": "C", "threshold": "T"}]),
        "labels": st.just({"a_b": "c"}),
        "cachedContent": st.just("cachedContents/x"),
        "serviceTier": st.just("flex"),
    },
)


@settings(max_examples=300, deadline=None)
@given(_DOCUMENT)
def test_what_a_client_says_reaches_google_whole(document):
    once = parse_generate(document, model="m", stream=False)
    body, dropped = write_generate(once, model="gemini-3.8-flash")
    assert dropped == ()
    assert parse_generate(body, model="m", stream=False) == once
    again, _ = write_generate(parse_generate(body, model="m", stream=False), model="gemini-3.8-flash")
    assert again == body


@settings(max_examples=100, deadline=None)
@given(_turns())
def test_the_contents_themselves_come_back(contents):
    body, _ = write_generate(parse_generate({"contents": contents}, model="m", stream=False), model="gemini-3.8-flash")
    assert [content["role"] for content in body["contents"]] == [content["role"] for content in contents]
    for content in body["contents"]:
        types.Content.model_validate(content)


@pytest.mark.parametrize(
    ("document", "dropped"),
    [
        ({"generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}, ("generationConfig.mediaResolution",)),
        (
            {"safetySettings": [], "labels": {"a": "b"}, "serviceTier": "flex"},
            ("safetySettings", "labels", "serviceTier"),
        ),
    ],
)
def test_what_another_vendor_may_go_without_is_listed(document, dropped):
    assert carry(_parse(**document), dialect="openai") == dropped


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"generationConfig": {"responseModalities": ["IMAGE"]}}, "generationConfig.responseModalities"),
        ({"cachedContent": "cachedContents/x"}, "cachedContent"),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}}},
            "toolConfig",
        ),
    ],
)
def test_what_only_google_can_do_is_refused_elsewhere_by_its_path(document, param):
    with pytest.raises(RequestRefused) as caught:
        carry(_parse(**document), dialect="openai")
    assert caught.value.param == param
