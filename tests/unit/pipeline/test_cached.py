"""The layer of the cache in a pipeline over scripted providers: who leads, who follows, and what is left behind."""

import asyncio
import json
import random

import pytest
from msgspec import structs
from scripted_pipeline import (
    ANSWER,
    BUDGETED,
    HANG,
    STREAM,
    Bytes,
    Events,
    FakeAdapter,
    Held,
    Pipeline,
    read_out,
)

from app.api.anthropic.paths import MESSAGES_WIRE
from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.paths import CHAT_WIRE
from app.cache.answers import Sealer
from app.cache.shelf import Shelf
from app.cache.wishes import CacheControl, Wish
from app.kernel.errors import GatewayError, NotCached, UpstreamFailed, UpstreamRefused
from app.limits.policy import Rule
from app.pipeline.cached import Cached
from app.pipeline.flights import Flights
from app.pipeline.ring import compose
from app.stores.errors import StoreUnavailable
from app.stores.memory_cache import MemoryCacheStore
from providers.errors import BadAnswer, ProviderOverloaded, RequestRefused, StreamInterrupted
from providers.http.adapter import HttpRelay
from providers.openai.inspect import StreamInspector, WholeInspector

OTHER = {"messages": [{"role": "user", "content": "something else"}]}
MESSAGES = MESSAGES_WIRE.operation
CHAT, LLM = CHAT_WIRE.operation, LLM_CHAT_WIRE.operation
RELAYED = ("openai.chat",)
STOPPED = json.dumps(
    {"id": "1", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}
).encode()
OVERLOADED = ProviderOverloaded(status=503)
OF_REQUESTS = Rule(
    scope="key", key=":r", dimension="requests", limit=10**6, window_ms=60_000, algorithm="sliding_window"
)


class Unlike:
    """Finds no like question."""

    async def find(self, spot, wish, *, look):
        return None

    async def sample_of(self, spot, wish):
        return None


class Caching(Pipeline):
    """A pipeline whose answers are kept."""

    def __init__(self):
        super().__init__()
        self.store = MemoryCacheStore(clock=self.clock)
        self.flights = Flights()
        self.wish = Wish()
        shelf = Shelf(
            self.store,
            sealer=Sealer(b"k" * 32),
            clock=self.clock,
            spawn=self.tasks.spawn,
            maker="",
            most_bytes=1 << 24,
        )
        self.cached = Cached(
            shelf,
            likes=Unlike(),
            flights=self.flights,
            radio=None,
            wishes=lambda exchange: self.wish,
            free=self.admit,
            clock=self.clock,
            supervisor=self.tasks,
        )
        self.call = compose([self.meter, self.cached, self.admit], self.routed)

    async def nothing_is_left(self):
        await self.settled()
        assert (len(self.flights), len(self.holds), len(self.tasks)) == (0, 0, 0)


@pytest.fixture
def caching():
    return Caching()


async def ask(caching, exchange):
    answer = await caching.call(exchange)
    return answer.body if answer.live is None else await read_out(answer)


def rest(turns=60):
    async def turn():
        for _ in range(turns):
            await asyncio.sleep(0)

    return turn()


async def test_a_miss_is_kept_and_a_hit_is_admitted_free(caching):
    caching.policies.policy = BUDGETED
    adapter = FakeAdapter([STOPPED], relays=RELAYED)
    first = caching.exchange(CHAT, adapter)
    assert await ask(caching, first) == STOPPED
    await caching.settled()
    again = caching.exchange(CHAT, adapter)
    assert await ask(caching, again) == STOPPED
    assert (first.cache_status, again.cache_status, again.hit.saved_nusd) == ("miss", "exact", first.cost_nusd)
    assert len(caching.accounts.demands) == 1
    assert [event.cache_status for event in await caching.settled()] == ["miss", "exact"]
    await caching.nothing_is_left()


def steps(exchange):
    return [(step.layer, step.verdict, step.error_code) for step in exchange.notes.steps if step.layer == "cache"]


