"""One call for all requests of an idempotency key, over a store in memory that can fail."""

import asyncio
from uuid import UUID

import pytest

from app.db.faults import DatabaseUnavailable
from app.domain.answers.schemas import KeptAnswer, Slot, Standing
from app.domain.answers.service import MAX_BYTES
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import ManualClock
from app.kernel.errors import Conflict, InternalError, RateLimited, Unavailable, UpstreamFailed, UpstreamTimedOut
from app.pipeline import once as once_module
from app.pipeline.answer import Answer
from app.pipeline.once import Once, Repeatable
from providers.errors import StreamInterrupted

SLOT = Slot(UUID(int=1), "/v1/chat/completions", "once")
SERVED = ((b"x-gateway-provider", b"p"),)
LIMITS = ((b"x-ratelimit-remaining-requests", b"7"),)
TYPE = b"text/event-stream"


class Store:
    """Claims and answers in memory. `down` is whether it does not answer; `refused` counts what it did not take."""

    def __init__(self):
        self.holders = {}
        self.kept = {}
        self.down = False
        self.refused = 0
        self.claims = 0
        self.renewals = 0

    def _ask(self):
        if self.down:
            self.refused += 1
            raise DatabaseUnavailable

    async def claim(self, claim):
        self.claims += 1
        await asyncio.sleep(0)
        self._ask()
        if claim.slot in self.kept:
            return self.kept[claim.slot]
        if claim.slot in self.holders:
            return Standing.HELD
        self.holders[claim.slot] = claim.holder
        return Standing.OURS

    async def is_held(self, slot):
        self._ask()
        return slot in self.holders

    async def renew(self, claim):
        self._ask()
        self.renewals += 1
        return self.holders.get(claim.slot) == claim.holder

    async def keep(self, claim, answer):
        self._ask()
        if self.holders.pop(claim.slot, None) != claim.holder:
            return False
        self.kept[claim.slot] = answer
        return True

    async def release(self, claim):
        self._ask()
        if self.holders.get(claim.slot) == claim.holder:
            del self.holders[claim.slot]


class Live:
    """A live answer of scripted parts; an `Event` is waited for."""

    def __init__(self, *parts):
        self.parts = list(parts)
        self.is_finished = False
        self.is_closed = False

    async def read(self):
        part = self.parts.pop(0)
        if isinstance(part, asyncio.Event):
            await part.wait()
            part = self.parts.pop(0)
        if isinstance(part, Exception):
            raise part
        self.is_finished = not self.parts
        return part

    def close(self):
        self.is_closed = True


class Exchange:
    """What `Once` reads and writes of an exchange."""

    def __init__(self, deadline_ns=60_000_000_000):
        self.request_id = "r"
        self.principal = type("Principal", (), {"organization_id": UUID(int=2)})
        self.deadline_ns = deadline_ns
        self.upstream_ns = 0
        self.say_failure = None
        self.limit_headers = ()
        self.call = None
        self.is_expired = False

    def expire(self):
        self.is_expired = True


class World:
    """A worker with a scripted provider: every call takes the next script."""

    def __init__(self, *scripts, store=None):
        self.scripts = list(scripts)
        self.store = store or Store()
        self.tasks = TaskSupervisor()
        self.open_requests = set()
        self.exchanges = []
        self.once = Once(
            self.following,
            answers=self.store,
            told=self.told,
            clock=ManualClock(),
            supervisor=self.tasks,
            open_requests=self.open_requests,
        )

    async def told(self, exchange):
        del exchange
        return LIMITS

    async def following(self, exchange):
        self.exchanges.append(exchange)
        script = self.scripts.pop(0)
        if isinstance(script, asyncio.Event):
            await script.wait()
            script = self.scripts.pop(0)
        if isinstance(script, Exception):
            raise script
        exchange.say_failure = lambda error: b"broken: " + error.code.encode()
        return Answer(live=script, content_type=TYPE) if isinstance(script, Live) else Answer(body=script)

    def ask(self, exchange=None, *, request_hash=b"h"):
        return self.once(exchange or Exchange(), Repeatable(SLOT, request_hash, lambda answer: SERVED))

    def ask_soon(self, exchange=None):
        return asyncio.create_task(self.ask(exchange))

    async def done(self):
        await self.tasks.drain(patience_s=2)
        assert not self.open_requests
        assert not self.once._calls


