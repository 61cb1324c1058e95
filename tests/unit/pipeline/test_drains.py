"""Calls whose client has left, at a provider that bills them whole: read on for the usage, within bounds."""

import asyncio

import pytest
from scripted_pipeline import (
    ANSWER,
    COUNTS,
    DONE,
    HANG,
    HEAD,
    PRICE,
    STOP,
    STREAM,
    TEXTS,
    USAGE,
    WHOLE,
    FakeAdapter,
    Held,
)

from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.paths import CHAT_WIRE, EMBEDDINGS_WIRE
from app.domain.prices import cost
from app.pipeline.drains import Drains
from providers.errors import ProviderOverloaded, ProviderTimedOut, StreamInterrupted
from providers.types import Embeddings, Timeouts

CHAT = CHAT_WIRE.operation
LLM = LLM_CHAT_WIRE.operation
STREAMS = [
    (CHAT, [HEAD, TEXTS[0], HANG, TEXTS[1], STOP, COUNTS, DONE]),
    (LLM, [*ANSWER[:2], HANG, *ANSWER[2:]]),
]


def adapter(*scripts):
    return FakeAdapter(*scripts, relays=("openai.chat",))


async def leave(task):
    """Let a call come as far as it can, and leave it."""
    for _ in range(8):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def leave_stream(answer):
    """Read a stream until nothing comes, and leave it."""

    async def read():
        while True:
            await answer.live.read()

    await leave(asyncio.ensure_future(read()))
    answer.live.close()


def check_billed(event):
    assert (event.outcome, event.usage_source) == ("cancelled", "provider")
    assert (event.input_tokens, event.output_tokens, event.cache_read_tokens) == (100, 7, 20)
    assert event.cost_nusd == cost(PRICE, USAGE)


@pytest.mark.parametrize(("operation", "script"), STREAMS)
async def test_the_rest_of_a_stream_is_read_for_its_usage(pipeline, operation, script):
    fake = adapter(script)
    answer = await pipeline.call(pipeline.exchange(operation, fake, stream=True, bills_on=True))
    await leave_stream(answer)
    assert pipeline.events == []
    assert len(pipeline.drains) == 1
    [event] = await pipeline.settled()
    check_billed(event)
    assert fake.opened[0].is_closed
    assert len(pipeline.drains) == 0


@pytest.mark.parametrize("operation", [CHAT, LLM])
async def test_the_rest_is_read_although_the_client_left_between_two_reads(pipeline, operation):
    script = STREAM if operation is CHAT else ANSWER
    answer = await pipeline.call(pipeline.exchange(operation, adapter(script), stream=True, bills_on=True))
    await answer.live.read()
    answer.live.close()
    [event] = await pipeline.settled()
    check_billed(event)


@pytest.mark.parametrize(("operation", "script"), STREAMS)
async def test_a_provider_that_stops_is_left_at_once(pipeline, operation, script):
    fake = adapter(script)
    answer = await pipeline.call(pipeline.exchange(operation, fake, stream=True))
    await leave_stream(answer)
    assert fake.opened[0].is_closed
    [event] = await pipeline.settled()
    assert (event.outcome, event.usage_source, event.output_tokens) == ("cancelled", "estimated", 1)


@pytest.mark.parametrize(
    ("operation", "stream", "script"),
    [
        (CHAT, True, STREAM),
        (LLM, True, ANSWER),
        (CHAT, False, [WHOLE]),
        (LLM, False, ANSWER),
        (EMBEDDINGS_WIRE.operation, False, Embeddings(model="up", vectors=((0.5,),), usage=USAGE)),
    ],
)
@pytest.mark.parametrize("is_expired", [False, True])
async def test_a_call_without_its_answer_yet_is_awaited(pipeline, operation, stream, script, is_expired):
    gate = asyncio.Event()
    fake = adapter(Held(gate, script))
    exchange = pipeline.exchange(operation, fake, stream=stream, bills_on=True, document={"input": ["hi"]})
    call = asyncio.ensure_future(pipeline.call(exchange))
    await asyncio.sleep(0)
    if is_expired:
        exchange.expire()
    await leave(call)
    assert pipeline.events == []
    gate.set()
    [event] = await pipeline.settled()
    assert (event.outcome, event.usage_source) == ("timeout" if is_expired else "cancelled", "provider")
    assert event.error_code == ("upstream_timeout" if is_expired else None)
    assert event.cost_nusd == cost(PRICE, USAGE)
    assert all(opened.is_closed for opened in fake.opened)


async def test_a_stream_that_has_begun_without_content_is_read_out(pipeline):
    fake = adapter([HEAD, HANG])
    call = asyncio.ensure_future(pipeline.call(pipeline.exchange(CHAT, fake, stream=True, bills_on=True)))
    pipeline.drains._within_s = 0.02
    await leave(call)
    assert not fake.opened[0].is_closed
    [event] = await pipeline.settled()
    assert fake.opened[0].is_closed
    assert (event.outcome, event.usage_source, event.output_tokens) == ("cancelled", "estimated", 0)
    assert event.cost_nusd > 0


