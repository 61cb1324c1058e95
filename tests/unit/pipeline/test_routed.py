"""Retries, credentials, fallbacks, breakers and hedges, over adapters in memory."""

import asyncio

import pytest
from msgspec import structs
from scripted_pipeline import ANSWER, HANG, PRICE, STREAM, USAGE, WHOLE, FakeAdapter, read_out

from app.api.openai.paths import CHAT_WIRE
from app.domain.prices import cost
from app.kernel.errors import UpstreamFailed, UpstreamRateLimited, UpstreamRefused
from app.routing.table import Route
from app.settings.model import Fallbacks, Hedge, Transform
from providers.errors import (
    ConnectFailed,
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)
from providers.types import Secret, Timeouts

CHAT = CHAT_WIRE.operation
RELAYED = ("openai.chat",)
BROKEN = ProviderOverloaded(status=503)
S_NS = 1_000_000_000


def relaying(*scripts):
    return FakeAdapter(*scripts, relays=RELAYED)


def outcomes(exchange):
    return [(each.provider, each.outcome) for each in exchange.attempts]


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


def with_keys(exchange, *keys):
    """Give the only target of an exchange several credentials."""
    (target,) = exchange.route.targets
    secrets = tuple(Secret(key) for key in keys)
    where = structs.replace(target.target, credential=secrets[0])
    exchange.route = structs.replace(
        exchange.route, targets=(structs.replace(target, credentials=secrets, target=where, whole_target=where),)
    )
    return exchange


def keys_used(adapter):
    return [target.credential.reveal() for _, target in adapter.calls]


def fall_back(pipeline, exchange, **adapters):
    """Add routes of one target each that the exchange may fall back to."""
    exchange.alternatives = {
        name: Route(
            name=name,
            label=name,
            targets=(pipeline.target(adapter, f"p-{name}", PRICE, Timeouts()),),
            owned_by="p",
            retries=0,
        )
        for name, adapter in adapters.items()
    }
    return exchange


# -- retries ----------------------------------------------------------------------------------------------------------


async def test_another_provider_is_asked_at_once_and_the_same_one_only_within_its_budget(pipeline):
    for _ in range(10):
        first = pipeline.exchange(CHAT, relaying(BROKEN, [WHOLE]), retries=1)
        await pipeline.call(first)
        pipeline.health.lane("p0", "up").breaker.close()
    adapter = relaying(BROKEN, [WHOLE])
    with pytest.raises(UpstreamFailed):
        await pipeline.call(pipeline.exchange(CHAT, adapter, retries=1))
    assert len(adapter.calls) == 1, "ten retries in ten seconds is all there is for so few calls"
    other = pipeline.exchange(CHAT, relaying(BROKEN), relaying([WHOLE]), retries=1)
    await pipeline.call(other)
    assert outcomes(other) == [("p0", "error"), ("p1", "ok")]
    pipeline.clock.advance(11)
    again = pipeline.exchange(CHAT, relaying(BROKEN, [WHOLE]), retries=1)
    await pipeline.call(again)
    assert len(again.attempts) == 2


async def test_those_who_wait_to_retry_are_counted_already(pipeline):
    adapter = relaying(*[BROKEN] * 80)
    calls = [pipeline.call(pipeline.exchange(CHAT, adapter, retries=1)) for _ in range(40)]
    await asyncio.gather(*calls, return_exceptions=True)
    assert len(adapter.calls) == 50, "ten retries, however many ask for one at the same moment"


async def test_whoever_asked_to_be_left_alone_is_left_alone(pipeline):
    full = ProviderRateLimited(status=429, retry_after_s=30.0)
    first = pipeline.exchange(CHAT, relaying(full), relaying([WHOLE]), retries=2)
    await pipeline.call(first)
    assert outcomes(first) == [("p0", "rate_limited"), ("p1", "ok")]
    second = pipeline.exchange(CHAT, relaying(), relaying([WHOLE]), retries=2)
    await pipeline.call(second)
    assert outcomes(second) == [("p1", "ok")]
    alone = pipeline.exchange(CHAT, relaying(), retries=2)
    with pytest.raises(UpstreamRateLimited) as caught:
        await pipeline.call(alone)
    assert alone.attempts == []
    assert caught.value.retry_after_s == pytest.approx(30, abs=1)
    pipeline.clock.advance(31)
    last = pipeline.exchange(CHAT, relaying([WHOLE]), retries=0)
    await pipeline.call(last)
    assert outcomes(last) == [("p0", "ok")]