async def test_the_time_of_the_cache_is_noted_however_it_ends(caching):
    gate = asyncio.Event()
    adapter = FakeAdapter(Held(gate, [STOPPED]), relays=RELAYED)
    leader, follower, hit, only, nothing = [caching.exchange(CHAT, adapter) for _ in range(5)]
    both = [asyncio.ensure_future(ask(caching, exchange)) for exchange in (leader, follower)]
    await rest()
    caching.clock.advance(3)
    gate.set()
    await asyncio.gather(*both)
    await caching.settled()
    await ask(caching, hit)
    caching.wish = Wish(only_if_cached=True)
    await ask(caching, only)
    caching.wish, nothing.options = (
        None,
        structs.replace(nothing.options, cache_control=CacheControl(only_if_cached=True)),
    )
    with pytest.raises(NotCached):
        await ask(caching, nothing)
    assert steps(leader) == [("cache", "passed", None)]
    assert steps(follower) == [("cache", "waited", None)]
    assert steps(hit) == steps(only) == [("cache", "answered", None)]
    assert steps(nothing) == [("cache", "refused", "not_cached")]
    (waited,) = [step for step in follower.notes.steps if step.layer == "cache"]
    assert waited.ended_ns - waited.began_ns == follower.upstream_ns == 3_000_000_000
    await caching.nothing_is_left()


async def test_who_waited_for_a_call_that_failed_has_its_error(caching):
    gate = asyncio.Event()
    adapter = FakeAdapter(Held(gate, RequestRefused("no", status=400)), relays=RELAYED)
    leader, follower = (caching.exchange(CHAT, adapter, retries=0) for _ in range(2))
    both = [asyncio.ensure_future(ask(caching, exchange)) for exchange in (leader, follower)]
    await rest()
    gate.set()
    errors = await asyncio.gather(*both, return_exceptions=True)
    assert [type(error) for error in errors] == [UpstreamRefused, UpstreamRefused]
    assert steps(follower) == [("cache", "refused", errors[1].code)]
    await caching.nothing_is_left()


class CountedFlights(Flights):
    """Counts how often somebody looks for a flight: who never yields would never come to a time limit."""

    looks = 0

    def find(self, key):
        self.looks += 1
        assert self.looks < 20, "somebody joins for good what it cannot have"
        return super().find(key)


def refuses(body):
    raise BadAnswer("it cannot be read")


async def test_what_nobody_else_can_be_told_is_not_waited_for_again_and_again(caching):
    caching.cached._flights = caching.flights = CountedFlights()
    caching.cached._backing = caching.cached._backing._replace(flights=caching.flights)
    gate, unread = asyncio.Event(), structs.replace(CHAT, reader=structs.replace(CHAT.reader, whole=refuses))
    adapter = FakeAdapter(Held(gate, [STOPPED]), STREAM, STREAM, relays=RELAYED)
    led = asyncio.ensure_future(ask(caching, caching.exchange(unread, adapter)))
    await rest()
    streamed = [caching.exchange(unread, adapter, stream=True) for _ in range(2)]
    followers = [asyncio.ensure_future(ask(caching, exchange)) for exchange in streamed]
    await rest()
    gate.set()
    answers = await asyncio.wait_for(asyncio.gather(led, *followers), 5)
    assert answers[0] == STOPPED
    assert all(answer.endswith(b"data: [DONE]\n\n") for answer in answers[1:])
    assert len(adapter.calls) == 3
    await caching.nothing_is_left()


async def test_a_follower_for_whom_an_answer_is_too_old_asks_itself(caching):
    gate = asyncio.Event()
    adapter = FakeAdapter(Held(gate, [STOPPED]), [STOPPED], relays=RELAYED)
    caching.wish = Wish(max_age_s=-1)
    both = [asyncio.ensure_future(ask(caching, caching.exchange(CHAT, adapter))) for _ in range(2)]
    await rest()
    gate.set()
    assert await asyncio.wait_for(asyncio.gather(*both), 5) == [STOPPED, STOPPED]
    assert len(adapter.calls) == 2
    await caching.nothing_is_left()


