"""The OpenAI dialect joined to a transport: what only the two together can get wrong."""

import json

import pytest

from providers.catalog import Quirks
from providers.errors import BadAnswer
from providers.http.adapter import HttpAdapter
from providers.openai.plugin import OpenAIDialect
from providers.stream import collect
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import ChatRequest, EmbeddingRequest, Message, Target, TextPart

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
