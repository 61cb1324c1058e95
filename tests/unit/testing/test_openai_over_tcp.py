"""The OpenAI adapter and the real transport against the fake provider, over real sockets: every preset, by name."""

import asyncio

import msgspec
import pytest

from providers.errors import (
    BadAnswer,
    ConnectFailed,
    CredentialRefused,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderTimedOut,
    RequestRefused,
    StreamInterrupted,
)
from providers.http import Pool
from providers.registry import Registry
from providers.stream import collect
from providers.testing import PRESETS
from providers.types import ChatRequest, EmbeddingRequest, Message, RelayRequest, Secret, Target, TextPart, Timeouts

PLUGIN = Registry().find("openai")
TEXT = "hello big world"
FAILURES = {
    "fake-400": RequestRefused,
    "fake-401": CredentialRefused,
    "fake-403": CredentialRefused,
    "fake-404": RequestRefused,
    "fake-429": ProviderRateLimited,
    "fake-500": ProviderOverloaded,
    "fake-503": ProviderOverloaded,
    "fake-529": ProviderOverloaded,
    "fake-html": BadAnswer,
    "fake-bad-json": BadAnswer,
    "fake-empty": BadAnswer,
    "fake-redirect": BadAnswer,
    "fake-huge": BadAnswer,
    "fake-slow-head": ProviderTimedOut,
    "fake-refused": ProviderError,
    "fake-reset": ProviderError,
    "fake-cut": StreamInterrupted,
    "fake-stall": ProviderTimedOut,
}
STREAM_FAILURES = {
    **FAILURES,
    "fake-no-done": StreamInterrupted,
    "fake-error-frame": ProviderOverloaded,
    "fake-error-first": ProviderOverloaded,
    "fake-garbage": BadAnswer,
    "fake-slow-first-chunk": ProviderTimedOut,
}
PATIENT = Timeouts(connect_s=20, first_token_s=20, idle_s=20, total_s=60)
IMPATIENT = Timeouts(connect_s=20, first_token_s=0.3, idle_s=0.3, total_s=60)


@pytest.fixture
async def pool():
    pool = Pool()
    yield pool
    await pool.aclose()


@pytest.fixture
def adapter(pool):
    return PLUGIN.open(pool, PLUGIN.options())


def _target(provider, model: str, *, timeouts: Timeouts = PATIENT) -> Target:
    return Target(provider="fake", model=model, base_url=provider.url, credential=Secret("sk-right"), timeouts=timeouts)


async def _ask(adapter, target, *, stream):
    message = Message(role="user", content=[TextPart(text=TEXT)])
    request = ChatRequest(model="public", messages=[message], dialect="openai", stream=stream)
    answer = await adapter.chat(request, target)
    try:
        return collect([event async for event in answer])
    finally:
        answer.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["fake-model", *PRESETS])
async def test_every_preset_ends_as_it_should(adapter, pool, fake_provider, model, stream):
    expected = (STREAM_FAILURES if stream else FAILURES).get(model)
    target = _target(fake_provider, model, timeouts=IMPATIENT if expected is ProviderTimedOut else PATIENT)
    if expected is None:
        answer = await _ask(adapter, target, stream=stream)
        served = fake_provider.journal.last
        assert served.tokens_served > 0
        if isinstance((served.usage or {}).get("completion_tokens"), int) and answer.usage is not None:
            assert answer.usage.output_tokens == served.tokens_served
    else:
        with pytest.raises(expected):
            await _ask(adapter, target, stream=stream)
    assert await _comes_to_rest(pool)


async def _comes_to_rest(pool) -> bool:
    """Say whether no connection stays busy; one may wait for a moment for the last bytes of a finished stream."""
    for _ in range(500):
        if pool.stats().active == 0:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_the_transport_says_that_nobody_listens(adapter, fake_provider):
    nowhere = msgspec.structs.replace(_target(fake_provider, "m"), base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ConnectFailed):
        await _ask(adapter, nowhere, stream=False)


async def test_embeddings_and_models_come_over_the_wire(adapter, fake_provider):
    target = _target(fake_provider, "fake-embedding")
    found = await adapter.embed(EmbeddingRequest(model="public", input=["a", "b c"], dialect="openai"), target)
    assert len(found.vectors) == 2
    assert found.usage.input_tokens == 3
    assert await adapter.models(target) == ["fake-model", "fake-embedding"]
    assert fake_provider.journal.entries[0].headers["authorization"] == "Bearer sk-right"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_relayed_body_arrives_as_it_was_sent(adapter, fake_provider, stream):
    body = b'{ "messages": [{"role": "user","content": "hello big world"}],  "model":"public", "odd": [1, 2.50] }'
    if stream:
        body = body[:-2] + b', "stream": true}'
    request = RelayRequest(
        operation="openai.chat", body=body, document=msgspec.json.decode(body), stream=stream, keep_usage=True
    )
    relayed = await adapter.relay(request, _target(fake_provider, "fake-model"))
    if stream:
        got = b""
        while data := await relayed.read():
            got += data
        assert got.endswith(b"data: [DONE]\n\n")
    else:
        assert b"hello big world" in await relayed.read_all()
    relayed.close()
    assert fake_provider.journal.last.body == body.replace(b'"public"', b'"fake-model"')