async def test_a_hundred_share_one_call(caching):
    gate = asyncio.Event()
    adapter = FakeAdapter(Held(gate, STREAM), relays=RELAYED)
    exchanges = [caching.exchange(CHAT, adapter, stream=at % 2 == 0, keep_usage=True) for at in range(100)]
    asked = [asyncio.ensure_future(ask(caching, exchange)) for exchange in exchanges]
    await rest()
    gate.set()
    answers = await asyncio.gather(*asked)
    assert len(adapter.calls) == 1
    assert all(b"lo" in answer for answer in answers)
    events = await caching.settled()
    assert sorted(event.cache_status for event in events) == ["coalesced"] * 99 + ["miss"]
    paid = next(event for event in events if event.cache_status == "miss")
    assert {event.saved_nusd for event in events if event is not paid} == {paid.cost_nusd}
    await caching.nothing_is_left()


async def test_a_leader_that_is_cancelled_hands_over(caching):
    caching.policies.policy = structs.replace(BUDGETED, rules=(OF_REQUESTS,))
    adapter = FakeAdapter(HANG, [STOPPED], relays=RELAYED)
    led = asyncio.ensure_future(ask(caching, caching.exchange(CHAT, adapter)))
    await rest()
    followers = [asyncio.ensure_future(ask(caching, caching.exchange(CHAT, adapter))) for _ in range(9)]
    await rest()
    led.cancel()
    assert await asyncio.gather(*followers) == [STOPPED] * 9
    assert len(adapter.calls) == 2
    await caching.nothing_is_left()
    # All nine were admitted as hits; then one was admitted in full instead, and eight as hits again.
    demands = [demand.rate_nusd > 0 for demand in caching.accounts.demands]
    assert (demands.count(True), demands.count(False), len(caching.accounts.voided)) == (2, 17, 9)


async def test_two_failures_of_providers_are_everybodys(caching):
    gates = [asyncio.Event(), asyncio.Event()]
    adapter = FakeAdapter(*(Held(gate, OVERLOADED) for gate in gates), relays=RELAYED)
    asked = [asyncio.ensure_future(ask(caching, caching.exchange(CHAT, adapter, retries=0))) for _ in range(9)]
    for gate in gates:
        await rest()
        gate.set()
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(failure) for failure in failures} == {UpstreamFailed}
    assert len(adapter.calls) == 2
    await caching.nothing_is_left()


async def test_a_refusal_is_that_of_the_same_bytes_only(caching):
    gate = asyncio.Event()
    refused = RequestRefused("metadata is odd", status=400, param="metadata")
    adapter = FakeAdapter(Held(gate, refused), [STOPPED], relays=RELAYED)
    odd = {"metadata": {"a": "b"}}
    exchanges = [caching.exchange(CHAT, adapter, document=fields) for fields in (odd, odd, {})]
    asked = [asyncio.ensure_future(ask(caching, exchange)) for exchange in exchanges]
    await rest()
    gate.set()
    first, same, other = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(first), type(same)} == {UpstreamRefused}
    assert other == STOPPED
    await caching.nothing_is_left()


async def test_a_broken_store_costs_nothing_but_the_hit(caching):
    async def fails(*args, **kwargs):
        raise StoreUnavailable("down")

    caching.store.find = caching.store.put = fails
    adapter = FakeAdapter([STOPPED], [STOPPED], relays=RELAYED)
    for _ in range(2):
        assert await ask(caching, caching.exchange(CHAT, adapter)) == STOPPED
    await caching.nothing_is_left()


async def test_only_what_is_kept_is_looked_for_even_where_the_cache_has_no_part(caching):
    caching.wish = None
    adapter = FakeAdapter([STOPPED], relays=RELAYED)
    with pytest.raises(NotCached):
        await ask(caching, caching.exchange(CHAT, adapter, cache_control=CacheControl(only_if_cached=True)))
    assert adapter.calls == []


