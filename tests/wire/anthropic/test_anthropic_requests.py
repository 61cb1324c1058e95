"""What goes to Anthropic, by what the model takes and by what another dialect can say."""

import msgspec
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from pydantic import TypeAdapter

from providers.anthropic.plugin import AnthropicDialect, AnthropicOptions
from providers.claude import traits_of
from providers.errors import RequestRefused
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
    Secret,
    Target,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

NEWEST, ADAPTIVE, MANUAL, OLD = "claude-opus-5-5", "claude-opus-4-6", "claude-sonnet-4-5", "claude-3-5-haiku-latest"
HI = Message(role="user", content=[TextPart(text="hi")])
TOOL = Tool(name="f", parameters={"type": "object"})
CALL = Message(role="assistant", content=[ToolCallPart(id="c", name="f")])
RESULT = Message(role="tool", content=[ToolResultPart(id="c", content=[TextPart(text="1")])])
SIGNED = ThinkingPart(text="t", signature="anthropic:EqQB")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
JSON = ResponseFormat(kind="json_schema", name="n", schema=SCHEMA)


def _ask(model, *messages, version="2023-06-01", dialect="openai", **fields):
    target = Target(provider="p", model=model, base_url="https://api.example.com", credential=Secret("k"))
    request = ChatRequest(model="public", messages=list(messages) or [HI], dialect=dialect, **fields)
    asked = AnthropicDialect(AnthropicOptions(version=version)).encode_chat(request, target)
    body = msgspec.json.decode(asked.body)
    TypeAdapter(MessageCreateParamsNonStreaming).validate_python(body)
    return body, set(asked.dropped)


# --- What a model takes


@pytest.mark.parametrize(
    ("name", "thinking", "may_rest", "samples", "max_output"),
    [
        ("claude-3-5-haiku-20241022", "none", True, True, 8_192),
        ("claude-3-haiku-20240307", "none", True, True, 4_096),
        ("claude-3-7-sonnet-latest", "manual", True, True, 64_000),
        ("claude-opus-4-20250514", "manual", True, True, 32_000),
        ("claude-4-opus-20250514", "manual", True, True, 32_000),
        ("claude-sonnet-4-5-20250929", "manual", True, True, 64_000),
        ("claude-haiku-4-5", "manual", True, True, 64_000),
        ("anthropic.claude-opus-4-6-v1", "adaptive", True, True, 128_000),
        ("claude-opus-4-7", "adaptive", True, False, 128_000),
        ("claude-sonnet-5[1m]", "adaptive", True, False, 128_000),
        ("claude-opus-5-5", "adaptive", False, False, 128_000),
        ("claude-fable-5", "adaptive", False, False, 128_000),
        ("claude-mythos-preview", "adaptive", False, False, 128_000),
        ("whatever-comes-next", "adaptive", False, False, 128_000),
    ],
)
def test_a_model_is_known_by_its_name(name, thinking, may_rest, samples, max_output):
    traits = traits_of(name)
    assert (traits.thinking, traits.may_rest) == (thinking, may_rest)
    assert (traits.samples, traits.max_output) == (samples, max_output)


@pytest.mark.parametrize(
    ("model", "options", "thinking", "effort", "is_lost"),
    [
        (NEWEST, ReasoningOptions(effort="high"), {"type": "adaptive"}, "high", False),
        (NEWEST, ReasoningOptions(effort="minimal"), {"type": "adaptive"}, "low", False),
        (NEWEST, ReasoningOptions(effort="none"), None, "low", True),
        (NEWEST, ReasoningOptions(budget_tokens=20_000), {"type": "adaptive"}, "high", False),
        (NEWEST, ReasoningOptions(), {"type": "adaptive"}, None, False),
        (ADAPTIVE, ReasoningOptions(effort="xhigh"), {"type": "adaptive"}, "high", False),
        (ADAPTIVE, ReasoningOptions(effort="none"), {"type": "disabled"}, None, False),
        (MANUAL, ReasoningOptions(effort="low"), {"type": "enabled", "budget_tokens": 4_096}, None, False),
        (MANUAL, ReasoningOptions(budget_tokens=1), {"type": "enabled", "budget_tokens": 1_024}, None, False),
        ("claude-opus-4-5", ReasoningOptions(effort="low"), {"type": "enabled", "budget_tokens": 4_096}, "low", False),
        (OLD, ReasoningOptions(effort="low"), None, None, True),
        (OLD, ReasoningOptions(effort="none"), None, None, False),
    ],
)
def test_thinking_is_said_as_the_model_takes_it(model, options, thinking, effort, is_lost):
    body, dropped = _ask(model, reasoning=options)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert ("reasoning_effort" in dropped) is is_lost


