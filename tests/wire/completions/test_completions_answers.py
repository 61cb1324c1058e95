"""Answers said as text completions, whole and streamed, and those of other servers as they pass."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion as SdkCompletion

from providers.catalog import Quirks
from providers.errors import BadAnswer, StreamInterrupted
from providers.framing import sse
from providers.http.adapter import HttpAdapter
from providers.openai.completions import TextRenderer, echo_of, render_text_completion
from providers.openai.plugin import OpenAIDialect
from providers.openai.wire import WireUsage, read_usage
from providers.stream import replay
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import (
    Choice,
    Completion,
    OpaquePart,
    RefusalPart,
    RelayRequest,
    Target,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    Usage,
)

USAGE = Usage(input_tokens=4, output_tokens=2, cache_read_tokens=1, reasoning_tokens=1)
TARGET = Target(provider="p", model="m", base_url="http://provider.invalid/v1")
LOGPROBS = {
    "content": [
        {"token": "Hel", "logprob": -0.5, "bytes": [72], "top_logprobs": [{"token": "Hel", "logprob": -0.5}]},
        {"token": "lo", "logprob": -1, "bytes": None, "top_logprobs": []},
    ],
    "refusal": None,
}


def _answer(*parts, reason="stop", usage: Usage | None = USAGE, logprobs=None):
    choice = Choice(index=0, content=list(parts), finish_reason=reason, logprobs=logprobs)
    return Completion(id="cmpl-1", model="real", created=7, choices=[choice], usage=usage)


def _frames(answer, *, include_usage=False, echo=""):
    renderer = TextRenderer(model="public", include_usage=include_usage, echo=echo)
    stream = b"".join([renderer.feed(event) for event in replay(answer)]) + renderer.finish()
    return [json.loads(sse.data_of(frame)) for frame in sse.split_frames(stream)]


def _strict(chunk):
    """Check a chunk as the SDK's type says, but for the finish reason, which the wire leaves open until the end."""
    choices = [{**choice, "finish_reason": choice["finish_reason"] or "stop"} for choice in chunk["choices"]]
    SdkCompletion.model_validate({**chunk, "choices": choices}, strict=True)


def _texts(frames):
    texts: dict[int, str] = {}
    for frame in frames:
        for choice in frame["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    return texts


def test_a_whole_answer():
    body = render_text_completion(_answer(TextPart(text="Hello"), TextPart(text=" you")), model="public")
    assert body.pop("usage")["total_tokens"] == 7
    assert body == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 7,
        "model": "public",
        "choices": [{"text": "Hello you", "index": 0, "logprobs": None, "finish_reason": "stop"}],
    }


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("refusal", "content_filter"),
        ("tool_calls", "stop"),
        ("other", "stop"),
    ],
)
def test_the_finish_reasons_of_text(reason, said):
    answer = _answer(TextPart(text="x"), reason=reason)
    body = render_text_completion(answer, model="public")
    SdkCompletion.model_validate(body, strict=True)
    assert body["choices"][0]["finish_reason"] == said
    assert [choice["finish_reason"] for frame in _frames(answer) for choice in frame["choices"]] == [None, said]


def test_only_text_is_said():
    answer = _answer(
        ThinkingPart(text="hm"),
        TextPart(text="a"),
        ToolCallPart(id="1", name="f"),
        OpaquePart(dialect="x", value={}),
        RefusalPart(text="b"),
    )
    assert render_text_completion(answer, model="public")["choices"][0]["text"] == "ab"
    assert _texts(_frames(answer)) == {0: "ab"}


def test_a_stream():
    frames = _frames(_answer(TextPart(text="Hello")), include_usage=True)
    for frame in frames:
        _strict(frame)
        assert (frame["id"], frame["created"], frame["model"]) == ("cmpl-1", 7, "public")
    assert [frame["usage"] for frame in frames[:-1]] == [None, None]
    assert frames[-1]["choices"] == []
    assert read_usage(msgspec.convert(frames[-1]["usage"], WireUsage)) == USAGE


def test_usage_that_nobody_asked_for_or_reported_is_not_said():
    assert all("usage" not in frame for frame in _frames(_answer(TextPart(text="x"))))
    assert all(frame["choices"] for frame in _frames(_answer(TextPart(text="x"), usage=None), include_usage=True))
    assert "usage" not in render_text_completion(_answer(TextPart(text="x"), usage=None), model="public")


