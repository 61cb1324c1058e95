"""Answers of Gemini that are odd, cut, blocked or broken."""

import json

import pytest

from providers.errors import (
    BadAnswer,
    ContentBlocked,
    CredentialRefused,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    StreamInterrupted,
)
from providers.framing.sse import MAX_FRAME_BYTES
from providers.gemini.upstream import ChunkDecoder, read_completion
from providers.stream import collect
from providers.types import TextPart, Usage


def _frame(chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n"


def _piece(text: str, reason: str | None = None, **fields) -> dict:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})], "responseId": "r", **fields}


def _decode(*pieces: bytes):
    decoder = ChunkDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return collect([*events, *decoder.finish()])


def test_a_blocked_prompt_is_refused_content_whole_or_streamed():
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4}}
    with pytest.raises(ContentBlocked) as caught:
        read_completion(json.dumps(blocked).encode())
    assert caught.value.vendor_code == "PROHIBITED_CONTENT"
    with pytest.raises(ContentBlocked):
        _decode(_frame(blocked))


def test_an_answer_without_candidates_is_none():
    with pytest.raises(BadAnswer):
        read_completion(b'{"usageMetadata": {"promptTokenCount": 4}}')


def test_a_whole_answer_need_not_say_why_it_ended():
    answer = read_completion(json.dumps(_piece("x")).encode())
    assert answer.choices[0].finish_reason == "stop"


def test_what_follows_the_reason_is_still_read():
    answer = _decode(_frame(_piece("a", "STOP")), _frame(_piece("b", "STOP", usageMetadata={"promptTokenCount": 1})))
    assert answer.choices[0].content == [TextPart(text="ab")]
    assert answer.usage == Usage(input_tokens=1)


@pytest.mark.parametrize(
    "pieces",
    [
        [_frame(_piece("a"))],
        [_frame(_piece("a", "STOP")), b"data: {"],
        [_frame(_piece("a", "STOP")), _frame({"candidates": [{"index": 1, "content": {"parts": [{"text": "x"}]}}]})],
        [b": nothing\n\n"],
        [_frame({"usageMetadata": {"promptTokenCount": 4}})],
    ],
)
def test_a_cut_stream_is_never_whole(pieces):
    with pytest.raises(StreamInterrupted):
        _decode(*pieces)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}, ProviderOverloaded),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow down"}, ProviderRateLimited),
        ({"code": 401, "status": "UNAUTHENTICATED", "message": "no"}, CredentialRefused),
        ({"code": "x"}, ProviderOverloaded),
        ("broken", ProviderOverloaded),
    ],
)
def test_an_error_in_the_stream_comes_after_what_was_before_it(error, kind):
    decoder = ChunkDecoder()
    events = decoder.feed(_frame(_piece("a")) + _frame({"error": error}) + _frame(_piece("b", "STOP")))
    assert [type(event).__name__ for event in events] == ["Started", "TextDelta"]
    assert decoder.is_finished
    with pytest.raises(kind):
        decoder.finish()
    with pytest.raises(kind):
        decoder.feed(b"")


@pytest.mark.parametrize("bare", ['{\n "error": {\n  "code": 500\n }\n}', '[{"error": {"code": 500}}]'])
def test_an_error_may_stand_bare_in_the_stream(bare):
    with pytest.raises(ProviderOverloaded) as caught:
        _decode(_frame(_piece("a")), bare.encode())
    assert caught.value.status == 500


def test_a_frame_without_bound_is_refused():
    with pytest.raises(BadAnswer) as caught:
        _decode(b"data: " + b"x" * (MAX_FRAME_BYTES + 1))
    assert caught.value.code == "upstream_too_large"


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({}, None),
        ({"promptTokenCount": -1}, None),
        ({"promptTokenCount": "4"}, None),
        ({"promptTokenCount": 4, "candidatesTokenCount": 2.5}, None),
        ({"promptTokenCount": 4, "cachedContentTokenCount": 9}, Usage(cache_read_tokens=4)),
        ({"promptTokenCount": 4, "thoughtsTokenCount": -3, "toolUsePromptTokenCount": "x"}, Usage(input_tokens=4)),
        ([], None),
    ],
)
def test_absurd_usage_is_none(wire, usage):
    assert read_completion(json.dumps(_piece("x", "STOP", usageMetadata=wire)).encode()).usage == usage


@pytest.mark.parametrize(
    "candidate",
    [
        {"content": 7, "finishReason": "STOP"},
        {"content": {"parts": 7}, "finishReason": "STOP"},
        {"content": {"parts": [7, {"text": 7}, {"functionCall": 7}, {"thoughtSignature": 7}]}, "finishReason": "STOP"},
        {"index": "x", "finishReason": 7, "groundingMetadata": 7, "logprobsResult": {"chosenCandidates": 7}},
        {"finishReason": "STOP", "groundingMetadata": {"groundingSupports": [{"groundingChunkIndices": [9, "x"]}]}},
        {"finishReason": "STOP", "groundingMetadata": {"groundingChunks": [7], "groundingSupports": [{}]}},
        {"finishReason": "STOP", "logprobsResult": {"chosenCandidates": [{}], "topCandidates": [7]}},
    ],
)
def test_odd_shapes_never_break_the_reader(candidate):
    try:
        answer = read_completion(json.dumps({"candidates": [candidate]}).encode())
    except ProviderError:
        return
    assert answer.choices
