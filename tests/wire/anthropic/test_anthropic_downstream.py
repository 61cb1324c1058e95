"""A request of Anthropic's clients, read into the canonical form and written again."""

import json
from pathlib import Path

import msgspec
import pytest
from anthropic.types.message_create_params import (
    MessageCreateParamsBase,
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from providers.anthropic.downstream import parse_messages
from providers.anthropic.estimate import estimate_tokens
from providers.anthropic.upstream import write_messages
from providers.signatures import seal
from providers.testing.cases import SOURCE
from providers.types import ChatRequest, TextPart, ThinkingPart, ToolCallPart

CASES = json.loads((Path(__file__).parent / "cases" / "requests.json").read_text(encoding="utf-8"))["cases"]
IN_HEADERS = {"user_profile_id", "workspace_id"}
"""Parameters of the SDK that it sends as headers."""


def _named(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


def _again(body, *, model="claude-opus-4-6"):
    """Return the body of a request that was read, as it is written in the same dialect."""
    return write_messages(parse_messages(body), model=model, version="2023-06-01")


def _plain(body):
    """Return a body without what is said by leaving it out."""
    turns = [_joined(message) for message in body["messages"]]
    return {name: value for name, value in body.items() if value is not None} | {"model": "m", "messages": turns}


def _joined(message):
    content = message["content"]
    if isinstance(content, str):
        return message
    blocks = [_bare(block) for block in content]
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return message | {"content": blocks[0]["text"]}
    return message | {"content": blocks}


def _bare(block):
    kept = {name: value for name, value in block.items() if value is not None}
    if kept.get("is_error") is False:
        del kept["is_error"]
    return kept


@pytest.mark.parametrize("case", _named(CASES))
def test_a_case_names_its_source(case):
    assert SOURCE.search(case["source"])


@pytest.mark.parametrize("case", _named(case for case in CASES if "request" in case))
def test_a_request_is_read_right(case):
    assert parse_messages(case["body"]) == msgspec.convert(case["request"], ChatRequest)


@pytest.mark.parametrize("case", _named(CASES))
def test_a_request_goes_out_as_it_came_in(case):
    body, dropped = _again(case["body"])
    taken = {"temperature", "top_p"} <= case["body"].keys()  # of which the model takes one
    sent = {name: value for name, value in case["body"].items() if not (taken and name == "top_p")}
    assert _plain(body) == _plain(sent)
    assert dropped == (("top_p",) if taken else ())


@pytest.mark.parametrize("case", _named(CASES))
def test_what_goes_out_is_read_back_the_same(case):
    model = "claude-3-opus" if "temperature" in case["body"] else "claude-opus-4-6"
    body, _ = _again(case["body"], model=model)
    assert parse_messages(body | {"model": "public"}) == parse_messages(case["body"])


@pytest.mark.parametrize("case", _named(case for case in CASES if not case.get("beyond_sdk")))
def test_the_sdk_knows_what_goes_out(case):
    body, _ = _again(case["body"])
    params = MessageCreateParamsStreaming if case["body"].get("stream") else MessageCreateParamsNonStreaming
    TypeAdapter(params).validate_python(body)


@pytest.mark.parametrize("field", sorted(set(MessageCreateParamsBase.__annotations__) - IN_HEADERS))
def test_every_documented_field_has_a_case(field):
    assert any(field in case["body"] for case in CASES)


def test_what_claude_code_sends_is_said_to_others():
    body = next(case["body"] for case in CASES if case["name"] == "Claude Code")
    request = parse_messages(body)
    assert request.reasoning is not None
    assert (request.reasoning.effort, request.reasoning.include) == ("medium", False)
    assert [message.role for message in request.messages] == ["system", "user", "system", "assistant", "tool"]
    assert request.user == body["metadata"]["user_id"]
    assert request.extras == {"context_management": body["context_management"]}
    assert [tool.name for tool in request.tools] == ["Bash", "WebFetch"]


# --- What travels in signatures


def test_a_signature_of_another_vendor_comes_back_to_it():
    sealed = seal("gemini:AAA", "anthropic")
    body = {
        "model": "m",
        "messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": sealed}]}],
    }
    assert parse_messages(body).messages[0].content == [ThinkingPart(text="t", signature="gemini:AAA")]
    assert write_messages(parse_messages(body), model="m", version="2023-06-01")[0]["messages"][0]["content"] == []


def test_signatures_of_calls_and_texts_come_back_to_them():
    blocks = [
        {"type": "text", "text": "a"},
        {"type": "redacted_thinking", "data": seal("text:gemini:T", "anthropic")},
        {"type": "redacted_thinking", "data": seal("call:gemini:C", "anthropic")},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        {"type": "tool_use", "id": "u", "name": "f", "input": {}},
    ]
    message = parse_messages({"model": "m", "messages": [{"role": "assistant", "content": blocks}]}).messages[0]
    assert message.content == [
        TextPart(text="a", signature="gemini:T"),
        ToolCallPart(id="t", name="f", arguments="{}", signature="gemini:C"),
        ToolCallPart(id="u", name="f", arguments="{}"),
    ]


@pytest.mark.parametrize(
    "thinking",
    [
        {"type": "enabled"},
        {"type": "adaptive", "budget_tokens": 5},
        {"type": "new"},
        {"type": "adaptive", "display": "odd"},
    ],
)
def test_thinking_in_a_form_that_is_not_known_stays_as_it_is(thinking):
    request = parse_messages({"model": "m", "messages": [], "thinking": thinking, "output_config": {"effort": "low"}})
    assert request.reasoning is None
    assert request.extras == {"thinking": thinking, "output_config": {"effort": "low"}}