@pytest.mark.parametrize("echo", ["", "Say: "])
def test_logprobs_take_the_form_of_text_completions(echo):
    answer = _answer(TextPart(text="Hello"), logprobs=LOGPROBS)
    (choice,) = render_text_completion(answer, model="public", echo=echo)["choices"]
    assert choice["logprobs"] == {
        "tokens": ["Hel", "lo"],
        "token_logprobs": [-0.5, -1],
        "top_logprobs": [{"Hel": -0.5}, {"lo": -1}],
        "text_offset": [len(echo), len(echo) + 3],
    }
    assert _frames(answer, echo=echo)[0]["choices"][0]["logprobs"] == choice["logprobs"]


@pytest.mark.parametrize("odd", [None, 7, [], {}, {"content": None}, {"content": [7]}, {"content": "x"}])
def test_odd_logprobs_give_way(odd):
    (choice,) = render_text_completion(_answer(TextPart(text="x"), logprobs=odd), model="public")["choices"]
    assert choice["logprobs"] is None


def test_every_answer_begins_with_the_echo():
    choices = [Choice(index=n, content=[TextPart(text=f"-{n}")], finish_reason="stop") for n in (0, 1)]
    choices.append(Choice(index=2, content=[], finish_reason="length"))
    answer = Completion(id="1", model="m", created=7, choices=choices)
    body = render_text_completion(answer, model="public", echo="p")
    assert [choice["text"] for choice in body["choices"]] == ["p-0", "p-1", "p"]
    assert _texts(_frames(answer, echo="p")) == {0: "p-0", 1: "p-1", 2: "p"}


@pytest.mark.parametrize(
    ("body", "echo"), [({"prompt": "a", "echo": True}, "a"), ({"prompt": ["a"], "echo": False}, ""), ({}, "")]
)
def test_the_echo_is_the_prompt_if_asked_for(body, echo):
    assert echo_of(body) == echo


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), min_size=1, max_size=3), st.text(max_size=5))
def test_a_stream_says_what_the_whole_answer_says(texts, echo):
    choices = [
        Choice(index=at, content=[TextPart(text=text) for text in pieces], finish_reason="length")
        for at, pieces in enumerate(texts)
    ]
    answer = Completion(id="1", model="m", created=7, choices=choices, usage=USAGE)
    whole = render_text_completion(answer, model="public", echo=echo)
    SdkCompletion.model_validate(whole, strict=True)
    frames = _frames(answer, echo=echo)
    for frame in frames:
        _strict(frame)
    assert _texts(frames) == {choice["index"]: choice["text"] for choice in whole["choices"]}


# --- Relayed


def _chunk(text="", *, reason=None, **fields):
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    return sse.encode(json.dumps({"id": "1", "object": "text_completion", "choices": [choice], **fields}).encode())


TEXT, LAST, DONE = _chunk("Hello"), _chunk(reason="stop"), b"data: [DONE]\n\n"
TOLD = sse.encode(b'{"id":"1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}')


async def _relayed(pieces, *, stream=True, content_type="text/event-stream"):
    answer = ScriptedAnswer(pieces, headers={"content-type": content_type})
    adapter = HttpAdapter(OpenAIDialect(Quirks(serves=frozenset({"completions"}))), ScriptedSender(answer))
    document = {"model": "m", "prompt": "x", "stream": stream}
    body = json.dumps(document).encode()
    relay = await adapter.relay(
        RelayRequest(operation="openai.completions", body=body, document=document, stream=stream), TARGET
    )
    try:
        if not stream:
            return await relay.read_all(), relay.inspector
        passed = []
        while piece := await relay.read():
            passed.append(piece)
        return b"".join(passed), relay.inspector
    finally:
        relay.close()


async def test_a_relayed_stream_passes_without_the_usage_that_nobody_asked_for():
    passed, inspector = await _relayed([TEXT + LAST[:9], LAST[9:] + TOLD, DONE])
    assert passed == TEXT + LAST + DONE
    assert inspector.has_content
    assert inspector.usage == Usage(input_tokens=3, output_tokens=1)


async def test_a_relayed_stream_that_is_cut_is_no_whole_one():
    with pytest.raises(StreamInterrupted):
        await _relayed([TEXT])


async def test_a_relayed_answer_is_counted():
    body = b'{"choices":[{"text":"x"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
    passed, inspector = await _relayed([body], stream=False, content_type="application/json")
    assert passed == body
    assert inspector.usage == Usage(input_tokens=3, output_tokens=1)


async def test_a_page_is_no_stream():
    with pytest.raises(BadAnswer):
        await _relayed([b"<html>"], content_type="text/html")