async def test_a_retry_waits_for_a_provider_that_asked_somebody_else_to_wait(pipeline):
    lane = pipeline.health.lane("p1", "up")
    lane.cool(pipeline.clock.monotonic_ns() + S_NS // 10)
    began = asyncio.get_running_loop().time()
    await pipeline.call(pipeline.exchange(CHAT, relaying(BROKEN), relaying([WHOLE]), retries=1))
    assert asyncio.get_running_loop().time() - began >= 0.09


async def test_an_empty_answer_is_no_answer(pipeline):
    exchange = pipeline.exchange(CHAT, relaying([b'{"choices": []}']), relaying([WHOLE]), retries=1)
    assert (await pipeline.call(exchange)).body == WHOLE
    assert outcomes(exchange) == [("p0", "error"), ("p1", "ok")]


# -- credentials ------------------------------------------------------------------------------------------------------


async def test_a_full_credential_gives_way_to_the_next_at_once(pipeline):
    adapter = relaying(ProviderRateLimited(status=429, retry_after_s=60.0), [WHOLE], [WHOLE])
    began = asyncio.get_running_loop().time()
    await pipeline.call(with_keys(pipeline.exchange(CHAT, adapter, retries=1), "a", "b"))
    assert asyncio.get_running_loop().time() - began < 0.04
    await pipeline.call(with_keys(pipeline.exchange(CHAT, adapter, retries=1), "a", "b"))
    assert keys_used(adapter) == ["a", "b", "b"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_credential_is_taken_out_and_is_nobodys_retry(pipeline, status):
    adapter = relaying(CredentialRefused(status=status), CredentialRefused(status=status), [WHOLE], [WHOLE])
    await pipeline.call(with_keys(pipeline.exchange(CHAT, adapter, retries=0), "a", "b", "c"))
    await pipeline.call(with_keys(pipeline.exchange(CHAT, adapter, retries=0), "a", "b", "c"))
    assert keys_used(adapter) == ["a", "b", "c", "c"]
    assert len(pipeline.changed) == 2


async def test_the_last_credential_is_never_taken_out(pipeline):
    adapter = relaying(CredentialRefused(status=401), [WHOLE])
    with pytest.raises(UpstreamFailed) as caught:
        await pipeline.call(pipeline.exchange(CHAT, adapter, retries=2))
    assert caught.value.code == "upstream_auth_failed"
    await pipeline.call(pipeline.exchange(CHAT, adapter))
    assert not pipeline.health.lane("p0", "up").is_locked_out(pipeline.clock.monotonic_ns())


async def test_credentials_share_the_calls(pipeline):
    adapter = relaying(*[[WHOLE]] * 6)
    for _ in range(6):
        await pipeline.call(with_keys(pipeline.exchange(CHAT, adapter), "a", "b", "c"))
    assert sorted(keys_used(adapter)) == ["a", "a", "b", "b", "c", "c"]


# -- breakers ---------------------------------------------------------------------------------------------------------


async def test_a_broken_target_is_left_alone_until_one_call_finds_it_well(pipeline):
    for _ in range(5):
        await pipeline.call(pipeline.exchange(CHAT, relaying(BROKEN), relaying([WHOLE])))
    lane = pipeline.health.lane("p0", "up")
    assert pipeline.changed == [lane]
    skipped = pipeline.exchange(CHAT, relaying(), relaying([WHOLE]))
    await pipeline.call(skipped)
    assert outcomes(skipped) == [("p1", "ok")]
    pipeline.clock.advance(5.1)
    gate = relaying(HANG)
    trying = pipeline.exchange(CHAT, gate, relaying([WHOLE]))
    task = asyncio.ensure_future(pipeline.call(trying))
    await until(lambda: gate.calls)
    beside = pipeline.exchange(CHAT, relaying(), relaying([WHOLE]))
    await pipeline.call(beside)
    assert outcomes(beside) == [("p1", "ok")], "one call tries; the others wait for what it finds"
    assert pipeline.tried == [lane]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found = pipeline.exchange(CHAT, relaying([WHOLE]), relaying())
    await pipeline.call(found)
    assert outcomes(found) == [("p0", "ok")]
    assert lane.breaker.state(pipeline.clock.monotonic_ns()) == "closed"
    assert pipeline.changed == [lane, lane]


async def test_the_last_target_is_never_left_alone(pipeline):
    for _ in range(6):
        with pytest.raises(UpstreamFailed):
            await pipeline.call(pipeline.exchange(CHAT, relaying(BROKEN), retries=0))
    adapter = relaying([WHOLE])
    await pipeline.call(pipeline.exchange(CHAT, adapter, retries=0))
    assert len(adapter.calls) == 1


async def test_a_model_without_a_breaker_opens_none_and_may_close_one(pipeline):
    lane, off = pipeline.health.lane("p0", "up"), {"breaker": False}
    for _ in range(6):
        with pytest.raises(UpstreamFailed):
            await pipeline.call(pipeline.exchange(CHAT, relaying(BROKEN), retries=0, route=off))
    assert not pipeline.changed
    for _ in range(5):
        with pytest.raises(UpstreamFailed):
            await pipeline.call(pipeline.exchange(CHAT, relaying(BROKEN), retries=0))
    assert pipeline.changed == [lane]
    await pipeline.call(pipeline.exchange(CHAT, relaying([WHOLE]), route=off))
    assert pipeline.changed == [lane, lane]
    assert lane.breaker.state(pipeline.clock.monotonic_ns()) == "closed"


async def test_what_callers_do_wrong_opens_no_breaker(pipeline):
    for _ in range(30):
        with pytest.raises(UpstreamRefused):
            await pipeline.call(pipeline.exchange(CHAT, relaying(RequestRefused("no", status=400)), relaying()))
    assert not pipeline.changed


@pytest.mark.parametrize(
    ("timeout_s", "after_s", "blames"), [(None, 600, True), (600.0, 600, True), (599.0, 599, False), (None, 200, False)]
)
async def test_only_whoever_takes_most_of_the_operators_time_is_at_fault(pipeline, timeout_s, after_s, blames):
    for _ in range(5):
        adapter = relaying(HANG)
        exchange = pipeline.exchange(CHAT, adapter, retries=0, timeout_s=timeout_s)
        task = asyncio.ensure_future(pipeline.call(exchange))
        await until(lambda adapter=adapter: adapter.calls)
        pipeline.clock.advance(after_s)
        exchange.expire()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert bool(pipeline.changed) == blames


# -- fallbacks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "served_by"),
    [
        (BROKEN, "general"),
        (ConnectFailed(), "general"),
        (ProviderRateLimited(status=429), "general"),
        (CredentialRefused(status=401), "general"),
        (ContextTooLong(status=400), "long"),
        (ContentBlocked(status=400), "lax"),
    ],
)
async def test_a_model_falls_back_by_what_went_wrong(pipeline, failure, served_by):
    fallbacks = Fallbacks(any=("general",), context_length=("long",), content_policy=("lax",))
    exchange = pipeline.exchange(CHAT, relaying(failure), retries=0, route={"fallbacks": fallbacks})
    others = {name: relaying([WHOLE]) for name in ("general", "long", "lax")}
    answer = await pipeline.call(fall_back(pipeline, exchange, **others))
    assert answer.body == WHOLE
    assert exchange.route.name == served_by
    assert [event.model for event in pipeline.events] == ["public", served_by]
    assert [event.is_final for event in pipeline.events] == [False, True]


async def test_what_is_wrong_everywhere_falls_back_nowhere(pipeline):
    exchange = pipeline.exchange(
        CHAT, relaying(RequestRefused("no", status=400)), retries=0, route={"fallbacks": Fallbacks(any=("general",))}
    )
    with pytest.raises(UpstreamRefused):
        await pipeline.call(fall_back(pipeline, exchange, general=relaying([WHOLE])))


async def test_fallbacks_nest_and_nobody_is_asked_twice(pipeline):
    exchange = pipeline.exchange(CHAT, relaying(BROKEN), retries=0, route={"fallbacks": Fallbacks(any=("a", "c"))})
    fall_back(pipeline, exchange, a=relaying(BROKEN), b=relaying(BROKEN), c=relaying([WHOLE]))
    routes = dict(exchange.alternatives)
    routes["a"] = structs.replace(routes["a"], fallbacks=Fallbacks(any=("b", "public")))
    routes["b"] = structs.replace(routes["b"], fallbacks=Fallbacks(any=("a",)))
    exchange.alternatives = routes
    await pipeline.call(exchange)
    assert [each.model for each in exchange.attempts] == ["public", "a", "b", "c"]


async def test_a_fallback_has_its_own_changes_to_the_body_and_ours(pipeline):
    exchange = pipeline.exchange(
        CHAT,
        relaying(BROKEN),
        retries=0,
        route={"fallbacks": Fallbacks(any=("a",)), "transform": Transform(set={"x": 1})},
    )
    other = relaying([WHOLE])
    fall_back(pipeline, exchange, a=other)
    exchange.alternatives = {"a": structs.replace(exchange.alternatives["a"], transform=Transform(set={"y": 2}))}
    exchange.edit(drop=frozenset({"messages"}))
    await pipeline.call(exchange)
    ((request, _),) = other.calls
    assert (dict(request.edits.put), request.edits.drop) == ({"y": b"2"}, frozenset({"messages"}))


async def test_nothing_falls_back_after_the_deadline(pipeline):
    exchange = pipeline.exchange(CHAT, relaying(BROKEN), retries=0, route={"fallbacks": Fallbacks(any=("a",))})
    exchange.deadline_ns = pipeline.clock.monotonic_ns()
    with pytest.raises(UpstreamFailed):
        await pipeline.call(fall_back(pipeline, exchange, a=relaying([WHOLE])))


# -- hedges -----------------------------------------------------------------------------------------------------------


def hedged(pipeline, *adapters, budget=1.0, after_s=0.01, **more):
    return pipeline.exchange(CHAT, *adapters, route={"hedge": Hedge(after_s=after_s, budget=budget)}, **more)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_call_gets_a_second_one_and_loses_to_it(pipeline, stream):
    slow = relaying([HANG])
    exchange = hedged(pipeline, slow, relaying(STREAM if stream else [WHOLE]), stream=stream)
    answer = await pipeline.call(exchange)
    if stream:
        assert b"lo" in await read_out(answer)
    assert outcomes(exchange) == [("p0", "cancelled"), ("p1", "ok")]
    assert exchange.last_attempt.provider == "p1"
    assert slow.opened[0].is_closed or not stream
    events = await pipeline.settled()
    assert [(event.provider, event.is_final) for event in events] == [("p0", False), ("p1", True)]
    assert events[0].input_tokens > 0, "the loser had the prompt"
    assert events[1].cost_nusd == cost(PRICE, USAGE)


async def test_a_fast_call_is_alone(pipeline):
    exchange = hedged(pipeline, relaying([WHOLE]), relaying([WHOLE]))
    await pipeline.call(exchange)
    assert len(exchange.attempts) == 1


async def test_the_first_wins_if_the_second_fails(pipeline):
    first = translating_slowly(0.05)
    exchange = hedged(pipeline, first, relaying(BROKEN), after_s=0.01)
    await pipeline.call(exchange)
    assert outcomes(exchange) == [("p0", "ok"), ("p1", "error")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_was_beaten_is_known_to_be_slow(pipeline, stream):
    script = STREAM if stream else [WHOLE]
    await pipeline.call(hedged(pipeline, relaying([HANG]), relaying(script), stream=stream))
    beaten = pipeline.health.lane("p0", "up")
    assert (beaten.first.count, beaten.whole.count) == ((1, 0) if stream else (0, 1))
    await pipeline.call(hedged(pipeline, translating_slowly(0.02), relaying([HANG]), stream=stream))
    other = pipeline.health.lane("p1", "up")
    assert other.first.count + other.whole.count == (0 if stream else 1), "of one that began later nothing is known"


async def test_a_try_that_was_beaten_is_not_made_by_everybody(pipeline):
    lane = pipeline.health.lane("p0", "up")
    lane.breaker.told_open(pipeline.clock.monotonic_ns() + 1, pipeline.clock.monotonic_ns())
    pipeline.clock.advance(1)
    await pipeline.call(hedged(pipeline, relaying([HANG]), relaying([WHOLE])))
    assert pipeline.tried == [lane]
    beside = hedged(pipeline, relaying(), relaying([WHOLE]))
    await pipeline.call(beside)
    assert outcomes(beside) == [("p1", "ok")]
    assert lane.inflight == 0


async def test_second_calls_are_within_their_budget(pipeline):
    calls = 40
    seconds = 0
    for _ in range(calls):
        exchange = hedged(pipeline, translating_slowly(0.02), relaying([WHOLE]), budget=0.05, after_s=0.005)
        await pipeline.call(exchange)
        seconds += len(exchange.attempts) - 1
    assert 1 <= seconds <= calls * 0.05


async def test_without_a_time_of_its_own_a_hedge_waits_for_the_95th_percentile(pipeline):
    lane = pipeline.health.lane("p0", "up")
    exchange = hedged(pipeline, translating_slowly(0.03), relaying([WHOLE]), after_s=None)
    await pipeline.call(exchange)
    assert len(exchange.attempts) == 1, "nothing is known yet"
    for _ in range(30):
        lane.whole.add(5_000_000, pipeline.clock.monotonic_ns())
    exchange = hedged(pipeline, translating_slowly(0.03), relaying([WHOLE]), after_s=None)
    await pipeline.call(exchange)
    assert len(exchange.attempts) == 2


async def test_a_client_that_leaves_ends_both_calls(pipeline):
    slow, slower = relaying([HANG]), relaying([HANG])
    exchange = hedged(pipeline, slow, slower, stream=True)
    task = asyncio.ensure_future(pipeline.call(exchange))
    await until(lambda: slower.opened)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slow.opened[0].is_closed
    assert slower.opened[0].is_closed
    assert [event.outcome for event in await pipeline.settled()] == ["cancelled", "cancelled"]
    assert all(lane.inflight == 0 for lane in pipeline.health)


class _Slow(FakeAdapter):
    def __init__(self, after_s):
        super().__init__(ANSWER)
        self.after_s = after_s

    async def chat(self, request, target):
        await asyncio.sleep(self.after_s)
        return await super().chat(request, target)


def translating_slowly(after_s):
    return _Slow(after_s)


async def test_no_lane_counts_a_call_that_has_ended(pipeline):
    for scripts in ([BROKEN, [WHOLE]], [RequestRefused("no", status=400)], [[WHOLE]]):
        await asyncio.gather(pipeline.call(pipeline.exchange(CHAT, relaying(*scripts))), return_exceptions=True)
    streamed = await pipeline.call(pipeline.exchange(CHAT, relaying(STREAM), stream=True))
    await streamed.live.read()
    assert pipeline.health.lane("p0", "up").inflight == 1
    streamed.live.close()
    await pipeline.settled()
    assert pipeline.health.lane("p0", "up").inflight == 0


async def test_a_route_without_a_breaker_leaves_nobody_alone(pipeline):
    for failure in (ProviderRateLimited(status=429, retry_after_s=30.0), CredentialRefused(status=401), *[BROKEN] * 6):
        adapter = relaying(failure)
        exchange = pipeline.exchange(CHAT, adapter, retries=0, route={"breaker": False})
        await asyncio.gather(pipeline.call(exchange), return_exceptions=True)
        assert len(adapter.calls) == 1