@pytest.mark.parametrize(("operation", "script"), STREAMS)
async def test_what_does_not_end_in_time_is_cut_and_estimated(pipeline, operation, script):
    fake = adapter([*script[:4], HANG])
    pipeline.drains._within_s = 0.02
    answer = await pipeline.call(pipeline.exchange(operation, fake, stream=True, bills_on=True))
    await leave_stream(answer)
    [event] = await pipeline.settled()
    assert fake.opened[0].is_closed
    assert (event.outcome, event.usage_source, event.output_tokens) == ("cancelled", "estimated", 2)


@pytest.mark.parametrize("error", [StreamInterrupted(), ProviderTimedOut(phase="idle")])
async def test_a_provider_that_breaks_off_meanwhile_is_estimated(pipeline, error):
    fake = adapter([HEAD, TEXTS[0], HANG, TEXTS[1], error])
    answer = await pipeline.call(pipeline.exchange(CHAT, fake, stream=True, bills_on=True))
    await leave_stream(answer)
    [event] = await pipeline.settled()
    assert fake.opened[0].is_closed
    assert (event.usage_source, event.output_tokens, event.error_code) == ("estimated", 2, error.code)


async def test_a_call_that_fails_meanwhile_costs_nothing(pipeline):
    gate = asyncio.Event()
    fake = adapter(Held(gate, ProviderOverloaded(status=503)))
    call = asyncio.ensure_future(pipeline.call(pipeline.exchange(CHAT, fake, bills_on=True)))
    await leave(call)
    gate.set()
    [event] = await pipeline.settled()
    assert (event.outcome, event.cost_nusd, event.status) == ("error", 0, 503)


async def test_no_more_than_may_are_drained_and_the_others_cut(pipeline):
    fakes = [adapter(STREAM) for _ in range(3)]
    answers = [await pipeline.call(pipeline.exchange(CHAT, fake, stream=True, bills_on=True)) for fake in fakes]
    for answer in answers:
        await answer.live.read()
    for answer in answers:
        answer.live.close()
    assert len(pipeline.drains) == 2
    events = await pipeline.settled()
    assert sorted(event.usage_source for event in events) == ["estimated", "provider", "provider"]
    assert all(fake.opened[0].is_closed for fake in fakes)


@pytest.mark.parametrize("has_answer", [False, True])
async def test_a_shutdown_cuts_what_is_read_and_takes_no_more(pipeline, has_answer):
    script = [HEAD, TEXTS[0], HANG, HANG, TEXTS[1]] if has_answer else Held(asyncio.Event(), STREAM)
    fake = adapter(script)
    call = asyncio.ensure_future(pipeline.call(pipeline.exchange(CHAT, fake, stream=True, bills_on=True)))
    if has_answer:
        await leave_stream(await call)
    else:
        await leave(call)
    await asyncio.sleep(0)
    pipeline.drains.close()
    [event] = await pipeline.settled()
    assert (event.outcome, event.usage_source) == ("cancelled", "estimated")
    assert event.output_tokens == int(has_answer)
    late = adapter(STREAM)
    answer = await pipeline.call(pipeline.exchange(CHAT, late, stream=True, bills_on=True))
    answer.live.close()
    assert len(pipeline.drains) == 0
    assert len(await pipeline.settled()) == 2
    assert late.opened[0].is_closed


async def test_who_waits_for_the_end_is_told_when_all_is_settled(pipeline):
    exchange = pipeline.exchange(CHAT, adapter(STREAM), stream=True, bills_on=True)
    answer = await pipeline.call(exchange)
    answer.live.close()
    counts = []
    exchange.call.then(lambda: counts.append(len(pipeline.events)))
    await pipeline.settled()
    exchange.call.then(lambda: counts.append(len(pipeline.events)))
    assert counts == [1, 1]


async def test_a_call_that_was_too_slow_is_charged_for_its_prompt_where_that_is_billed(pipeline):
    slow = [HEAD, HANG]
    quick = Timeouts(first_token_s=0.01)
    exchange = pipeline.exchange(
        CHAT, adapter(slow), adapter(STREAM), stream=True, bills_on=True, timeouts=quick, retries=1
    )
    answer = await pipeline.call(exchange)
    while not answer.live.is_finished:
        await answer.live.read()
    first, second = await pipeline.settled()
    assert (first.outcome, first.usage_source, first.output_tokens) == ("timeout", "estimated", 0)
    assert first.cost_nusd > 0
    assert second.outcome == "ok"


async def test_an_attempt_that_was_left_alone_is_cut_when_the_request_is_settled(pipeline):
    """So it is with one of two calls that race."""
    exchange = pipeline.exchange(CHAT, adapter(Held(asyncio.Event(), STREAM)), adapter([WHOLE]), bills_on=True)

    async def race(exchange):
        slow, quick = exchange.route.targets
        await leave(asyncio.ensure_future(pipeline.attempt(exchange, slow)))
        return await pipeline.attempt(exchange, quick)

    await pipeline.meter(exchange, race)
    loser, winner = await pipeline.settled()
    assert (loser.outcome, loser.usage_source, loser.output_tokens) == ("cancelled", "estimated", 0)
    assert loser.cost_nusd > 0
    assert (winner.outcome, winner.cost_nusd) == ("ok", cost(PRICE, USAGE))
    assert not exchange.unheard


async def test_a_drain_is_bounded_by_default():
    drains = Drains(lambda work: work.close())
    assert (drains._most, drains._within_s) == (32, 30.0)
