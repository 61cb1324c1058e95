"""What one process tells of lanes, another hears: boards over the signals of one process."""

import asyncio

import msgspec
import pytest

from app.gateway.board import TOPIC, Board
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import ManualClock
from app.observability.metrics import BREAKER_STATE, Metrics
from app.routing.health import Health
from app.stores.errors import StoreUnavailable
from app.stores.memory import MemorySignals

S_NS = 1_000_000_000
AFTER_NS = 250_000_000


class Counted(MemorySignals):
    """Signals that keep what was said, and may be down."""

    def __init__(self):
        super().__init__()
        self.said = []
        self.is_down = False

    async def publish(self, topic, payload):
        if self.is_down:
            raise StoreUnavailable("down")
        self.said.append(msgspec.msgpack.decode(payload))
        await super().publish(topic, payload)


class Process:
    """One process: its own health, and a board."""

    def __init__(self, signals, clock, *, speaks=True):
        self.clock = clock
        self.health = Health()
        self.metrics = Metrics()
        self.tasks = TaskSupervisor()
        self.board = Board(
            self.health, signals=signals, tasks=self.tasks, metrics=self.metrics, clock=clock, speaks=speaks
        )
        self.board.start()

    @property
    def lane(self):
        return self.health.lane("p", "m", 1)

    @property
    def state(self):
        return self.lane.breaker.state(self.clock.monotonic_ns())

    @property
    def shown(self):
        return {key[1]: value for key, value in self.metrics._cells.read() if key[0] == BREAKER_STATE.name}

    def break_down(self):
        now_ns = self.clock.monotonic_ns()
        while not self.lane.breaker.failed(now_ns):
            pass
        self.board.changed(self.lane)


