"""What workers tell each other of lanes, over signals in memory."""

import asyncio

from app.gateway.board import Board
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import ManualClock
from app.observability.metrics import Metrics
from app.routing.health import Health

S_NS = 1_000_000_000


class Signals:
    """Gives every word to everybody at once."""

    def __init__(self):
        self.hearers = []

    async def publish(self, topic, payload):
        del topic
        for hear in self.hearers:
            hear(payload)

    def subscribe(self, topic, hear):
        del topic
        self.hearers.append(hear)
        return lambda: None


class Worker:
    def __init__(self, signals, clock):
        self.health = Health()
        self.tasks = TaskSupervisor()
        self.board = Board(self.health, signals=signals, tasks=self.tasks, metrics=Metrics(), clock=clock)
        signals.subscribe("lanes", self.board._hear)

    @property
    def lane(self):
        return self.health.lane("p", "m")

    async def tell(self):
        self.board.changed(self.lane)
        while len(self.tasks):  # noqa: ASYNC110 - the supervisor has no event to wait for
            await asyncio.sleep(0)


async def test_all_hear_that_a_lane_is_broken_and_that_it_is_well_again():
    clock, signals = ManualClock(), Signals()
    one, other = Worker(signals, clock), Worker(signals, clock)
    one.lane.breaker.open(clock.monotonic_ns() + 5 * S_NS)
    await one.tell()
    assert other.lane.breaker.state(clock.monotonic_ns()) == "open"
    one.lane.breaker.close()
    await one.tell()
    assert other.lane.breaker.state(clock.monotonic_ns()) == "closed"


async def test_a_lane_that_is_full_for_one_stays_broken_for_the_other():
    clock, signals = ManualClock(), Signals()
    one, other = Worker(signals, clock), Worker(signals, clock)
    other.lane.breaker.open(clock.monotonic_ns() + 5 * S_NS)
    one.lane.cool(clock.monotonic_ns() + 3 * S_NS)
    await one.tell()
    assert other.lane.breaker.state(clock.monotonic_ns()) == "open"
    assert other.lane.cooled_s(clock.monotonic_ns()) > 2