@pytest.mark.parametrize(
    ("cap", "budget", "max_tokens"), [(2_000, 1_600, 2_000), (100_000, 24_576, 100_000), (None, 24_576, 32_768)]
)
def test_a_budget_leaves_room_for_an_answer(cap, budget, max_tokens):
    body, dropped = _ask(MANUAL, reasoning=ReasoningOptions(effort="high"), max_output_tokens=cap)
    assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == (budget, max_tokens)
    assert not dropped


def test_a_cap_that_leaves_nothing_to_think_with_wins():
    body, dropped = _ask(MANUAL, reasoning=ReasoningOptions(effort="high"), max_output_tokens=1_000)
    assert "thinking" not in body
    assert dropped == {"reasoning_effort"}


@pytest.mark.parametrize(("model", "cap"), [(NEWEST, 32_000), (OLD, 8_192), ("claude-2.1", 4_096)])
def test_an_answer_without_a_cap_gets_one(model, cap):
    assert _ask(model)[0]["max_tokens"] == cap


@pytest.mark.parametrize(
    ("turn", "thinks"),
    [
        ([CALL, RESULT], False),
        ([Message(role="assistant", content=[SIGNED, *CALL.content]), RESULT], True),
        ([Message(role="assistant", content=[SIGNED, *CALL.content]), RESULT, CALL, RESULT], True),
        ([CALL, RESULT, Message(role="assistant", content=[SIGNED, *CALL.content]), RESULT], False),
        ([CALL, RESULT, Message(role="assistant", content=[TextPart(text="1")]), HI], True),
        ([CALL, RESULT, HI], False),
        ([Message(role="assistant", content=[ThinkingPart(text="t", signature="gemini:A"), *CALL.content])], False),
    ],
)
def test_a_turn_that_began_without_thoughts_goes_on_without(turn, thinks):
    wish = ReasoningOptions(effort="low")
    body, dropped = _ask(MANUAL, HI, *turn, tools=[TOOL], reasoning=wish)
    assert ("thinking" in body, "reasoning_effort" in dropped) == (thinks, not thinks)
    assert "thinking" in _ask(ADAPTIVE, HI, *turn, tools=[TOOL], reasoning=wish)[0], (
        "it may always think where it adapts"
    )


def test_a_forced_tool_leaves_no_time_to_think():
    wish, must = ReasoningOptions(effort="low"), ToolChoice(mode="required")
    for model in (MANUAL, ADAPTIVE):
        body, dropped = _ask(model, tools=[TOOL], tool_choice=must, reasoning=wish)
        assert (body["thinking"], dropped) == ({"type": "disabled"}, {"reasoning_effort"})
    assert _ask(NEWEST, tools=[TOOL], tool_choice=must, reasoning=wish)[0]["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize(
    ("model", "sampling", "fields", "said", "lost"),
    [
        (MANUAL, Sampling(temperature=0.2, top_k=4), {}, {"temperature": 0.2, "top_k": 4}, set()),
        (MANUAL, Sampling(temperature=0.2, top_p=0.5), {}, {"temperature": 0.2}, {"top_p"}),
        (OLD, Sampling(temperature=0.2, top_p=0.5), {}, {"temperature": 0.2, "top_p": 0.5}, set()),
        (NEWEST, Sampling(temperature=0.2, top_p=1), {}, {}, {"temperature"}),
        (NEWEST, Sampling(temperature=1), {}, {}, set()),
        (MANUAL, Sampling(temperature=0.2), {"version": "2026-10-21"}, {}, {"temperature"}),
        (
            MANUAL,
            Sampling(top_p=0.97, top_k=4),
            {"reasoning": ReasoningOptions(effort="low")},
            {"top_p": 0.97},
            {"top_k"},
        ),
    ],
)
def test_sampling_is_said_where_it_is_taken(model, sampling, fields, said, lost):
    body, dropped = _ask(model, sampling=sampling, **fields)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == said
    assert dropped == lost


# --- JSON on models without structured outputs


def test_json_is_the_argument_of_a_forced_tool():
    body, dropped = _ask(OLD, response_format=JSON)
    assert body["tool_choice"] == {"type": "tool", "name": "answer_in_json"}
    assert body["tools"] == [
        {
            "name": "answer_in_json",
            "description": "Gives the final answer to the user. It is called n.",
            "input_schema": SCHEMA,
        }
    ]
    assert not dropped


def test_beside_other_tools_any_may_be_called():
    body, _ = _ask(OLD, response_format=JSON, tools=[TOOL])
    assert body["tool_choice"] == {"type": "any"}
    assert [tool["name"] for tool in body["tools"]] == ["f", "answer_in_json"]


