"""Canonical answers, said to Anthropic's clients: the vendor's own SDK takes every answer and every event."""

import json
from pathlib import Path

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from providers.anthropic.answers import read_message
from providers.anthropic.blocks import parse_content
from providers.anthropic.downstream import parse_messages
from providers.anthropic.plugin import AnthropicDialect, AnthropicOptions
from providers.anthropic.render import message_id, render_message
from providers.anthropic.render_stream import MessageRenderer
from providers.anthropic.stream import MessageDecoder
from providers.errors import BadAnswer
from providers.framing import sse
from providers.signatures import holds_seal, seal
from providers.stream import CLOSES_PART, collect, replay
from providers.testing.cases import load_cases
from providers.types import (
    Choice,
    Completion,
    Finished,
    OpaquePart,
    RefusalPart,
    Secret,
    Started,
    Target,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStarted,
    Usage,
    UsageReported,
)

CASES = load_cases(*(Path(__file__).parent / "cases" / name for name in ("answers.json", "streams.json")))
BEYOND_SDK = {"a block that is not known yet"}
EVENT = TypeAdapter(RawMessageStreamEvent)
USAGE = Usage(input_tokens=3, output_tokens=5, cache_read_tokens=7, cache_write_tokens=11, reasoning_tokens=2)
WIRE_USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 11,
    "cache_read_input_tokens": 7,
    "output_tokens": 5,
    "output_tokens_details": {"thinking_tokens": 2},
}


def _completion(*content, reason="stop", usage=USAGE, **extras):
    choice = Choice(index=0, content=list(content), finish_reason=reason, extras=extras)
    return Completion(id="chatcmpl-1", model="up", created=7, choices=[choice], usage=usage)


def _render(completion):
    body = json.loads(msgspec.json.encode(render_message(completion, model="public", request_id="r1")))
    Message.model_validate(body, strict=False)
    return body


def _frames(events):
    renderer = MessageRenderer(model="public", request_id="r1")
    said = b"".join([renderer.feed(event) for event in events]) + renderer.finish()
    return sse.split_frames(said)


def _stream(events):
    """Return the events of a stream, each seen by the SDK's models, and the message that the SDK makes of them."""
    found, message, buffers, opened, closed = [], None, {}, [], []
    for frame in _frames(events):
        event = json.loads(sse.data_of(frame))
        assert sse.event_of(frame) == event["type"].encode()
        found.append(event)
        known = EVENT.validate_python(event)
        message = accumulate_event(event=known, current_snapshot=message, json_bufs=buffers)
        if event["type"] == "content_block_start":
            assert event["index"] == len(opened), "blocks are numbered in their order"
            opened.append(event["index"])
        elif event["type"] == "content_block_delta":
            assert event["index"] in opened
            assert event["index"] not in closed
        elif event["type"] == "content_block_stop":
            closed.append(event["index"])
    assert sorted(closed) == opened, "every block ends once"
    assert [found[0]["type"], found[-1]["type"]] == ["message_start", "message_stop"]
    return found, message


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES if case.name not in BEYOND_SDK])
def test_a_vendors_answer_is_said_as_it_was(case):
    body = _render(case.completion)
    assert read_message(msgspec.json.encode(body)).choices == case.completion.choices
    _, message = _stream(replay(case.completion))
    assert message.to_dict()["content"] == Message.model_validate(body).to_dict()["content"]
    assert (message.stop_reason, message.stop_sequence) == (body["stop_reason"], body["stop_sequence"])


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES if case.request.stream])
def test_a_vendors_stream_is_said_as_it_was(case):
    decoder = MessageDecoder()
    events = [*decoder.feed(case.answer), *decoder.finish()]
    again = MessageDecoder()
    said = [*again.feed(b"".join(_frames(events))), *again.finish()]
    assert collect(said).choices == case.completion.choices
    assert collect(said).usage == case.completion.usage


def test_thoughts_that_nobody_signed_come_back_as_thoughts_and_go_to_nobody_as_signed():
    """A client keeps a block only with a signature; Anthropic would refuse one that it did not make."""
    said = _render(_completion(ThinkingPart(text="hm"), TextPart(text="So")))["content"]
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": said}, {"role": "user", "content": "y"}]
    body = {"model": "m", "max_tokens": 9, "messages": turns}
    request = parse_messages(body)
    assert request.messages[1].content == [ThinkingPart(text="hm"), TextPart(text="So")]
    assert holds_seal(json.dumps(body).encode()), "it is not relayed as it is"
    target = Target(provider="p", model="m", base_url="https://api.example.com", credential=Secret("k"))
    sent = json.loads(AnthropicDialect(AnthropicOptions()).encode_chat(request, target).body)
    assert "So" in str(sent["messages"][1])
    assert "thinking" not in str(sent["messages"])


