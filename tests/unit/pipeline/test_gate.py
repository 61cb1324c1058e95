"""Places are given to as many as there are, in turn, and never lost."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest
from by_hand import HandLoop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.kernel.errors import Unavailable
from app.observability.metrics import Metrics
from app.pipeline.gate import Gate, NoPressure, Visit

QUIET, NOISY = UUID(int=1), UUID(int=2)


class Hall:
    """A gate, with clients that stand before it and inside."""

    def __init__(self, *, cap, queue_s=60.0, pressure=None):
        self.hand = HandLoop()
        self.metrics = Metrics()
        self.gate = Gate(cap=cap, queue_s=queue_s, metrics=self.metrics, clock=self.hand.clock, pressure=pressure)
        self.served = []

    def come(self, tenant=QUIET, **fields):
        visit = Visit(tenant, **fields)

        async def enter():
            await self.gate.enter(visit)
            self.served.append(visit)

        task = self.hand.begin(enter())
        self.hand.settle()
        return visit, task

    def leave(self, visit):
        self.hand.inside(lambda: self.gate.leave(visit))
        self.hand.settle()

    def shed(self, reason):
        text = self.metrics.exposition(frozenset()).decode()
        rows = [line for line in text.splitlines() if line.startswith(f'gateway_shed_total{{reason="{reason}"}}')]
        return float(rows[0].split()[1]) if rows else 0.0


@pytest.fixture
def hall(request):
    made = Hall(**getattr(request, "param", {"cap": 1}))
    yield made
    made.hand.close()


def refusal(task):
    error = task.exception()
    assert isinstance(error, Unavailable)
    assert error.code == "overloaded"
    return error


@pytest.mark.parametrize("hall", [{"cap": 2, "queue_s": 0}], indirect=True)
def test_without_a_queue_whoever_finds_no_place_is_told_at_once(hall):
    first, _ = hall.come()
    hall.come()
    _, third = hall.come()
    assert refusal(third).retry_after_s == 1
    with pytest.raises(Unavailable):
        hall.gate.check()
    hall.leave(first)
    hall.gate.check()
    _, fourth = hall.come()
    assert fourth.exception() is None
    assert hall.shed("full") == 2


def test_who_waits_is_served_when_a_place_is_free(hall):
    first, _ = hall.come()
    second, task = hall.come()
    assert not task.done()
    hall.leave(first)
    assert task.done()
    assert (second.has_place, hall.gate.inside) == (True, 1)


def test_a_place_is_given_back_once(hall):
    first, _ = hall.come()
    hall.leave(first)
    hall.leave(first)
    assert hall.gate.inside == 0


def test_nobody_waits_longer_than_he_may(hall):
    hall.come()
    _, task = hall.come()
    hall.hand.pass_time(59.9)
    assert not task.done()
    hall.hand.pass_time(0.2)
    refusal(task)
    assert (len(hall.gate.room), hall.shed("queue_timeout")) == (0, 1)


def test_nobody_waits_past_his_own_deadline(hall):
    hall.come()
    _, task = hall.come(deadline_ns=hall.hand.clock.monotonic_ns() + 2_000_000_000)
    hall.hand.pass_time(1.98)
    assert not task.done()
    hall.hand.pass_time(0.015)
    refusal(task)


def test_all_waits_of_a_request_together_are_bounded(hall):
    blocker, _ = hall.come()
    visit, _ = hall.come()
    hall.hand.pass_time(50)
    hall.leave(blocker)
    hall.leave(visit)
    hall.come()

    async def again():
        await hall.gate.enter(visit)

    task = hall.hand.begin(again())
    hall.hand.pass_time(9)
    assert not task.done()
    hall.hand.pass_time(1.1)
    refusal(task)


def test_one_of_many_delays_another_by_one(hall):
    inside, _ = hall.come(NOISY)
    hall.gate.room.size = 1_000
    for _ in range(300):
        hall.come(NOISY)
    quiet, _ = hall.come(QUIET)
    hall.leave(inside)
    hall.leave(hall.served[-1])
    assert [visit.tenant for visit in hall.served] == [NOISY, NOISY, QUIET]
    assert hall.served[-1] is quiet


def test_as_many_wait_as_are_served_and_the_next_is_told_at_once():
    hall = Hall(cap=3)
    for _ in range(6):
        hall.come()
    with pytest.raises(Unavailable):
        hall.gate.check(QUIET)
    hall.gate.check()
    _, task = hall.come()
    refusal(task)
    assert (len(hall.gate.room), hall.shed("queue_full")) == (3, 2)
    hall.hand.close()


def test_who_has_most_waiting_gives_way_with_his_newest():
    hall = Hall(cap=3)
    for _ in range(3):
        hall.come(NOISY)
    waiting = [hall.come(NOISY)[1] for _ in range(3)]
    hall.gate.check(QUIET)
    _, quiet = hall.come(QUIET)
    assert [task.done() for task in waiting] == [False, False, True]
    refusal(waiting[2])
    assert not quiet.done()
    _, again = hall.come(QUIET)
    refusal(again)  # to give way, somebody must have more than the newcomer would
    hall.hand.close()


def test_a_client_that_leaves_leaves_the_queue():
    hall = Hall(cap=2)
    first, _ = hall.come()
    hall.come()
    _, gone = hall.come(NOISY)
    stays, task = hall.come()
    gone.cancel()
    hall.hand.settle()
    assert len(hall.gate.room) == 1
    hall.leave(first)
    assert task.done()
    assert stays.has_place
    hall.hand.close()


@pytest.mark.parametrize("frees_first", [False, True])
def test_a_place_that_comes_as_its_client_leaves_is_the_next_ones(frees_first):
    hall = Hall(cap=2)
    first, _ = hall.come()
    other, _ = hall.come()
    gone, leaving = hall.come(NOISY)
    stays, staying = hall.come()
    steps = [lambda: hall.gate.leave(first), leaving.cancel]

    def both():
        for step in steps if frees_first else reversed(steps):
            step()

    hall.hand.inside(both)
    hall.hand.settle()
    assert leaving.cancelled()
    assert not gone.has_place
    assert staying.done()
    assert stays.has_place
    assert hall.gate.inside == 2
    hall.leave(other)
    hall.leave(stays)
    assert hall.gate.inside == 0
    hall.hand.close()


def test_more_places_are_given_to_those_who_wait_and_fewer_take_nobodys(hall):
    hall.gate.resize(cap=3, queue_s=60)
    tasks = [hall.come()[1] for _ in range(5)]
    assert [task.done() for task in tasks] == [True] * 3 + [False] * 2
    hall.hand.inside(lambda: hall.gate.resize(cap=4, queue_s=60))
    hall.hand.settle()
    assert [task.done() for task in tasks] == [True] * 4 + [False]
    hall.hand.inside(lambda: hall.gate.resize(cap=1, queue_s=0))
    for visit in list(hall.served[:3]):
        hall.leave(visit)
        assert not tasks[4].done()
    hall.leave(hall.served[3])
    assert tasks[4].done()
    _, task = hall.come()
    refusal(task)


def test_who_is_shed_is_told_when_there_may_be_room():
    hall = Hall(cap=1, queue_s=0)
    for _ in range(200):
        visit, _ = hall.come()
        hall.hand.pass_time(8)
        hall.leave(visit)
    hall.come()
    _, task = hall.come()
    assert refusal(task).retry_after_s == pytest.approx(8, rel=0.05)
    hall.hand.close()


def test_who_is_short_of_memory_or_time_serves_nobody_new():
    pressure = NoPressure()
    hall = Hall(cap=5, pressure=pressure)
    pressure.refuses_streams = True
    assert hall.come()[1].exception() is None
    refusal(hall.come(is_stream=True)[1])
    hall.gate.check()
    pressure.refuses = "loop_lag"
    with pytest.raises(Unavailable):
        hall.gate.check()
    assert (hall.shed("memory"), hall.shed("loop_lag")) == (1, 1)
    hall.hand.close()


TENANTS = [UUID(int=number) for number in range(1, 5)]


class GateMachine(RuleBasedStateMachine):
    """Clients that come, leave and are served in any order: what must hold at every moment."""

    def __init__(self):
        super().__init__()
        self.hall = Hall(cap=2, queue_s=30.0)
        self.gate = self.hall.gate
        self.most = 2
        self.waiting = {}
        self.since = {}
        self.seen = 0
        self.came = []

    @property
    def inside(self):
        return [visit for visit in self.hall.served if visit.has_place]

    def settle(self):
        self.hall.hand.settle()
        self.waiting = {visit: task for visit, task in self.waiting.items() if not task.done()}
        served, tenants = self.hall.served[self.seen :], {visit.tenant for visit in self.waiting}
        here = tenants | {visit.tenant for visit in served}
        self.since = {tenant: others for tenant, others in self.since.items() if tenant in here}
        for visit in served:
            self.check_turn(visit)
        self.seen = len(self.hall.served)
        self.since = {tenant: self.since.get(tenant, Counter()) for tenant in tenants}

    def check_turn(self, visit):
        """While an organisation waits, every other gets one place at most, and its own get theirs in order."""
        self.since.pop(visit.tenant, None)
        for others in self.since.values():
            others[visit.tenant] += 1
        assert all(count == 1 for others in self.since.values() for count in others.values())
        came = self.came.index(visit)
        assert not any(other.tenant == visit.tenant for other in self.came[:came] if other in self.waiting)

    @rule(tenant=st.sampled_from(TENANTS))
    def come(self, tenant):
        visit, task = self.hall.come(tenant)
        self.waiting[visit] = task
        self.came.append(visit)
        self.settle()

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def finish(self, data):
        self.hall.leave(data.draw(st.sampled_from(self.inside)))
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data):
        data.draw(st.sampled_from(list(self.waiting.values()))).cancel()
        self.settle()

    @precondition(lambda self: self.waiting and self.inside)
    @rule(data=st.data(), frees_first=st.booleans())
    def finish_as_another_gives_up(self, data, frees_first):
        visit = data.draw(st.sampled_from(self.inside))
        task = data.draw(st.sampled_from(list(self.waiting.values())))

        def both():
            if frees_first:
                self.gate.leave(visit)
            task.cancel()
            self.gate.leave(visit)

        self.hall.hand.inside(both)
        self.settle()

    @rule(seconds=st.sampled_from([1.0, 29.0, 31.0]))
    def pass_time(self, seconds):
        self.hall.hand.pass_time(seconds)
        self.settle()

    @rule(cap=st.integers(1, 4))
    def resize(self, cap):
        self.hall.hand.inside(lambda: self.gate.resize(cap=cap, queue_s=30.0))
        self.settle()

    @invariant()
    def no_more_are_inside_than_have_places(self):
        assert self.gate.inside == len(self.inside)
        self.most = max(self.gate.cap, min(self.most, self.gate.inside))
        assert self.gate.inside <= self.most

    @invariant()
    def nobody_waits_while_there_is_a_place(self):
        assert not self.waiting or self.gate.inside >= self.gate.cap

    @invariant()
    def whoever_waits_is_in_the_room(self):
        assert len(self.gate.room) == len(self.waiting)
        counts = Counter(visit.tenant for visit in self.waiting)
        assert self.gate.room._most == max(counts.values(), default=0)

    def teardown(self):
        for task in self.waiting.values():
            task.cancel()
        self.settle()
        for visit in self.inside:
            self.hall.leave(visit)
        assert (self.gate.inside, len(self.gate.room), len(self.gate._turns)) == (0, 0, 0)
        assert not asyncio.all_tasks(self.hall.hand.loop)
        self.hall.hand.close()


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
