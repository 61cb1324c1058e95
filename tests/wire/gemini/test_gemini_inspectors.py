"""Inspectors of relayed answers: the bytes pass, what they say is noted, and a cut answer is never whole."""

import json

import pytest

from providers.errors import BadAnswer, ProviderOverloaded, StreamInterrupted
from providers.gemini.inspect import StreamInspector, WholeInspector
from providers.gemini.upstream import read_completion
from providers.types import Usage


def _frame(chunk: object, end: str = "\r\n\r\n") -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + end.encode()


def _piece(text: str | None, reason: str | None = None, index: int = 0, **fields) -> dict:
    candidate: dict = {"index": index} if index else {}
    if text is not None:
        candidate["content"] = {"parts": [{"text": text}], "role": "model"}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})], **fields}


USED = {"promptTokenCount": 4, "candidatesTokenCount": 2}
PIECES = [
    _piece('He said "finishReason": \u2028'),
    _piece("b", usageMetadata={"promptTokenCount": 4}),
    _piece("", "STOP", usageMetadata=USED),
]
STREAM = b": hello\n\n" + b"".join(map(_frame, PIECES))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_a_stream_passes_unchanged(size):
    inspector = StreamInspector()
    passed = b"".join(inspector.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size))
    assert passed + inspector.end() == STREAM
    assert inspector.usage == Usage(input_tokens=4, output_tokens=2)
    assert inspector.has_content
    assert inspector.is_finished
    assert inspector.output_tokens_seen == 3
    assert inspector.issued == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_a_stream_becomes_one_array(size):
    inspector = StreamInspector(framing="array")
    passed = b"".join(inspector.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size))
    assert json.loads(passed + inspector.end()) == PIECES
    assert passed.startswith(b'[{"candidates"')
    assert passed.count(b"\r\n") == len(PIECES) - 1


@pytest.mark.parametrize("framing", ["sse", "array"])
@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b": nothing\n\n",
        _frame(PIECES[0]),
        STREAM + b"data: {",
        _frame(_piece("a", "STOP")) + _frame(_piece("b", index=1)),
        _frame({"usageMetadata": USED}),
    ],
)
def test_a_cut_stream_has_no_end(stream, framing):
    inspector = StreamInspector(framing=framing)
    passed = inspector.feed(stream)
    assert b"]" not in passed[-1:]
    with pytest.raises(StreamInterrupted):
        inspector.end()
    assert not inspector.is_finished


def test_candidates_end_one_by_one():
    inspector = StreamInspector()
    inspector.feed(_frame(_piece("a")) + _frame(_piece("b", "STOP", index=1)) + _frame(_piece(None, "MAX_TOKENS")))
    assert inspector.end() == b""
    later = StreamInspector()
    later.feed(_frame(_piece("a", "STOP")) + _frame(_piece("", groundingMetadata={})))
    assert later.end() == b""


@pytest.mark.parametrize("framing", ["sse", "array"])
def test_an_error_is_withheld_and_told(framing):
    inspector = StreamInspector(framing=framing)
    error = {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}
    passed = inspector.feed(_frame(PIECES[0]) + _frame(error) + _frame(PIECES[2]))
    assert b"UNAVAILABLE" not in passed
    assert b"STOP" not in passed
    assert isinstance(inspector.error, ProviderOverloaded)
    assert inspector.feed(STREAM) == b""
    with pytest.raises(ProviderOverloaded):
        inspector.end()


def test_a_bare_error_at_the_end_is_told():
    inspector = StreamInspector()
    inspector.feed(_frame(PIECES[0]) + b'{\n"error": {"code": 503}\n}')
    with pytest.raises(ProviderOverloaded):
        inspector.end()


@pytest.mark.parametrize("framing", ["sse", "array"])
def test_a_blocked_prompt_is_an_answer(framing):
    inspector = StreamInspector(framing=framing)
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    passed = inspector.feed(_frame(blocked))
    assert inspector.has_content
    if framing == "array":
        assert json.loads(passed + inspector.end()) == [blocked]
    else:
        assert inspector.end() == b""


@pytest.mark.parametrize("odd", [{"candidates": 7}, {"candidates": [{"index": "x"}]}, {"usageMetadata": 7}])
def test_odd_pieces_pass(odd):
    inspector = StreamInspector()
    assert inspector.feed(_frame(odd) + STREAM) == _frame(odd) + STREAM
    assert inspector.end() == b""


@pytest.mark.parametrize(
    "garbage", [b"data: {no\n\n", b"data: 7\n\n", b"data: [1]\n\n", b"data: " + b"[" * 5_000 + b"\n\n"]
)
def test_garbage_is_a_bad_answer(garbage):
    with pytest.raises(BadAnswer):
        StreamInspector().feed(garbage)


def test_a_frame_without_bound_is_refused():
    with pytest.raises(BadAnswer) as caught:
        StreamInspector().feed(b"data: " + b"x" * (1 << 21))
    assert caught.value.code == "upstream_too_large"


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({**_piece("a", "STOP"), "usageMetadata": USED}, Usage(input_tokens=4, output_tokens=2)),
        (_piece("a", "STOP"), None),
        ({**_piece("a", "STOP"), "usageMetadata": 7}, None),
    ],
)
def test_a_whole_answer_passes_unchanged(body, usage):
    inspector = WholeInspector()
    data = json.dumps(body).encode()
    assert inspector.feed(data) == data
    assert inspector.usage == usage
    assert inspector.is_finished
    assert inspector.has_content


@pytest.mark.parametrize("read", [WholeInspector().feed, read_completion])
@pytest.mark.parametrize("more", [{}, {"usageMetadata": 7}])
def test_an_error_in_place_of_an_answer_is_one(read, more):
    with pytest.raises(ProviderOverloaded):
        read(json.dumps({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}, **more}).encode())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"<html>", b'{"usageMetadata": 7, '])
def test_a_whole_answer_that_is_none_is_refused(body):
    with pytest.raises(BadAnswer):
        WholeInspector().feed(body)
    with pytest.raises(StreamInterrupted):
        WholeInspector().end()