async def heard():
    """Let every task and callback run."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def signals():
    return Counted()


@pytest.fixture
def clock():
    return ManualClock(ticks_ns=1_000 * S_NS)


@pytest.fixture
async def processes(signals, clock):
    made = [Process(signals, clock), Process(signals, clock), Process(signals, clock, speaks=False)]
    yield made
    for each in made:
        await each.board.stop()


async def test_an_open_breaker_is_open_everywhere_for_as_long(processes, clock):
    one, other, admin = processes
    one.break_down()
    await heard()
    assert [each.state for each in processes] == ["open"] * 3
    assert other.lane.breaker.open_until_ns == one.lane.breaker.open_until_ns + AFTER_NS
    assert admin.shown == one.shown == {("p", "m", "2"): 2.0}
    clock.advance(5)
    assert [each.state for each in processes] == ["half_open", "open", "open"], "who opened it tries first"
    clock.advance(0.25)
    assert [each.state for each in processes] == ["half_open"] * 3


async def test_of_two_that_open_it_at_once_one_tries_first(processes, clock):
    one, other, _ = processes
    one.break_down()
    other.break_down()
    for _ in range(3):
        await heard()
        await one.board.repeat()
        await other.board.repeat()
    clock.advance(5)
    assert sorted((one.state, other.state)) == ["half_open", "open"]
    clock.advance(0.25)
    assert (one.state, other.state) == ("half_open", "half_open")


async def test_a_breaker_that_closes_closes_everywhere(processes, clock):
    one, other, admin = processes
    one.break_down()
    await heard()
    clock.advance(5)
    assert other.lane.breaker.succeeded(clock.monotonic_ns())
    other.board.changed(other.lane)
    await heard()
    assert [each.state for each in processes] == ["closed"] * 3
    assert admin.shown == {("p", "m", "2"): 0.0}


async def test_while_one_tries_the_others_do_not(processes, clock):
    one, other, _ = processes
    one.break_down()
    await heard()
    clock.advance(6)
    now_ns = clock.monotonic_ns()
    assert other.lane.breaker.may_try(now_ns)
    one.lane.breaker.begin_try(now_ns)
    one.board.trying(one.lane)
    await heard()
    assert not other.lane.breaker.may_try(now_ns)
    await one.board.repeat()
    await heard()
    assert not other.lane.breaker.may_try(now_ns), "to hear again that it may be tried ends no try"


async def test_a_failed_try_doubles_the_pause_everywhere(processes, clock):
    one, other, _ = processes
    one.break_down()
    await heard()
    clock.advance(5)
    one.break_down()
    await heard()
    assert one.lane.breaker.open_until_ns == clock.monotonic_ns() + 10 * S_NS
    assert other.lane.breaker.open_until_ns == one.lane.breaker.open_until_ns + AFTER_NS


async def test_a_lane_that_is_full_or_locked_out_is_left_alone_everywhere(processes, clock):
    one, other, admin = processes
    now_ns = clock.monotonic_ns()
    one.lane.cool(now_ns + 7 * S_NS)
    one.lane.lock_out(now_ns)
    one.board.changed(one.lane)
    await heard()
    for each in (other, admin):
        assert each.lane.cooled_s(now_ns) == 7
        assert each.lane.left_alone_s(now_ns) == 60
        assert each.state == "closed"


async def test_that_a_lane_is_full_says_nothing_of_its_breaker(processes, clock):
    one, other, admin = processes
    one.lane.cool(clock.monotonic_ns() + 30 * S_NS)
    one.board.changed(one.lane)
    other.health.lane("p", "m", 1)
    await heard()
    for _ in range(4):
        other.lane.breaker.failed(clock.monotonic_ns())
    await one.board.repeat()
    await heard()
    other.break_down()
    await heard()
    one.lane.breaker.close()  # as if it had never heard
    await one.board.repeat()
    await heard()
    assert other.state == admin.state == "open"


async def test_what_holds_is_told_again_to_whoever_comes_later(processes, signals, clock):
    one, *_ = processes
    one.break_down()
    await heard()
    late = Process(signals, clock)
    clock.advance(2)
    await one.board.repeat()
    await heard()
    assert late.state == "open"
    assert late.lane.breaker.open_until_ns == one.lane.breaker.open_until_ns + AFTER_NS
    clock.advance(5)
    later = Process(signals, clock)
    await one.board.repeat()
    await heard()
    assert later.state == "half_open"
    for each in (late, later):
        await each.board.stop()


async def test_nothing_is_told_again_once_all_is_well(processes, signals, clock):
    one, other, admin = processes
    one.break_down()
    one.lane.cool(clock.monotonic_ns() + S_NS)
    clock.advance(6)
    assert other.health is not one.health
    one.lane.breaker.succeeded(clock.monotonic_ns())
    one.board.changed(one.lane)
    await heard()
    signals.said.clear()
    for each in (one, other, admin):
        await each.board.repeat()
    assert signals.said == []


async def test_only_who_found_it_out_tells_it_again_until_that_one_is_silent(processes, signals, clock):
    one, other, admin = processes
    one.break_down()
    await heard()
    signals.said.clear()
    await other.board.repeat()
    await admin.board.repeat()
    assert signals.said == []
    await one.board.stop()
    clock.advance(7)
    await other.board.repeat()
    await heard()
    assert len(signals.said) == 1
    clock.advance(9)
    await admin.board.repeat()
    assert admin.state == "half_open"


async def test_a_process_that_only_listens_forgets_what_nobody_says_any_more(processes, signals, clock):
    _, _, admin = processes
    processes[0].break_down()
    await heard()
    signals.said.clear()
    for _ in range(2):
        clock.advance(8)
        await admin.board.repeat()
    assert admin.state == "closed"
    assert admin.shown == {("p", "m", "2"): 0.0}
    assert signals.said == [], "who makes no calls says nothing"


async def test_its_own_words_are_not_heard(processes, clock):
    one, *_ = processes
    one.break_down()
    one.lane.breaker.close()
    await heard()
    assert one.state == "closed"


async def test_a_credential_that_was_changed_is_not_locked_out_by_those_who_know_the_old(processes, clock):
    one, other, _ = processes
    one.lane.lock_out(clock.monotonic_ns())
    one.board.changed(one.lane)
    await heard()
    other.board.let_all_in()
    await one.board.repeat()
    await heard()
    assert not other.lane.is_locked_out(clock.monotonic_ns())
    one.board.let_all_in()
    clock.advance(6)
    other.lane.lock_out(clock.monotonic_ns())
    other.board.changed(other.lane)
    await heard()
    assert one.lane.is_locked_out(clock.monotonic_ns())


GOOD = ["another", "p", "m", 1, "state", 4_000, 0, 0]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode("state"),
        msgspec.msgpack.encode(GOOD[:4]),
        msgspec.msgpack.encode([*GOOD[:4], "better", 4000, 0, 0]),
        msgspec.msgpack.encode([*GOOD[:3], -1, "state", 4000, 0, 0]),
        msgspec.msgpack.encode([*GOOD[:5], -4000, 0, 0]),
        msgspec.msgpack.encode([*GOOD[:5], 10**15, 0, 0]),
        msgspec.msgpack.encode([*GOOD[:5], 1.5, 0, 0]),
    ],
)
async def test_what_it_does_not_understand_changes_nothing(processes, signals, payload):
    await MemorySignals.publish(signals, TOPIC, payload)
    await heard()
    assert [list(each.health) for each in processes] == [[], [], []]
    await MemorySignals.publish(signals, TOPIC, msgspec.msgpack.encode(GOOD))
    await heard()
    assert [each.state for each in processes] == ["open"] * 3


async def test_signals_that_are_down_cost_nothing_but_the_hint(processes, signals):
    one, other, _ = processes
    signals.is_down = True
    one.break_down()
    await heard()
    await one.board.repeat()
    assert (one.state, other.state) == ("open", "closed")
    signals.is_down = False
    await one.board.repeat()
    await heard()
    assert other.state == "open"
