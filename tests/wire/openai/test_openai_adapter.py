"""The OpenAI dialect joined to a transport: what only the two together can get wrong."""

import json

import msgspec
import pytest

from providers.catalog import Quirks
from providers.errors import BadAnswer, ContextTooLong
from providers.http.adapter import HttpAdapter
from providers.openai.plugin import OpenAIDialect
from providers.stream import collect
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import ChatRequest, EmbeddingRequest, Message, RelayRequest, Secret, Target, TextPart

TARGET = Target(provider="p", model="m", base_url="http://provider.invalid/v1")
CHUNK = {
    "id": "1",
    "created": 7,
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}],
}
STREAM = b"data: " + json.dumps(CHUNK).encode() + b"\n\ndata: [DONE]\n\n"


def _adapter(body: bytes, content_type: str) -> tuple[HttpAdapter, ScriptedAnswer]:
    answer = ScriptedAnswer(body, headers={"content-type": content_type})
    return HttpAdapter(OpenAIDialect(Quirks()), ScriptedSender(answer)), answer


async def _ask(adapter):
    message = Message(role="user", content=[TextPart(text="x")])
    request = ChatRequest(model="public", messages=[message], dialect="openai", stream=True)
    stream = await adapter.chat(request, TARGET)
    try:
        return collect([event async for event in stream])
    finally:
        stream.close()


@pytest.mark.parametrize("content_type", ["text/event-stream", "Text/Event-Stream; charset=UTF-8"])
async def test_a_stream_is_known_by_its_type_in_any_case(content_type):
    adapter, _ = _adapter(STREAM, content_type)
    assert (await _ask(adapter)).choices[0].content == [TextPart(text="x")]


async def test_a_stream_of_another_type_is_a_bad_answer_and_let_go_of():
    adapter, answer = _adapter(STREAM, "application/json")
    with pytest.raises(BadAnswer):
        await _ask(adapter)
    assert answer.is_closed


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_as_many_embeddings_come_as_were_asked_for(count):
    body = json.dumps({"model": "m", "data": [{"index": at, "embedding": [1.0]} for at in range(count)]}).encode()
    adapter, _ = _adapter(body, "application/json")
    with pytest.raises(BadAnswer):
        await adapter.embed(EmbeddingRequest(model="public", input=["a", "b"], dialect="openai"), TARGET)


KEY = "sk-that-nobody-may-see"
QUOTED = {"message": f"too long for {KEY}", "code": "context_length_exceeded"}
FRAMES = b"data: " + json.dumps({"error": QUOTED}).encode() + b"\n\n"


async def _ask_with_key(adapter, target, *, stream):
    message = Message(role="user", content=[TextPart(text="x")])
    request = ChatRequest(model="public", messages=[message], dialect="openai", stream=stream)
    return [event async for event in await adapter.chat(request, target)]


async def _relay_with_key(adapter, target, *, stream):
    operation = "openai.chat" if stream else "openai.responses"
    request = RelayRequest(operation=operation, body=b'{"model":"public"}', document={}, stream=stream)
    relayed = await adapter.relay(request, target)
    return await (relayed.read() if stream else relayed.read_all())


@pytest.mark.parametrize("ask", [_ask_with_key, _relay_with_key])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_turns_out_to_be_a_refusal_is_told_without_the_key(ask, stream):
    failed = json.dumps({"id": "resp_1", "status": "failed", "error": QUOTED}).encode()
    answer = ScriptedAnswer(
        FRAMES if stream else failed,
        headers={"content-type": "text/event-stream" if stream else "application/json"},
    )
    dialect = OpenAIDialect(Quirks(), chat_api="chat" if stream else "responses")
    target = msgspec.structs.replace(TARGET, credential=Secret(KEY))
    with pytest.raises(ContextTooLong) as caught:
        await ask(HttpAdapter(dialect, ScriptedSender(answer)), target, stream=stream)
    assert caught.value.message == str(caught.value) == "too long for ***"