@pytest.mark.parametrize("signature", [None, "anthropic:theirs", "gemini:theirs"])
def test_streamed_thoughts_end_with_one_signature(signature):
    events = [Started(id="1", model="m", created=1), ThinkingDelta(text="h"), ThinkingDelta(text="m")]
    events += [] if signature is None else [ThinkingDelta(signature=signature)]
    events += [TextDelta(text="So"), Finished(reason="stop")]
    renderer = MessageRenderer(model="m", request_id="r1")
    frames = sse.split_frames(b"".join([renderer.feed(event) for event in events]) + renderer.finish())
    deltas = [said["delta"] for said in map(_data_of, frames) if said["type"] == "content_block_delta"]
    assert [delta["type"] for delta in deltas] == [*["thinking_delta"] * 2, "signature_delta", "text_delta"]
    assert deltas[2]["signature"] == seal(signature or "unsigned:", "anthropic")


def _data_of(frame):
    return json.loads(sse.data_of(frame))


def test_an_answer_of_another_vendor():
    body = _render(
        _completion(
            ThinkingPart(text="hm"),
            TextPart(text="So", annotations=[{"type": "url_citation", "url_citation": {"url": "https://a.example"}}]),
            ToolCallPart(id="functions.f:0", name="f", arguments='{"a":1}'),
            OpaquePart(dialect="gemini", value={"executableCode": {}}),
        )
    )
    assert body == {
        "id": "msg_r1",
        "type": "message",
        "role": "assistant",
        "model": "public",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": seal("unsigned:", "anthropic")},
            {
                "type": "text",
                "text": "So",
                "citations": [
                    {
                        "type": "web_search_result_location",
                        "url": "https://a.example",
                        "title": "",
                        "cited_text": "",
                        "encrypted_index": "",
                    }
                ],
            },
            {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": WIRE_USAGE,
    }


@pytest.mark.parametrize(
    ("reason", "extras", "said", "matched"),
    [
        ("stop", {}, "end_turn", None),
        ("stop", {"stop_sequence": "END"}, "stop_sequence", "END"),
        ("length", {}, "max_tokens", None),
        ("length", {"stop_reason": "model_context_window_exceeded"}, "model_context_window_exceeded", None),
        ("tool_calls", {}, "tool_use", None),
        ("content_filter", {}, "refusal", None),
        ("refusal", {}, "refusal", None),
        ("other", {"stop_reason": "pause_turn"}, "pause_turn", None),
        ("other", {"stop_reason": "never heard of"}, "end_turn", None),
    ],
)
def test_each_end_is_one_that_clients_know(reason, extras, said, matched):
    completion = _completion(TextPart(text="x"), reason=reason, **extras)
    body = _render(completion)
    assert (body["stop_reason"], body["stop_sequence"]) == (said, matched)
    _, message = _stream(replay(completion))
    assert (message.stop_reason, message.stop_sequence) == (said, matched)


def test_a_refusal_of_another_vendor_is_text():
    completion = _completion(RefusalPart(text="No."), reason="content_filter")
    assert _render(completion)["content"] == [{"type": "text", "text": "No."}]
    _, message = _stream(replay(completion))
    assert [(block.type, block.text) for block in message.content] == [("text", "No.")]


def test_an_answer_without_usage_counts_nothing():
    assert set(_render(_completion(TextPart(text="x"), usage=None))["usage"].values()) == {0}


def test_an_answer_without_choices_is_a_bad_one():
    with pytest.raises(BadAnswer):
        render_message(Completion(id="", model="", created=0, choices=[]), model="m", request_id="r")


def test_a_message_keeps_an_id_of_its_own_kind():
    assert message_id("msg_01A", "r1") == "msg_01A"
    assert message_id("chatcmpl-1", "r1") == "msg_r1"


# --- Streams


STARTED = Started(id="chatcmpl-1", model="up", created=7)
END = [Finished(reason="stop"), UsageReported(usage=USAGE)]


def test_a_stream_is_said_event_by_event():
    events, _ = _stream([STARTED, TextDelta(text="He"), TextDelta(text="llo"), *END])
    message = events[0]["message"]
    assert (message["id"], message["model"], message["stop_reason"]) == ("msg_r1", "public", None)
    assert events[1:] == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "He"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "llo"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": WIRE_USAGE,
        },
        {"type": "message_stop"},
    ]


def test_nothing_is_said_before_there_is_something_to_say():
    renderer = MessageRenderer(model="public", request_id="r1")
    usage = Usage(input_tokens=9)
    assert renderer.feed(STARTED) + renderer.feed(UsageReported(usage=usage)) == b""
    first = json.loads(sse.data_of(sse.split_frames(renderer.feed(TextDelta(text="x")))[0]))
    assert first["message"]["usage"]["input_tokens"] == 9


