"""A live answer that is shared: read at its client's pace until somebody follows, and at its own from then on."""

import asyncio

import pytest

from app.cache.answers import MAX_BYTES, Answered
from app.gateway.tasks import TaskSupervisor
from app.pipeline import flights as flights_module
from app.pipeline.flights import Flight, Flights, LeaderFailed, Server
from app.pipeline.led import Led
from providers.errors import StreamInterrupted
from providers.stream import collect
from providers.types import Finished, Started, TextDelta

SERVER = Server("m", "p", "u")
ANSWERED = Answered(provider="p", model="m", upstream_model="u", created_ms=1)
STARTED = Started(id="1", model="m", created=1)
STOP = Finished(reason="stop")


def words(count):
    return [STARTED, *(TextDelta(text=f"w{at} ") for at in range(count)), STOP]


class Inner:
    """An answer that gives one event a read, each of `size` bytes; `breaks` and `blinds` happen before that event."""

    is_owed = False

    def __init__(self, events, *, size=1, breaks=None, blinds=None):
        self.events = list(events)
        self.size = size
        self.breaks = breaks
        self.blinds = blinds
        self.gate = asyncio.Event()
        self.gate.set()
        self.recorded = []
        self.reads = 0
        self.is_finished = self.is_closed = False

    @property
    def tokens_seen(self):
        return self.reads

    async def read(self):
        await asyncio.sleep(0)
        await self.gate.wait()
        at, self.reads = self.reads, self.reads + 1
        if at == self.breaks:
            raise StreamInterrupted
        if at == self.blinds:
            self.recorded = None
        if self.recorded is not None:
            self.recorded.append(self.events[at])
        self.is_finished = at == len(self.events) - 1
        return b"%02d" % (at % 100) * self.size

    def close(self):
        self.is_closed = True


class Sharing:
    """A led answer, its flight, and what is said of it."""

    def __init__(self, inner):
        self.tasks = TaskSupervisor()
        self.flight = Flight()
        self.inner = inner
        self.ended = []
        self.broken = []
        self.led = Led(inner, self.flight, ended=self._ended, broke=self._broke, spawn=self.tasks.spawn)
        self.flight.begin(SERVER, on_join=self.led.pump)

    def _ended(self, collector):
        self.ended.append(collector.completion())
        self.flight.end(ANSWERED)

    def _broke(self, failure):
        self.broken.append(failure)
        self.flight.fail(failure)

    async def follow(self):
        self.flight.join()
        try:
            return await events_of(self.flight)
        finally:
            self.flight.leave()


async def events_of(flight, found=None):
    found = [] if found is None else found
    while events := await flight.after(len(found)):
        found += events
    return found


async def read_out(led):
    data = b""
    while not led.is_finished:
        data += await led.read()
    return data


async def rest(turns=200):
    for _ in range(turns):
        await asyncio.sleep(0)


def sharing(count=5, **more):
    return Sharing(Inner(words(count), **more))


async def test_alone_it_is_read_at_its_clients_pace():
    shared = sharing()
    await shared.led.read()
    await rest()
    assert (shared.inner.reads, len(shared.tasks)) == (1, 0)
    assert await read_out(shared.led) == b"010203040506"
    assert shared.ended == [collect(words(5))]


async def test_from_the_first_follower_on_it_is_read_at_its_own():
    shared = sharing()
    await shared.led.read()
    assert await asyncio.wait_for(shared.follow(), 5) == words(5)
    assert shared.inner.reads == 7
    # Its own client, who has not read meanwhile, has missed nothing.
    assert await read_out(shared.led) == b"010203040506"
    await rest()
    assert (len(shared.tasks), len(shared.ended)) == (0, 1)


async def test_who_joins_while_its_client_reads_takes_no_byte_from_it():
    shared = sharing()
    shared.inner.gate.clear()
    reading = asyncio.ensure_future(shared.led.read())
    await rest()
    following = asyncio.ensure_future(shared.follow())
    await rest()
    shared.inner.gate.set()
    assert await reading + await read_out(shared.led) == b"00010203040506"
    assert await following == words(5)


async def test_all_who_join_get_all_of_it_whenever_they_come():
    shared = sharing(40)
    followers = []
    for _ in range(20):
        followers.append(asyncio.ensure_future(shared.follow()))
        await rest(3)
    data = await read_out(shared.led)
    assert len(data) == 2 * 42
    assert {len(found) for found in await asyncio.gather(*followers)} == {42}


