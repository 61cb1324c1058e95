"""Whoever waits for a limit waits in order, and only the first of a line asks."""

from uuid import UUID

import pytest
from by_hand import HandLoop

from app.kernel.errors import QuotaExceeded, RateLimited, Unavailable
from app.limits.accounts import Grant
from app.limits.denials import LimitReached
from app.limits.plan import Plan
from app.limits.policy import InFlight, Policy, Rule
from app.observability.metrics import Metrics
from app.pipeline.gate import Gate, Visit
from app.pipeline.lines import Lines
from app.stores.accounts import Denied, Granted, Reservation, Slots

TENANT = UUID(int=1)
DENIED = Denied(kind="window", index=0, at_ms=0, used=1)
WINDOW = Rule(scope="key", key=":w", dimension="requests", limit=1, window_ms=60_000, algorithm="sliding_window")
SLOTS = InFlight(scope="key", slots=Slots(":c", 1))
PLAN = Plan(Policy(partition=0, rules=(WINDOW,), in_flight=(SLOTS,)), "m")
OTHER_PLAN = Plan(Policy(partition=0, rules=()), "m")


def over_window(wait_s):
    return LimitReached(
        "full", denied=DENIED, key=":w", wait_s=wait_s, counted_as=("key", "requests"), retry_after_s=wait_s, headers=()
    )


def over_slots():
    return LimitReached(
        "busy", denied=DENIED, key=":c", wait_s=0.0, counted_as=("key", "concurrency"), retry_after_s=1.0, headers=()
    )


class Store:
    """Grants as much as it has; `asked` is who asked, and when."""

    def __init__(self, hand):
        self._hand = hand
        self.asked = []
        self.free = 0
        self.refusal = None
        self.opens_at_s = None

    def ask(self, name):
        async def ask():
            now_s = self._hand.clock.monotonic_ns() / 1e9
            self.asked.append((name, round(now_s, 3)))
            if self.opens_at_s is not None and now_s >= self.opens_at_s:
                self.opens_at_s, self.free = None, self.free + 1
            if self.free:
                self.free -= 1
                reservation = Reservation(partition=0, id=name)
                return Grant(reservation, Granted(at_ms=0, cap=0, held_nusd=0), plan=PLAN, budgets=(), keeper=None)
            raise self.refusal() if callable(self.refusal) else self.refusal

        return ask


class Queue:
    """Lines before a store."""

    def __init__(self, *, cap=10, queue_s=10.0):
        self.hand = HandLoop()
        self.gate = Gate(cap=cap, queue_s=queue_s, metrics=Metrics(), clock=self.hand.clock)
        self.lines = Lines(self.gate, clock=self.hand.clock, draw=lambda: 1.0)
        self.store = Store(self.hand)
        self.visits = {}

    def come(self, name, *, plan=PLAN, settles=True, **fields):
        visit = self.visits[name] = Visit(TENANT, **fields)

        async def run():
            await self.gate.enter(visit)
            return await self.lines.reserve(visit, plan, self.store.ask(name))

        task = self.hand.begin(run())
        if settles:
            self.hand.settle()
        return task

    def until_open(self, seconds):
        """Refuse by a window that has room so much later, and says so."""
        self.store.opens_at_s = self.hand.clock.monotonic_ns() / 1e9 + seconds

        def refusal():
            at_s = self.store.opens_at_s
            now_s = self.hand.clock.monotonic_ns() / 1e9
            return over_window(5.0 if at_s is None else at_s - now_s)

        self.store.refusal = refusal


@pytest.fixture
def queue():
    made = Queue()
    yield made
    made.hand.close()


def test_without_a_queue_the_first_refusal_is_the_last():
    queue = Queue(queue_s=0)
    queue.store.refusal = over_window(0.1)
    assert isinstance(queue.come("a").exception(), LimitReached)
    queue.hand.close()


def test_a_request_waits_until_its_window_has_room(queue):
    queue.until_open(3)
    task = queue.come("a")
    queue.hand.pass_time(2.9)
    assert (task.done(), queue.store.asked) == (False, [("a", 0.0)])
    queue.hand.pass_time(0.2)
    assert task.result().id == "a"
    assert queue.visits["a"].has_place
    assert not queue.lines._lines


@pytest.mark.parametrize("wait_s", [10.5, 60.0])
def test_what_no_wait_helps_against_is_refused_at_once(queue, wait_s):
    queue.store.refusal = over_window(wait_s)
    task = queue.come("a")
    assert task.exception() is queue.store.refusal
    assert len(queue.store.asked) == 1