def test_an_answer_that_must_be_a_call_has_no_other_form():
    body, _ = _ask(OLD, response_format=JSON, tools=[TOOL], tool_choice=ToolChoice(mode="required"))
    assert body["tool_choice"] == {"type": "any"}
    assert [tool["name"] for tool in body["tools"]] == ["f"]


def test_one_of_several_schemas_is_said_as_any_of_them():
    schema = {
        "type": "object",
        "properties": {"a": {"oneOf": [{"type": "string", "format": "regex"}, {"type": "null"}]}},
    }
    form = ResponseFormat(kind="json_schema", name="n", schema=schema)
    said = _ask(NEWEST, response_format=form)[0]["output_config"]["format"]["schema"]
    assert said["properties"]["a"] == {"anyOf": [{"type": "string", "description": "format: regex"}, {"type": "null"}]}


# --- What cannot be said


@pytest.mark.parametrize(
    ("content", "param"),
    [
        ([AudioPart(data="AA==", format="wav")], "messages"),
        ([OpaquePart(dialect="openai", value={"type": "video_url"})], "messages"),
        ([FilePart(data="/w==", media_type="application/zip")], "messages"),
    ],
)
def test_a_part_that_cannot_be_said_is_refused_by_name(content, param):
    with pytest.raises(RequestRefused) as caught:
        _ask(NEWEST, Message(role="user", content=content))
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"sampling": Sampling(logprobs=True)}, "logprobs"),
        ({"sampling": Sampling(logit_bias={"1": 1.0})}, "logit_bias"),
        ({"extras": {"modalities": ["audio"]}}, "modalities"),
        ({"tools": [Tool(name="w", kind="web_search", extras={"type": "web_search"})]}, "tools"),
    ],
)
def test_a_field_whose_loss_changes_the_answer_is_refused_by_name(fields, param):
    with pytest.raises(RequestRefused) as caught:
        _ask(NEWEST, **fields)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_what_is_harmless_is_left_out_and_listed():
    hosted = Tool(name="w", kind="web_search", extras={"type": "web_search"})
    messages = [Message(role="user", name="ann", content=[ImagePart(url="https://a.example/b", detail="low")])]
    extras = {"store": True, "service_tier": "flex", "verbosity": None}
    body, dropped = _ask(OLD, *messages, tools=[msgspec.structs.replace(TOOL, strict=True), hosted], extras=extras)
    assert dropped == {"name", "detail", "store", "service_tier", "strict", "tools.web_search"}
    assert body.keys() == {"model", "max_tokens", "messages", "tools"}


def test_what_another_dialect_borrows_goes_on():
    mark = {"type": "ephemeral", "ttl": "1h"}
    messages = [Message(role="user", content=[TextPart(text="a"), TextPart(text="b")], extras={"cache_control": mark})]
    tool = msgspec.structs.replace(TOOL, extras={"cache_control": mark})
    extras = {"service_tier": "default", "cache_control": mark}
    body, dropped = _ask(NEWEST, *messages, tools=[tool], extras=extras)
    assert body["messages"][0]["content"][1] == {"type": "text", "text": "b", "cache_control": mark}
    assert body["tools"][0]["cache_control"] == body["cache_control"] == mark
    assert body["service_tier"] == "standard_only"
    assert not dropped


# --- Turns


def test_results_stand_right_behind_their_calls():
    said = Message(role="system", content=[TextPart(text="be quick")])
    body, _ = _ask(NEWEST, HI, CALL, said, RESULT, tools=[TOOL])
    assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "text"]


def test_a_turn_that_says_nothing_is_no_turn():
    body, _ = _ask(NEWEST, HI, Message(role="assistant", content=[TextPart(text="")]), HI)
    assert [turn["role"] for turn in body["messages"]] == ["user", "user"]


@pytest.mark.parametrize(
    ("arguments", "given"), [("", {}), ('{"a":1}', {"a": 1}), ("[1]", {"arguments": "[1]"}), ("{", {"arguments": "{"})]
)
def test_arguments_go_as_an_object(arguments, given):
    call = Message(role="assistant", content=[ToolCallPart(id="c", name="f", arguments=arguments)])
    assert _ask(NEWEST, HI, call, RESULT, tools=[TOOL])[0]["messages"][1]["content"][0]["input"] == given


def test_a_free_text_call_is_wrapped():
    call = ToolCallPart(id="c", name="sh", arguments="ls", extras={"type": "custom"})
    body, _ = _ask(NEWEST, HI, Message(role="assistant", content=[call]), RESULT, tools=[TOOL])
    assert body["messages"][1]["content"] == [{"type": "tool_use", "id": "c", "name": "sh", "input": {"input": "ls"}}]