def test_thoughts_are_a_block_of_their_own_closed_before_text():
    events, message = _stream([STARTED, ThinkingDelta(text="a"), ThinkingDelta(text="b"), TextDelta(text="c"), *END])
    kinds = [event["type"] for event in events]
    assert kinds.index("content_block_stop") < [event.get("index") for event in events].index(1)
    assert [(block.type, getattr(block, "thinking", None)) for block in message.content] == [
        ("thinking", "ab"),
        ("text", None),
    ]


def test_each_signature_closes_its_block():
    thoughts = [
        ThinkingDelta(text="a"),
        ThinkingDelta(signature="anthropic:S1"),
        ThinkingDelta(redacted=True, signature="anthropic:D"),
        ThinkingDelta(signature="gemini:S2"),
        ThinkingDelta(text="b", extras={CLOSES_PART: True}),
        ThinkingDelta(text="c"),
    ]
    _, message = _stream([STARTED, *thoughts, *END])
    assert [block.type for block in message.content] == [
        "thinking",
        "redacted_thinking",
        "thinking",
        "thinking",
        "thinking",
    ]
    assert message.content[0].signature == "S1"
    assert message.content[1].data == "D"
    again = parse_content([block.to_dict() for block in message.content])
    assert [part.signature for part in again] == ["anthropic:S1", "anthropic:D", "gemini:S2", None, None]


def test_calls_that_follow_each_other_are_closed_in_turn():
    calls = [
        ToolCallStarted(index=0, id="a", name="f"),
        ToolCallDelta(index=0, arguments='{"x":'),
        ToolCallDelta(index=0, arguments="1}"),
        ToolCallStarted(index=1, id="b", name="g"),
        ToolCallDelta(index=1, arguments="{}"),
    ]
    events, message = _stream([STARTED, TextDelta(text="I look."), *calls, Finished(reason="tool_calls")])
    order = [(event["type"], event.get("index")) for event in events]
    assert order.index(("content_block_stop", 1)) < order.index(("content_block_start", 2))
    assert [(block.type, getattr(block, "input", None)) for block in message.content] == [
        ("text", None),
        ("tool_use", {"x": 1}),
        ("tool_use", {}),
    ]
    assert message.stop_reason == "tool_use"


def test_calls_that_come_mixed_are_told_apart():
    calls = [
        ToolCallStarted(index=0, id="a", name="f"),
        ToolCallStarted(index=1, id="b", name="g"),
        ToolCallDelta(index=0, arguments='{"x":'),
        ToolCallDelta(index=1, arguments='{"y":2}'),
        TextDelta(text="by the way"),
        ToolCallDelta(index=0, arguments="1}"),
    ]
    _, message = _stream([STARTED, *calls, Finished(reason="stop")])
    assert [getattr(block, "input", None) for block in message.content] == [{"x": 1}, {"y": 2}, None]
    assert message.stop_reason == "tool_use"


def test_signatures_of_calls_and_texts_travel_in_blocks_that_clients_send_back():
    parts = [
        TextPart(text="a", signature="gemini:T"),
        ToolCallPart(id="t", name="f", arguments='{"x":1}', signature="gemini:C"),
        ToolCallPart(id="u", name="f", arguments="{}"),
    ]
    completion = _completion(*parts, reason="tool_calls")
    assert parse_content(_render(completion)["content"]) == parts
    _, message = _stream(replay(completion))
    assert parse_content([block.to_dict() for block in message.content]) == parts


def test_only_the_first_of_several_answers_is_said():
    second = [
        TextDelta(text="no", choice=1),
        ToolCallStarted(index=0, id="a", name="f", choice=1),
        Finished(reason="length", choice=1),
    ]
    _, message = _stream([STARTED, TextDelta(text="yes"), *second, *END])
    assert [block.text for block in message.content] == ["yes"]
    assert message.stop_reason == "end_turn"


def test_an_empty_answer_is_a_message_all_the_same():
    events, message = _stream([STARTED, *END])
    assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]
    assert message.content == []


_TEXTS = st.text(min_size=1, max_size=5)
_PART = st.one_of(
    st.builds(TextPart, text=_TEXTS),
    st.builds(ThinkingPart, text=_TEXTS, signature=st.just("anthropic:S")),
    st.builds(ToolCallPart, id=st.just("t"), name=st.just("f"), arguments=st.sampled_from(["{}", '{"a":[1]}'])),
    st.builds(OpaquePart, dialect=st.just("anthropic"), value=st.just({"type": "container_upload", "file_id": "f"})),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_PART, max_size=6))
def test_a_stream_says_what_the_whole_answer_says(parts):
    completion = _completion(*parts)
    whole = Message.model_validate(_render(completion))
    _, streamed = _stream(replay(completion))
    assert streamed.to_dict()["content"] == whole.to_dict()["content"]
    assert (streamed.stop_reason, streamed.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