async def read(answer):
    if answer.live is None:
        return answer.body
    parts = []
    try:
        while not answer.live.is_finished:
            parts.append(await answer.live.read())
    finally:
        answer.live.close()
    return b"".join(parts)


async def settled(times=10):
    for _ in range(times):
        await asyncio.sleep(0)


async def test_a_repeated_request_is_answered_from_the_store():
    world, exchange = World(b"whole"), Exchange()
    first = await world.ask()
    again = await world.ask(exchange)
    assert exchange.limit_headers == LIMITS
    assert world.exchanges[0].limit_headers == (), "who makes the call is told by what it reserves"
    assert (first.body, first.replayed) == (b"whole", None)
    assert (again.body, again.replayed, again.live) == (b"whole", SERVED, None)
    assert len(world.exchanges) == 1
    await world.done()


async def test_a_stream_is_given_again_as_a_stream():
    world = World(Live(b"1", b"2", b"3"))
    first = await world.ask()
    assert first.live is not None
    assert await read(first) == b"123"
    again = await world.ask()
    assert again.live is not None
    assert (await read(again), again.content_type, again.replayed) == (b"123", TYPE, SERVED)
    await world.done()


async def test_who_comes_while_it_runs_follows_from_the_beginning():
    gate = asyncio.Event()
    world = World(Live(b"1", gate, b"2", b"3"))
    first = await world.ask()
    assert await first.live.read() == b"1"
    joined = await world.ask()
    assert joined.replayed == SERVED
    assert await joined.live.read() == b"1"
    gate.set()
    assert (await read(first), await read(joined)) == (b"23", b"23")
    assert len(world.exchanges) == 1
    await world.done()


