"""Calls shared between workers, over signals in memory: two radios, each with its own flights."""

import asyncio

import pytest

from app.cache.answers import Answered, Sealer
from app.cache.question import Question
from app.cache.shelf import Shelf, Spot
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import SystemClock
from app.kernel.errors import UpstreamFailed
from app.pipeline import radio as module
from app.pipeline.flights import Flight, Flights, LeaderFailed, Server
from app.pipeline.radio import TOPIC, Radio
from app.stores.cache import Maker, Owner, Place
from app.stores.memory_cache import MemoryCacheStore
from app.stores.subscriptions import Subscriptions
from providers.stream import OPAQUE_PART, collect
from providers.types import Finished, OpaquePart, Started, TextDelta

KEY = b"k" * 32
SPOT = Spot(Place(Owner(1, "aa" * 16), "organization:a", KEY), Question(key=KEY))
SERVER = Server("m", "p", "up", ("logit_bias",))
EVENTS = [
    Started(id="1", model="up", created=1),
    *[TextDelta(text=f"word{number} ") for number in range(1_200)],
    Finished(reason="stop"),
]


class Air:
    """What all processes hear; may lose what is said."""

    def __init__(self):
        self.stations = {}
        self.loses = lambda word: False
        self.said = []

    def station(self, address):
        found = self.stations[address] = Station(self, address)
        return found


class Station:
    connected = True

    def __init__(self, air, address):
        self.air = air
        self.address = address
        self._subscriptions = Subscriptions()

    async def publish(self, topic, payload, *, to=None):
        word = module._word.decode(payload)
        self.air.said.append(word)
        await asyncio.sleep(0)
        station = self.air.stations.get(to)
        if station is not None and not self.air.loses(word):
            station._subscriptions.deliver(topic, payload)

    def subscribe(self, topic, callback, *, on_gap=None):
        return self._subscriptions.add(topic, callback, on_gap=on_gap, is_heard=True)


class Worker:
    def __init__(self, air, address, store, *, seal_key=b"k" * 32):
        self.tasks = TaskSupervisor()
        self.flights = Flights()
        self.shelf = Shelf(
            store,
            sealer=Sealer(seal_key),
            clock=SystemClock(),
            spawn=self.tasks.spawn,
            maker=address,
            most_bytes=1 << 20,
        )
        self.signals = air.station(address)
        self.radio = Radio(self.shelf, signals=self.signals, flights=self.flights, supervisor=self.tasks)

    def follow(self):
        flight = self.flights.lead(KEY)
        self.radio.follow(flight, SPOT, Maker("leader", is_me=False))
        return flight


def answered(events=EVENTS):
    return Answered(provider="p", model="m", upstream_model="up", created_ms=1, completion=collect(events), cost_nusd=9)


@pytest.fixture
def air():
    return Air()


@pytest.fixture
def store():
    return MemoryCacheStore(clock=SystemClock())


@pytest.fixture
async def leader(air, store):
    worker = Worker(air, "leader", store)
    await store.find(SPOT.place, maker="leader", lease_ms=60_000)
    yield worker
    worker.radio.close()
    await worker.tasks.drain(patience_s=1)


@pytest.fixture
async def follower(air, store, monkeypatch):
    monkeypatch.setattr(module, "_SILENT_S", 0.05)
    worker = Worker(air, "follower", store)
    yield worker
    worker.radio.close()
    await worker.tasks.drain(patience_s=1)


async def heard(flight):
    """Return all events of a flight, and what it ended with."""
    events, position = [], 0
    try:
        while more := await flight.after(position):
            events += more
            position += len(more)
    except LeaderFailed as failure:
        return events, failure
    return events, flight.answered


async def test_nothing_is_said_before_somebody_asks(air, leader):
    flight = leader.flights.lead(KEY)
    flight.begin(SERVER)
    flight.add(EVENTS)
    flight.end(answered())
    await asyncio.sleep(0.01)
    assert air.said == []


async def test_a_call_is_heard_from_its_beginning_as_it_comes(air, leader, follower):
    flight = leader.flights.lead(KEY)
    flight.cap = 77
    flight.begin(SERVER)
    flight.add(EVENTS[:800])
    copy = follower.follow()
    await copy.begun()
    assert (copy.server, copy.cap, copy.answered) == (SERVER, 77, None)
    flight.add(EVENTS[800:])
    flight.end(answered())
    assert await heard(copy) == (EVENTS, answered())
    assert flight.followers == 0
    assert [word.number for word in air.said if word.says != "join"] == list(range(len(air.said) - 1))