async def test_what_is_dropped_is_said_in_the_words_of_whoever_asks(caching):
    caching.wish = Wish()

    class Dropping(FakeAdapter):
        async def chat(self, request, target):
            stream = await super().chat(request, target)
            stream.dropped = ("stop",)
            return stream

    adapter = Dropping(ANSWER, ANSWER)
    first, again = caching.exchange(MESSAGES, adapter), caching.exchange(CHAT, adapter)
    for one in (first, again):
        await ask(caching, one)
        await caching.settled()
    assert (first.dropped, again.dropped, again.cache_status) == (("stop_sequences",), ("stop",), "exact")
    other, theirs = caching.exchange(CHAT, adapter, document=OTHER), caching.exchange(MESSAGES, adapter, document=OTHER)
    for one in (other, theirs):
        await ask(caching, one)
        await caching.settled()
    assert (other.dropped, theirs.dropped, theirs.cache_status) == (("stop",), ("stop_sequences",), "exact")


# --- Chance


class SlowBytes(Bytes):
    """An answer each of whose parts takes a while."""

    def __init__(self, script, dice):
        super().__init__(script)
        self._dice = dice

    async def read(self):
        await rest(self._dice.randrange(4))
        return await super().read()


class SlowEvents(Events):
    """The same, of events."""

    def __init__(self, script, dice):
        super().__init__(script)
        self._dice = dice

    async def __aiter__(self):
        async for event in super().__aiter__():
            await rest(self._dice.randrange(4))
            yield event


class Fickle(FakeAdapter):
    """Takes its time, and fails now and then: before its answer or in the middle."""

    def __init__(self, dice, **more):
        super().__init__(**more)
        self._dice = dice

    async def _pause(self):
        await rest(self._dice.randrange(12))
        if self._dice.random() < 0.1:
            raise OVERLOADED

    def _broken(self, script):
        return [*script[:3], StreamInterrupted()] if self._dice.random() < 0.1 else list(script)

    async def relay(self, request, target):
        await self._pause()
        if request.stream:
            answer = SlowBytes(self._broken(STREAM), self._dice)
            return HttpRelay(answer, StreamInspector(keep_usage=request.keep_usage))
        return HttpRelay(SlowBytes([STOPPED], self._dice), WholeInspector())

    async def chat(self, request, target):
        await self._pause()
        return SlowEvents(self._broken(ANSWER), self._dice)


async def ask_by_chance(caching, dice, adapters):
    """Ask one of two questions in one of four forms, and perhaps leave; return how well that went."""
    await rest(dice.randrange(200))
    operation = dice.choice([CHAT, LLM])
    words = {"messages": [{"role": "user", "content": dice.choice("ab")}]}
    stream, adapter = dice.random() < 0.7, adapters[operation.relay]
    exchange = caching.exchange(operation, adapter, stream=stream, document=words, retries=0, keep_usage=True)
    task = asyncio.ensure_future(ask(caching, exchange))
    if dice.random() < 0.5:
        await rest(dice.randrange(60))
        task.cancel()
    try:
        answer = await task
    except (GatewayError, StreamInterrupted, asyncio.CancelledError):
        return exchange, False
    assert b"Hel" in answer
    assert b"lo" in answer
    return exchange, True


@pytest.mark.parametrize("seed", range(4))
async def test_random_cancels_leave_no_task_no_flight_and_no_hold(caching, seed):
    """A quarter of a thousand requests for each seed, half of them cancelled at a moment of chance."""
    caching.policies.policy = structs.replace(BUDGETED, rules=(OF_REQUESTS,))
    dice = random.Random(seed)
    adapters = {CHAT.relay: Fickle(dice, relays=RELAYED), LLM.relay: Fickle(dice)}
    before = len(asyncio.all_tasks())
    done = await asyncio.gather(*(ask_by_chance(caching, dice, adapters) for _ in range(250)))
    await caching.nothing_is_left()
    await rest()
    assert len(asyncio.all_tasks()) == before
    assert sum(is_well for _, is_well in done) > 60
    # One row for every attempt and every hit; whoever was answered without a call paid nothing.
    events = await caching.settled()
    assert len({event.event_id for event in events}) == len(events)
    assert {exchange.request_uuid for exchange, is_well in done if is_well} <= {event.request_id for event in events}
    assert {event.cost_nusd for event in events if event.cache_status in {"exact", "coalesced"}} == {0}
    assert {exchange.cache_status for exchange, _ in done} >= {"miss", "exact", "coalesced"}