def test_the_field_of_older_clients_is_read_as_the_new_one():
    form = {"type": "json_schema", "schema": {"type": "object"}}
    request = parse_messages({"model": "m", "messages": [], "output_format": form})
    assert request.response_format is not None
    assert request.response_format.schema == {"type": "object"}
    assert not request.extras


# --- A property: nothing is lost on the way

_TEXTS = st.text(max_size=8)
_NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
_VALUES = st.recursive(
    st.booleans() | st.integers(-9, 9) | _TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=2),
    max_leaves=4,
)
_MARKS = st.fixed_dictionaries({}, optional={"cache_control": st.just({"type": "ephemeral"})})
_OBJECTS = st.dictionaries(_NAMES, _VALUES, max_size=3)
_SIGNATURES = st.from_regex(r"E[a-zA-Z0-9+/]{4,8}", fullmatch=True)


def _block(kind, **fields):
    return st.tuples(st.fixed_dictionaries({"type": st.just(kind), **fields}), _MARKS).map(
        lambda pair: pair[0] | pair[1]
    )


_TEXT = _block("text", text=_TEXTS)
_IMAGE = _block(
    "image",
    source=st.one_of(
        st.fixed_dictionaries({"type": st.just("base64"), "media_type": st.just("image/png"), "data": st.just("iVBO")}),
        st.fixed_dictionaries({"type": st.just("url"), "url": st.just("https://a.example/b.png")}),
        st.fixed_dictionaries({"type": st.just("file"), "file_id": _NAMES}),
    ),
)
_DOCUMENT = _block(
    "document",
    source=st.one_of(
        st.fixed_dictionaries({"type": st.just("text"), "media_type": st.just("text/plain"), "data": _TEXTS}),
        st.fixed_dictionaries({"type": st.just("content"), "content": _TEXTS}),
        st.fixed_dictionaries({"type": st.just("file"), "file_id": _NAMES}),
    ),
    title=_NAMES,
)
_ODD = _block("novel", value=_VALUES)
_CALL = _block("tool_use", id=_NAMES, name=_NAMES, input=_OBJECTS)
_THOUGHT = st.one_of(
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": _TEXTS, "signature": _SIGNATURES}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": _SIGNATURES}),
)
_RESULT = _block("tool_result", tool_use_id=_NAMES, content=st.lists(_TEXT | _IMAGE | _ODD, min_size=1, max_size=2))
_USER = st.tuples(st.lists(_RESULT, max_size=2), st.lists(_TEXT | _IMAGE | _DOCUMENT | _ODD, min_size=1, max_size=3))
_ASSISTANT = st.lists(_THOUGHT | _TEXT | _CALL | _ODD, min_size=1, max_size=4)
_ROUNDS = st.lists(st.tuples(_USER.map(lambda pair: [*pair[0], *pair[1]]), _ASSISTANT), min_size=1, max_size=2)
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "system": _TEXTS.filter(bool) | st.lists(_TEXT, min_size=1, max_size=2),
        "stop_sequences": st.lists(_TEXTS, min_size=1, max_size=2),
        "temperature": st.floats(0, 1),
        "metadata": st.fixed_dictionaries({"user_id": _TEXTS}),
        "thinking": st.sampled_from(
            [
                {"type": "adaptive"},
                {"type": "adaptive", "display": "omitted"},
                {"type": "disabled"},
                {"type": "between_tools"},
            ]
        ),
        "output_config": st.fixed_dictionaries({"task": _VALUES}, optional={"effort": st.sampled_from(["low", "max"])}),
        "tools": st.lists(
            _block("custom", name=_NAMES, input_schema=_OBJECTS) | _block("novel_20260101", name=_NAMES), min_size=1
        ),
        "tool_choice": st.sampled_from(
            [{"type": "auto", "disable_parallel_tool_use": True}, {"type": "none"}, {"type": "new"}]
        ),
        "novel": _VALUES,
        "stream": st.just(True),
    },
)


@settings(max_examples=150, deadline=None)
@given(_ROUNDS, _FIELDS)
def test_nothing_is_lost_between_client_and_vendor(rounds, fields):
    messages = [
        turn
        for user, said in rounds
        for turn in ({"role": "user", "content": user}, {"role": "assistant", "content": said})
    ]
    body = {"model": "m", "max_tokens": 9, "messages": messages, **fields}
    if "thinking" in fields and fields["thinking"]["type"] != "disabled":
        body.pop("temperature", None)  # with thinking there is none to choose
    written, dropped = _again(body)
    assert _normal(written) == _normal(body)
    assert not dropped


def _normal(value):
    """Return a body in the one form of the several that mean the same: content as a list of blocks."""
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _normal(item) for name, item in value.items() if name != "model"}
    is_turn = "role" in kept or kept.get("type") == "tool_result"
    for name in ("content",) if is_turn else ("system",) if "messages" in kept else ():
        if isinstance(kept.get(name), str):
            kept[name] = [{"type": "text", "text": kept[name]}]
    return kept


# --- Counting


def test_a_prompt_is_estimated_by_its_text():
    short = {"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}
    assert estimate_tokens(parse_messages(short)) == 100
    assert estimate_tokens(parse_messages(short | {"system": "y" * 40})) == 110
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 900_000}}
    assert (
        estimate_tokens(parse_messages({"model": "m", "messages": [{"role": "user", "content": [picture]}]})) == 1_600
    )
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    assert estimate_tokens(parse_messages(short | {"tools": tools})) > 100
    assert estimate_tokens(parse_messages({"model": "m", "messages": []})) == 1
