"""Streams that end without `[DONE]`: complete if their last chunk says all, cut if it does not."""

import json

import pytest

from providers.catalog import Quirks
from providers.errors import ProviderOverloaded, StreamInterrupted
from providers.framing import sse
from providers.http.adapter import HttpAdapter
from providers.openai.plugin import OpenAIDialect
from providers.openai.wire import CHAT
from providers.stream import collect
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import ChatRequest, Message, RelayRequest, Target, TextPart, Usage

TARGET = Target(provider="p", model="m", base_url="http://provider.invalid/v1")
DONE = b"data: [DONE]\n\n"
USAGE = {"completion_tokens": 5, "prompt_tokens": 16, "total_tokens": 21}


def _chunk(delta, *, index=0, **fields):
    reason = {"finish_reason": fields.pop("reason")} if "reason" in fields else {}
    choice = {"delta": delta, "index": index, **reason}
    return sse.encode(json.dumps({"id": "c", "created": 7, "model": "m", "choices": [choice], **fields}).encode())


ROLE = _chunk({"role": "assistant"})
TEXT = _chunk({"content": "D say"})
FINISHED = _chunk({}, reason="length")
CLOSED = _chunk({}, reason="length", usage=USAGE)
COUNTED = sse.encode(json.dumps({"id": "c", "choices": [], "usage": USAGE}).encode())
ERROR = sse.encode(b'{"error": "no"}')
COMMENT = b": ping\n\n"

COMPLETE = {
    "as transformers does": [ROLE, TEXT, TEXT, CLOSED],
    "nothing but the last chunk": [_chunk({"content": "D say"}, reason="stop", usage=USAGE)],
    "usage in every chunk": [ROLE, _chunk({"content": "D say"}, usage=USAGE), CLOSED],
    "a comment behind it": [ROLE, TEXT, CLOSED, COMMENT],
    "blank lines behind it": [ROLE, TEXT, CLOSED, b"\n\n"],
}
CUT = {
    "nothing": [],
    "no finish": [ROLE, TEXT, TEXT],
    "a finish without usage": [ROLE, TEXT, FINISHED],
    "usage of its own, as of those who say done": [ROLE, TEXT, FINISHED, COUNTED],
    "an empty usage": [ROLE, TEXT, _chunk({}, reason="stop", usage=None)],
    "usage before the finish": [ROLE, _chunk({"content": "D"}, usage=USAGE), FINISHED],
    "more behind it": [ROLE, TEXT, CLOSED, _chunk({"content": "y"}, index=1)],
    "half a frame behind it": [ROLE, TEXT, CLOSED, b'data: {"id'],
    "half of the last chunk": [ROLE, TEXT, CLOSED[:-1]],
}


def _cuts(frames):
    stream = b"".join(frames)
    return [[stream], frames, *([stream[:at], stream[at:]] for at in range(1, len(stream)))]


def _adapter(pieces):
    answer = ScriptedAnswer([piece for piece in pieces if piece], headers={"content-type": "text/event-stream"})
    return HttpAdapter(OpenAIDialect(Quirks()), ScriptedSender(answer))


async def _relay(pieces):
    request = RelayRequest(operation=CHAT, body=b'{"model":"m"}', document={"model": "m"}, stream=True)
    stream = await _adapter(pieces).relay(request, TARGET)
    passed = []
    try:
        while data := await stream.read():
            passed.append(data)
    finally:
        stream.close()
    return b"".join(passed), stream.inspector


async def _ask(pieces):
    message = Message(role="user", content=[TextPart(text="x")])
    request = ChatRequest(model="public", messages=[message], dialect="openai", stream=True)
    stream = await _adapter(pieces).chat(request, TARGET)
    try:
        return collect([event async for event in stream])
    finally:
        stream.close()


@pytest.mark.parametrize("name", COMPLETE)
async def test_a_relayed_stream_that_says_all_gets_its_terminator(name):
    frames = COMPLETE[name]
    for pieces in _cuts(frames):
        passed, inspector = await _relay(pieces)
        assert passed.replace(b"\n", b"") == b"".join([*frames, DONE]).replace(b"\n", b"")
        assert passed.endswith(DONE)
        assert inspector.is_finished
        assert inspector.usage == Usage(input_tokens=16, output_tokens=5)


@pytest.mark.parametrize("name", COMPLETE)
async def test_a_decoded_stream_that_says_all_is_complete(name):
    for pieces in _cuts(COMPLETE[name]):
        completion = await _ask(pieces)
        assert completion.choices[0].finish_reason in {"length", "stop"}
        assert completion.usage == Usage(input_tokens=16, output_tokens=5)


@pytest.mark.parametrize("name", CUT)
async def test_any_other_is_interrupted(name):
    for pieces in _cuts(CUT[name]):
        with pytest.raises(StreamInterrupted):
            await _relay(pieces)
        with pytest.raises(StreamInterrupted):
            await _ask(pieces)


async def test_a_terminator_is_not_said_twice():
    passed, _ = await _relay([ROLE, TEXT, CLOSED, DONE])
    assert passed == b"".join([ROLE, TEXT, CLOSED, DONE])


async def test_an_error_behind_it_is_the_answers_end():
    for pieces in _cuts([ROLE, TEXT, CLOSED, ERROR]):
        for attempt in (_relay, _ask):
            with pytest.raises(ProviderOverloaded):
                await attempt(pieces)