async def test_an_answer_that_comes_whole_is_heard_whole(leader, follower):
    flight = leader.flights.lead(KEY)
    copy = follower.follow()
    await asyncio.sleep(0.01)
    flight.end(answered())
    assert await heard(copy) == ([], answered())


async def test_who_leads_no_longer_says_so_at_once(leader, follower):
    del leader
    _, failure = await heard(follower.follow())
    assert (failure.error, failure.is_private) == (None, False)


async def test_why_a_leader_failed_is_told_as_far_as_it_concerns_others(leader, follower):
    flight = leader.flights.lead(KEY)
    copy = follower.follow()
    await asyncio.sleep(0.01)
    flight.fail(LeaderFailed(UpstreamFailed("it broke", code="upstream_error"), asked=b"digest"))
    _, failure = await heard(copy)
    assert isinstance(failure.error, UpstreamFailed)
    assert (failure.error.message, failure.asked) == ("it broke", b"digest")


@pytest.mark.parametrize("lost", [0, 1])
async def test_a_part_that_is_missing_ends_the_following(air, leader, follower, lost):
    flight = leader.flights.lead(KEY)
    flight.begin(SERVER)
    flight.add(EVENTS)
    air.loses = lambda word: word.says == "part" and word.number == lost
    copy = follower.follow()
    flight.end(answered())
    events, failure = await heard(copy)
    assert isinstance(failure, LeaderFailed)
    assert events == EVENTS[: len(events)]


async def test_what_was_sealed_by_others_is_not_believed(air, store, follower):
    stranger = Worker(air, "leader", store, seal_key=b"x" * 32)
    flight = stranger.flights.lead(KEY)
    flight.begin(SERVER)
    flight.add(EVENTS)
    events, failure = await heard(follower.follow())
    assert (events, type(failure)) == ([], LeaderFailed)
    flight.end(answered())
    await stranger.tasks.drain(patience_s=1)


async def test_an_answer_that_was_kept_without_a_word_is_found(air, store, leader, follower):
    del leader
    air.loses = lambda word: word.says != "join"
    copy = follower.follow()
    await asyncio.sleep(0.02)
    await follower.shelf.put(SPOT, answered(), ttl_s=60, tags={}, sample=None)
    _, found = await heard(copy)
    assert found == answered()
    assert copy.found is not None


async def test_a_leader_that_is_gone_is_noticed(air, store, leader, follower):
    leader.flights.lead(KEY)
    air.loses = lambda word: True
    copy = follower.follow()
    await asyncio.sleep(0.12)
    assert not copy.is_over, "its lease still says that the answer is made"
    await store.release(SPOT.place, maker="leader")
    _, failure = await heard(copy)
    assert isinstance(failure, LeaderFailed)
    leader.flights.find(KEY).fail(LeaderFailed(None))


async def test_a_part_that_only_its_own_dialect_understands_does_not_travel(leader, follower):
    flight = leader.flights.lead(KEY)
    flight.begin(SERVER)
    part = OpaquePart(dialect="anthropic", value={"type": "odd"})
    flight.add([EVENTS[0], TextDelta(text="", extras={OPAQUE_PART: part})])
    _, failure = await heard(follower.follow())
    assert isinstance(failure, LeaderFailed)
    flight.end(answered())


async def test_what_another_release_says_is_passed_over(leader):
    leader.signals._subscriptions.deliver(TOPIC, b"\xc1")
    leader.signals._subscriptions.deliver(TOPIC, b"\x93\x01\x02\x03")
    assert len(leader.tasks) == 0


async def test_a_flight_that_is_followed_can_be_joined_by_others_here(leader, follower):
    flight = leader.flights.lead(KEY)
    flight.begin(SERVER)
    flight.add(EVENTS[:10])
    copy = follower.follow()
    assert follower.flights.find(KEY) is copy
    flight.add(EVENTS[10:])
    flight.end(answered())
    assert await heard(copy) == (EVENTS, answered())
    await asyncio.sleep(0)
    assert follower.flights.find(KEY) is None
    assert isinstance(copy, Flight)