async def test_a_client_that_does_not_read_stalls_no_follower():
    shared = sharing(40, size=MAX_BYTES // 8)
    await shared.led.read()
    assert len(await asyncio.wait_for(shared.follow(), 5)) == 42


async def test_without_followers_it_waits_for_a_client_that_is_far_behind_until_somebody_joins_again():
    shared = sharing(60, size=MAX_BYTES // 8)
    shared.flight.join()
    await rest(4)
    shared.flight.leave()
    await rest()
    assert shared.inner.reads < 20
    assert len(await asyncio.wait_for(shared.follow(), 5)) == 62
    assert len(await read_out(shared.led)) == 62 * 2 * (MAX_BYTES // 8)


async def test_followers_are_told_when_it_breaks_behind_what_they_have():
    shared = sharing(5, breaks=3)
    shared.flight.join()
    found = []
    with pytest.raises(LeaderFailed):
        await events_of(shared.flight, found)
    assert found == words(5)[:3]
    assert await shared.led.read() == b"000102"
    with pytest.raises(StreamInterrupted):
        await shared.led.read()
    assert not shared.led.is_finished
    await rest()
    assert len(shared.tasks) == 0


async def test_followers_of_what_cannot_be_read_are_told_at_once():
    shared = sharing(5, blinds=3)
    shared.inner.gate.clear()
    following = asyncio.ensure_future(shared.follow())
    await rest()
    shared.inner.gate.set()
    with pytest.raises(LeaderFailed) as caught:
        await following
    assert caught.value.is_private
    assert shared.inner.reads < 7
    # Its own client gets all of it.
    assert await read_out(shared.led) == b"00010203040506"
    assert shared.ended == []


async def test_what_grows_too_long_is_shared_with_nobody_more():
    events = [STARTED, *(TextDelta(text="x" * 1_000) for _ in range(1_200)), STOP]
    shared = Sharing(Inner(events))
    flights = Flights()
    flights._flights[b"k"] = shared.flight
    while not shared.flight.is_too_large:
        assert flights.find(b"k") is shared.flight
        await shared.led.read()
    assert flights.find(b"k") is None
    await read_out(shared.led)
    assert shared.inner.recorded is None
    assert (shared.ended, shared.flight.events) == ([], [])
    assert [failure.is_private for failure in shared.broken] == [True]


async def test_memory_has_an_end_even_with_followers(monkeypatch):
    monkeypatch.setattr(flights_module, "LONGEST_BYTES", 2_000)
    shared = sharing(80)
    with pytest.raises(LeaderFailed):
        await shared.follow()
    assert len(await read_out(shared.led)) == 2 * 82


async def test_a_client_that_leaves_ends_it_for_nobody_who_follows():
    shared = sharing()
    await shared.led.read()
    shared.flight.join()
    assert shared.led.is_owed
    # As the drain does.
    while not shared.led.is_finished:
        await shared.led.read()
    assert len(await events_of(shared.flight)) == 7
    shared.flight.leave()
    assert not shared.led.is_owed


async def test_closing_it_tells_those_who_follow():
    shared = sharing()
    await shared.led.read()
    shared.inner.gate.clear()
    following = asyncio.ensure_future(shared.follow())
    await rest()
    shared.led.close()
    with pytest.raises(LeaderFailed):
        await following
    assert shared.inner.is_closed
    shared.inner.gate.set()
    await rest()
    assert len(shared.tasks) == 0
    assert shared.ended == []


async def test_closing_it_at_its_end_tells_nobody_anything():
    shared = sharing()
    await read_out(shared.led)
    shared.led.close()
    assert (shared.broken, len(shared.ended)) == ([], 1)


# --- Flights


async def test_who_waits_for_the_beginning_gets_it_with_the_first_content():
    flight = Flight()
    waiting = asyncio.ensure_future(flight.begun())
    flight.begin(SERVER)
    flight.add([STARTED])
    await rest()
    assert not waiting.done()
    flight.add([TextDelta(text="a")])
    await asyncio.wait_for(waiting, 5)


async def test_a_failure_after_content_is_told_behind_it():
    flight = Flight()
    flight.begin(SERVER)
    flight.add([TextDelta(text="a")])
    flight.fail(LeaderFailed(None))
    await flight.begun()
    assert list(await flight.after(0)) == [TextDelta(text="a")]
    with pytest.raises(LeaderFailed):
        await flight.after(1)
    with pytest.raises(LeaderFailed):
        await flight.ended()


async def test_a_failure_before_content_is_told_to_all_who_wait():
    flight = Flight()
    waiting = [asyncio.ensure_future(each) for each in (flight.begun(), flight.ended(), flight.after(0))]
    await rest()
    failure = LeaderFailed(None)
    flight.fail(failure)
    assert await asyncio.gather(*waiting, return_exceptions=True) == [failure] * 3


async def test_what_has_ended_does_not_fail():
    flight = Flight()
    flight.end(ANSWERED)
    flight.fail(LeaderFailed(None))
    assert (await flight.ended(), flight.failure) == (ANSWERED, None)


async def test_a_follower_who_is_far_behind_gets_a_part_at_a_time():
    flight = Flight()
    flight.add([TextDelta(text="a")] * 1_000)
    assert len(await flight.after(0)) < 1_000


async def test_whoever_led_before_does_not_land_anothers_flight():
    flights = Flights()
    first = flights.lead(b"k")
    second = flights.lead(b"k")
    flights.land(b"k", first)
    assert flights.find(b"k") is second
    flights.land(b"k", second)
    assert len(flights) == 0
