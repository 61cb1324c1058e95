"""A transform means the same whatever dialect the request came in, and what has no canonical form is the provider's."""

import msgspec
import pytest

from app.api.anthropic.paths import MESSAGES_WIRE
from app.api.openai.paths import CHAT_WIRE
from app.routing.bending import bend, is_set, with_cap_named, without
from app.settings.model import Transform
from providers.carry import CANONICAL, canonical
from providers.framing.additions import add_members
from providers.openai.downstream import parse_chat
from providers.types import NO_WIRE_FIELDS, ChatRequest, ReasoningOptions, WireFields

BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
SAID = {
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 2},
    "logprobs": True,
    "max_tokens": 5,
    "metadata": {"a": "b"},
    "n": 2,
    "parallel_tool_calls": False,
    "presence_penalty": 0.5,
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "seed": 7,
    "stop": ["s"],
    "temperature": 0.5,
    "tool_choice": "none",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "top_k": 4,
    "top_logprobs": 3,
    "top_p": 0.5,
    "user": "u",
}


def bent(wire=MESSAGES_WIRE, body=BODY, **fields) -> ChatRequest:
    request = wire.operation.parse(body, wire.read(body, None))
    return bend(request, Transform(**fields), body, vocabulary=wire.operation.vocabulary).request


def test_every_canonical_field_is_tried():
    assert SAID.keys() == CANONICAL


@pytest.mark.parametrize("name", SAID)
def test_every_canonical_field_can_be_set_and_dropped(name):
    read = parse_chat({**BODY, name: SAID[name]})
    for wire in (MESSAGES_WIRE, CHAT_WIRE):
        made = bent(wire, set={name: SAID[name]})
        assert canonical(made, name) == canonical(read, name) != None  # noqa: E711 - a value that is there and the same
        assert made.wire is NO_WIRE_FIELDS
    assert is_set(read, name)
    assert not is_set(without(read, name), name)


@pytest.mark.parametrize("name", SAID)
def test_a_default_is_for_what_the_client_left_out(name):
    said = {**BODY, name: SAID[name]}
    assert bent(CHAT_WIRE, said, default={name: None}) == parse_chat(said)
    open_ = {member: value for member, value in BODY.items() if member != "max_tokens"}
    assert bent(CHAT_WIRE, open_, default={name: SAID[name]}) == bent(CHAT_WIRE, open_, set={name: SAID[name]})


def test_what_was_dropped_or_is_null_is_not_left_out():
    assert bent(CHAT_WIRE, {**BODY, "seed": 1}, drop=("seed",), default={"seed": 2}).sampling.seed == 2
    assert bent(CHAT_WIRE, {**BODY, "seed": None}, default={"seed": 2}).sampling.seed is None
    assert bent(CHAT_WIRE, {**BODY, "n": 1}, default={"n": 2}).n == 1


def test_what_is_not_canonical_is_the_providers_own():
    made = bent(CHAT_WIRE, {**BODY, "x": 1, "y": 1}, set={"x": 2, "a.b": 3}, default={"y": 2, "z": 3})
    assert made.wire == WireFields(put={"x": 2, "a.b": 3}, default={"z": 3})
    assert made.extras == {"y": 1}


def test_the_form_of_a_value_may_be_the_providers_own():
    form = {"type": "grammar", "grammar": "g"}
    made = bent(set={"response_format": form})
    assert (made.response_format, made.wire.put) == (None, {"response_format": form})


def test_thoughts_are_shown_as_the_client_wants():
    body = {**BODY, "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"}}
    assert bent(body=body, set={"reasoning_effort": "low"}).reasoning == ReasoningOptions(effort="low", include=True)


def test_a_field_is_renamed_once_and_never_over_another():
    made = bent(CHAT_WIRE, {**BODY, "seed": 1, "x": 2}, rename={"seed": "y", "x": "top_k", "absent": "top_p"})
    assert (made.sampling.seed, made.sampling.top_k, made.extras, made.wire.put) == (None, 2, {}, {"y": 1})
    made = bent(CHAT_WIRE, {**BODY, "seed": 1, "x": 2}, rename={"x": "seed"})
    assert (made.sampling.seed, made.extras) == (1, {"x": 2})


@pytest.mark.parametrize(
    ("rename", "relays", "put"),
    [
        ({"max_tokens": "max_completion_tokens"}, {"openai.chat"}, {"max_completion_tokens": 9}),
        ({"max_tokens": "max_completion_tokens"}, {"anthropic.messages"}, {}),
        ({"max_tokens": "cap"}, set(), {"cap": 9}),
        ({"seed": "cap"}, {"openai.chat"}, {}),
    ],
)
def test_the_cap_is_named_by_its_operator(rename, relays, put):
    made = with_cap_named(parse_chat(BODY), Transform(rename=rename), relays=relays)
    assert (made.wire.put, made.max_output_tokens) == (put, None if put else 9)


def test_only_what_the_client_left_open_is_the_operators():
    request = parse_chat({**BODY, "seed": 1})
    transform = Transform(set={"seed": 2, "top_k": 3}, default={"n": 2, "max_tokens": 1})
    found = bend(request, transform, {**BODY, "seed": 1}, vocabulary=CHAT_WIRE.operation.vocabulary)
    assert found.written == {"top_k", "n"}


@pytest.mark.parametrize(
    ("body", "default", "put", "made"),
    [
        ({}, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 0, "b": 0}, {"a": 1}, {"b": 2}, {"a": 0, "b": 2}),
        ({"a": {"b": 0}}, {"a.b": 1, "a.c": 1}, {"a.d": 2}, {"a": {"b": 0, "c": 1, "d": 2}}),
        ({"a": 0}, {"a.b": 1}, {}, {"a": 0}),
        ({"a": 0}, {}, {"a.b": 1}, {"a": {"b": 1}}),
        ({"a": {"x": 1}}, {}, {"a": {"y": 1}}, {"a": {"y": 1}}),
    ],
)
def test_members_are_added_to_a_body(body, default, put, made):
    added = add_members(msgspec.json.encode(body), default=default, put=put)
    assert msgspec.json.decode(added) == made