async def test_another_process_s_answer_is_waited_for(monkeypatch):
    monkeypatch.setattr(once_module, "_FIRST_PAUSE_S", 0.001)
    gate = asyncio.Event()
    here = World(Live(b"1", gate, b"2"))
    there = World(store=here.store)
    first = await here.ask()
    waiting = [there.ask_soon() for _ in range(3)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    gate.set()
    assert await read(first) == b"12"
    answers = await asyncio.gather(*waiting)
    assert [await read(answer) for answer in answers] == [b"12"] * 3
    assert [answer.replayed for answer in answers] == [SERVED] * 3
    assert there.exchanges == []
    await here.done()
    await there.done()


async def test_who_waits_for_another_process_in_vain_makes_the_call(monkeypatch):
    monkeypatch.setattr(once_module, "_FIRST_PAUSE_S", 0.001)
    gate = asyncio.Event()
    here = World(gate, UpstreamFailed())
    there = World(b"whole", store=here.store)
    first = here.ask_soon()
    await settled()
    waiting = there.ask_soon()
    await asyncio.sleep(0.005)
    gate.set()
    with pytest.raises(UpstreamFailed):
        await first
    assert (await waiting).body == b"whole"
    await there.done()


async def test_nobody_s_call_is_not_made(monkeypatch):
    """Whoever waited for another process has left, so there is nothing to be done when that fails."""
    monkeypatch.setattr(once_module, "_FIRST_PAUSE_S", 0.001)
    world = World()
    world.store.holders[SLOT] = "somebody"
    waiting = world.ask_soon()
    await asyncio.sleep(0.005)
    waiting.cancel()
    await asyncio.sleep(0.01)
    del world.store.holders[SLOT]
    await world.done()
    assert world.exchanges == []


async def test_a_failure_is_the_first_one_s_alone_and_the_next_tries_again():
    gate = asyncio.Event()
    world = World(gate, RateLimited(), b"whole")
    first, *others = (world.ask_soon() for _ in range(4))
    await settled()
    gate.set()
    with pytest.raises(RateLimited):
        await first
    answers = await asyncio.gather(*others)
    assert [answer.body for answer in answers] == [b"whole"] * 3
    assert sorted(answer.replayed is None for answer in answers) == [False, False, True]
    assert len(world.exchanges) == 2
    await world.done()


async def test_what_broke_on_the_way_is_not_kept_and_everybody_hears_the_same():
    world = World(Live(b"1", b"2", StreamInterrupted()), b"whole")
    exchanges = [Exchange(), Exchange()]
    answers = await asyncio.gather(*(world.ask(exchange) for exchange in exchanges))
    for answer, exchange in zip(answers, exchanges, strict=True):
        heard = b""
        while heard != b"12":
            heard += await answer.live.read()
        with pytest.raises(UpstreamFailed) as caught:
            await answer.live.read()
        answer.live.close()
        assert exchange.say_failure(caught.value) == b"broken: upstream_interrupted"
    await world.done()
    assert world.store.kept == world.store.holders == {}
    assert (await world.ask()).body == b"whole"


async def test_a_client_that_leaves_does_not_end_the_call():
    gate = asyncio.Event()
    live = Live(b"1", gate, b"2", b"3")
    world = World(live)
    exchange, ended = Exchange(), []
    answer = await world.ask(exchange)
    await answer.live.read()
    answer.live.close()
    exchange.call.then(lambda: ended.append(True))
    assert world.once.unattended == 1
    assert ended == []
    gate.set()
    await world.done()
    assert ended == [True]
    assert live.is_closed
    assert world.once.unattended == 0
    assert await read(await world.ask()) == b"123"


async def test_a_client_that_leaves_before_the_answer_began_does_not_end_the_call():
    gate = asyncio.Event()
    world = World(gate, b"whole")
    first = world.ask_soon()
    await settled()
    first.cancel()
    await settled()
    assert world.once.unattended == 1
    gate.set()
    await world.done()
    assert (await world.ask()).body == b"whole"
    assert len(world.exchanges) == 1


async def test_another_request_under_the_same_key_is_refused():
    gate = asyncio.Event()
    world = World(Live(b"1", gate, b"2"))
    answer = await world.ask()
    with pytest.raises(Conflict, match="in use for another request") as caught:
        await world.ask(request_hash=b"other")
    assert caught.value.code == "idempotency_conflict"
    gate.set()
    assert await read(answer) == b"12"
    await world.done()
    assert len(world.exchanges) == 1


async def test_without_the_store_nothing_is_promised_and_nobody_waits_in_line():
    world = World()
    world.store.down = True
    asking = [world.ask_soon() for _ in range(5)]
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(error) for error in found} == {DatabaseUnavailable}
    assert world.store.claims == 1
    assert world.exchanges == []
    await world.done()


async def test_a_claim_that_nobody_knows_of_is_given_back():
    """The store noted it, and its answer was lost or came too late."""
    world = World(b"whole")
    claim, gate = world.store.claim, asyncio.Event()

    async def lost(request):
        await claim(request)
        raise DatabaseUnavailable

    async def late(request):
        await claim(request)
        await gate.wait()

    world.store.claim = lost
    with pytest.raises(DatabaseUnavailable):
        await world.ask()
    world.store.claim = late
    with pytest.raises(UpstreamTimedOut):
        await world.ask(Exchange(deadline_ns=20_000_000))
    await world.done()
    assert world.store.holders == {}
    world.store.claim = claim
    assert (await world.ask()).body == b"whole"
    await world.done()