@pytest.mark.parametrize("error", [QuotaExceeded(), RateLimited(code="request_too_large"), Unavailable()])
def test_other_refusals_are_not_waited_out(queue, error):
    queue.store.refusal = error
    assert queue.come("a").exception() is error


def test_a_deadline_bounds_the_wait(queue):
    queue.until_open(3)
    task = queue.come("a", deadline_ns=2_000_000_000)
    assert isinstance(task.exception(), LimitReached)


def test_only_the_first_asks_and_they_are_served_as_they_came(queue):
    queue.until_open(2)
    tasks = [queue.come(name) for name in "abcd"]
    assert queue.store.asked == [("a", 0.0)]
    queue.hand.pass_time(2)
    assert queue.store.asked == [("a", 0.0), ("a", 2.0), ("b", 2.0)]
    queue.store.free = 2
    queue.hand.pass_time(5)
    assert [task.exception() is None for task in tasks] == [True, True, True, False]
    assert [name for name, _ in queue.store.asked[3:]] == ["b", "c", "d"]


def test_nobody_holds_a_place_while_he_waits_for_a_limit():
    queue = Queue(cap=1)
    queue.until_open(4)
    waiting = queue.come("a")
    assert (queue.gate.inside, queue.visits["a"].has_place) == (0, False)
    other = Visit(UUID(int=2))
    entering = queue.hand.begin(queue.gate.enter(other))
    queue.hand.pass_time(4)
    assert entering.done()
    assert not waiting.done()
    assert queue.store.asked == [("a", 0.0)]
    queue.hand.inside(lambda: queue.gate.leave(other))
    queue.hand.settle()
    assert waiting.done()
    assert queue.visits["a"].has_place
    queue.hand.close()


def test_a_slot_that_is_given_back_is_the_firsts_at_once(queue):
    queue.store.refusal = over_slots
    first, second = queue.come("a"), queue.come("b")
    queue.store.free = 1
    queue.hand.inside(lambda: queue.lines.ended(PLAN))
    queue.hand.settle()
    assert first.done()
    assert not second.done()


def test_a_slot_that_another_worker_gives_back_is_found_within_a_tenth_of_a_second(queue):
    queue.store.refusal = over_slots
    task = queue.come("a")
    queue.hand.pass_time(0.5)
    before = len(queue.store.asked)
    queue.store.free = 1
    queue.hand.pass_time(0.1)
    assert task.done()
    assert len(queue.store.asked) == before + 1


def test_who_has_waited_in_vain_is_told_what_the_limit_says_then(queue):
    queue.store.refusal = over_slots
    tasks = [queue.come(name) for name in "abc"]
    for _ in range(100):
        queue.hand.pass_time(0.1)
    queue.hand.pass_time(0.2)
    assert all(isinstance(task.exception(), LimitReached) for task in tasks)
    assert not queue.lines._lines
    assert len(queue.gate.room) == 0


@pytest.mark.parametrize("leaver", [0, 1, 2])
def test_a_client_that_leaves_leaves_its_line(queue, leaver):
    queue.until_open(1)
    tasks = [queue.come(name) for name in "abc"]
    tasks[leaver].cancel()
    queue.hand.settle()
    queue.store.free = 2
    queue.hand.pass_time(1)
    assert [task.cancelled() for task in tasks] == [number == leaver for number in range(3)]
    assert all(task.done() for task in tasks)
    assert not queue.lines._lines
    assert len(queue.gate.room) == 0


def test_whoever_is_refused_by_another_rule_stands_in_its_line(queue):
    queue.until_open(1)
    task = queue.come("a")
    queue.store.opens_at_s = None
    queue.store.refusal = over_slots
    queue.hand.pass_time(1)
    assert list(queue.lines._lines) == [":c"]
    queue.store.free = 1
    queue.hand.inside(lambda: queue.lines.ended(PLAN))
    queue.hand.settle()
    assert task.done()
    assert not queue.lines._lines


def test_who_comes_later_does_not_overtake(queue):
    queue.until_open(1)
    first = queue.come("a")
    queue.store.free = 0
    late = queue.come("b")
    queue.hand.pass_time(1)
    assert first.done()
    assert not late.done()


def test_where_the_room_is_full_the_limit_refuses_at_once():
    queue = Queue(cap=2)
    queue.store.refusal = over_slots
    queue.come("a")
    queue.come("b")
    assert isinstance(queue.come("c").exception(), LimitReached)
    queue.hand.close()