async def test_an_answer_that_the_store_does_not_take_is_given_and_offered_again(monkeypatch):
    monkeypatch.setattr(once_module, "_KEEP_PAUSES_S", (0.001, 0.001, 0.2))
    gate = asyncio.Event()
    world = World(Live(b"1", gate, b"2"))
    answer = await world.ask()
    world.store.down = True
    gate.set()
    assert await read(answer) == b"12"
    await asyncio.sleep(0.02)
    assert world.store.refused == 3
    world.store.down = False
    await world.done()
    assert await read(await world.ask()) == b"12"


async def test_an_answer_is_kept_before_its_last_bytes_are_given_away():
    world = World(Live(b"1", b"2"))
    answer = await world.ask()
    while not answer.live.is_finished:
        is_kept = SLOT in world.store.kept
        data = await answer.live.read()
        assert (data == b"1") or SLOT in world.store.kept, is_kept
    await world.done()


async def test_what_is_too_large_is_given_once():
    part = b"x" * 300_000
    gate = asyncio.Event()
    world = World(Live(part, part, part, part, part, gate, part))
    first = await world.ask()
    got = [await first.live.read() for _ in range(5)]
    with pytest.raises(Conflict, match="larger than"):
        await world.ask()
    gate.set()
    assert b"".join(got) + await read(first) == part * 6
    await world.done()
    assert world.store.kept == {SLOT: None}


async def test_the_longest_answer_that_is_kept_is_whole():
    body = b"x" * MAX_BYTES
    world = World(body)
    assert (await world.ask()).body == body
    assert isinstance(world.store.kept[SLOT], KeptAnswer)
    assert (await world.ask()).body == body
    await world.done()


async def test_the_deadline_of_its_first_client_ends_the_call():
    world = World(Live(b"1", asyncio.Event(), b"2"))
    exchange = Exchange(deadline_ns=20_000_000)
    answer = await world.ask(exchange)
    assert await answer.live.read() == b"1"
    with pytest.raises(UpstreamTimedOut):
        await answer.live.read()
    assert exchange.is_expired
    answer.live.close()
    await world.done()
    assert world.store.holders == world.store.kept == {}


async def test_a_shutdown_ends_the_call_and_gives_its_claim_back():
    live = Live(b"1", asyncio.Event(), b"2")
    world = World(live)
    answer = await world.ask()
    await answer.live.read()
    for request in tuple(world.open_requests):
        request.shut_down()
    with pytest.raises(Unavailable) as caught:
        await answer.live.read()
    assert caught.value.code == "server_shutting_down"
    answer.live.close()
    await world.done()
    assert live.is_closed
    assert world.store.holders == {}


async def test_a_long_call_keeps_its_claim(monkeypatch):
    monkeypatch.setattr(once_module, "RENEW_S", 0.002)
    gate = asyncio.Event()
    world = World(gate, b"whole")
    asking = world.ask_soon()
    await asyncio.sleep(0.02)
    world.store.down = True
    await asyncio.sleep(0.01)
    world.store.down = False
    before = world.store.renewals
    await asyncio.sleep(0.02)
    assert world.store.renewals > before > 0
    gate.set()
    assert (await asking).body == b"whole"
    await world.done()
    after = world.store.renewals
    await asyncio.sleep(0.01)
    assert world.store.renewals == after


async def test_a_defect_leaves_nothing_behind(caplog):
    world = World(RuntimeError("a defect"), b"whole")
    with pytest.raises(InternalError):
        await world.ask()
    await world.done()
    assert "a defect" in caplog.text
    assert world.store.holders == {}
    assert (await world.ask()).body == b"whole"


async def test_the_time_of_waiting_is_not_the_gateway_s():
    world = World(b"whole")
    clock = world.once.clock
    await world.ask()
    exchange = Exchange()
    claim = world.store.claim

    async def slow(request):
        clock.advance(0.5)
        return await claim(request)

    world.store.claim = slow
    await world.ask(exchange)
    assert exchange.upstream_ns == 500_000_000
