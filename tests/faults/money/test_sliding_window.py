"""Limits over time are exact across workers: never more in any window, and nearly all of it when asked for enough."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from faults.money.books import eventually, tag_in
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import Stand
from outside.caller import Caller

SLOTS = 100
WORKERS = 2
USED_AT_LEAST = 0.99
TOKENS_USED_AT_LEAST = 0.9
"""What a request may turn out to be is taken first, so that the last few tokens of a limit stay for smaller ones."""


class Load(NamedTuple):
    """How hard, for how long, against which limit in how long a window."""

    per_s: float
    seconds: float
    limit: int
    window_s: int


SHORT = Load(per_s=40, seconds=11, limit=100, window_s=5)
LONG = Load(per_s=100, seconds=60, limit=100, window_s=10)

Weight = Callable[[dict[str, Any]], int]


def allowed(told: Sequence[Told], limit: int) -> int:
    """Return the most that a limit lets through.

    Where a busy machine kept a worker from asking Redis in time, each worker had its share beside what Redis counted:
    the answers say so.
    """
    were_alone = any(each.reply is not None and each.reply.header("x-gateway-degraded") for each in told)
    return limit + WORKERS * (limit // WORKERS) if were_alone else limit


def run(stand: Stand, caller: Caller, load: Load) -> list[Told]:
    """Ask for more than the limit allows, at a steady rate, of both workers."""

    def make(_: int) -> Question:
        return Question(caller.key, new_tag(), max_tokens=3)

    return stand.crowd.begin(stand.crowd.at_rate(load.per_s, seconds=load.seconds, make=make)).result(timeout=180)


def most_in_a_window(moments: Sequence[tuple[int, int]], window_ms: int) -> int:
    """Return the largest sum of amounts in any window (t - window, t]; `moments` are (milliseconds, amount), sorted."""
    most = total = first = 0
    for at_ms, amount in moments:
        total += amount
        while moments[first][0] <= at_ms - window_ms:
            total -= moments[first][1]
            first += 1
        most = max(most, total)
    return most


def moments_of(events: list[dict[str, Any]], weight: Weight) -> list[tuple[int, int]]:
    return sorted((round(event["occurred_at"].timestamp() * 1000), weight(event)) for event in events)


def check_limited(told: list[Told]) -> None:
    """Whoever is refused is told when to come back."""
    for each in told:
        assert each.status in {200, 429}
        if each.status == 429:
            assert each.reply is not None
            assert each.error["code"] == "rate_limit_exceeded"
            assert float(each.reply.header("retry-after") or 0) >= 0


def saturation(moments: Sequence[tuple[int, int]], load: Load) -> float:
    """Return which part of what the limit allowed was admitted while more was asked for than that.

    A window is as many slots long, and the oldest slot counts whole: that is how much longer a full turn takes.
    """
    turn_ms = load.window_s * 1000 * (SLOTS + 1) / SLOTS
    first_ms = moments[0][0]
    turns = int((moments[-1][0] - first_ms) // turn_ms)
    assert turns >= 1
    ends_ms = first_ms + turns * turn_ms
    return sum(amount for at_ms, amount in moments if at_ms < ends_ms) / (turns * load.limit)


def check_requests(stand: Stand, load: Load) -> None:
    rule = {"dimension": "requests", "limit": load.limit, "window_s": load.window_s}
    with stand.caller(limits={"rules": [rule]}) as caller:
        told = run(stand, caller, load)
        check_limited(told)
        assert {each.status for each in told} == {200, 429}
        moments = moments_of(stand.books.wait_for(told, key_id=caller.key_id), lambda _: 1)
        assert most_in_a_window(moments, load.window_s * 1000) <= allowed(told, load.limit)
        assert saturation(moments, load) >= USED_AT_LEAST


def check_tokens(stand: Stand, load: Load) -> None:
    with stand.caller() as probe:
        (answer,) = stand.crowd.ask(Question(probe.key, new_tag()))
        assert answer.reply is not None
        usage = answer.reply.json["usage"]
    tokens = usage["prompt_tokens"] + usage["completion_tokens"]
    rule = {"dimension": "tokens", "limit": load.limit * tokens, "window_s": load.window_s}
    with stand.caller(limits={"rules": [rule]}) as caller:
        told = run(stand, caller, load)
        check_limited(told)
        events = stand.books.wait_for(told, key_id=caller.key_id)
        moments = moments_of(events, lambda event: event["input_tokens"] + event["output_tokens"])
        assert most_in_a_window(moments, load.window_s * 1000) <= allowed(told, load.limit * tokens)
        assert saturation(moments, load._replace(limit=load.limit * tokens)) >= TOKENS_USED_AT_LEAST


def test_no_window_admits_more_requests_than_its_limit_and_hardly_fewer(stand: Stand):
    check_requests(stand, SHORT)


def test_no_window_admits_more_tokens_than_its_limit(stand: Stand):
    check_tokens(stand, SHORT._replace(seconds=7))


def in_flight_at_once(told: list[Told], stand: Stand) -> int:
    """Return the most that the provider answered at the same time, by its own journal."""
    changes: list[tuple[int, int]] = []
    tags = {each.question.tag for each in told}
    for entry in stand.provider.journal.for_model("late"):
        if tag_in(entry) in tags:
            lasted_ms = entry.finished_after_ms if entry.is_complete else entry.peer_closed_after_ms
            assert lasted_ms is not None
            changes += [(entry.received_ns, 1), (entry.received_ns + lasted_ms * 1_000_000, -1)]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def check_concurrency(stand: Stand, *, slots: int, clients: int, seconds: float, kills: bool) -> None:
    with stand.caller(limits={"concurrency": slots}) as caller:
        ends_at = time.monotonic() + seconds

        def make(_: int) -> Question:
            return Question(caller.key, new_tag(), model="late")

        asking = stand.crowd.begin(stand.crowd.busy(clients, until=lambda: time.monotonic() > ends_at, make=make))
        if kills:
            time.sleep(seconds / 2)
            dead = stand.kill_a_worker(random.Random(slots))
            stand.wait_for_workers(without=dead)
        told = asking.result(timeout=180)
        assert {each.status for each in told} - {0} == {200, 429}
        assert kills or 0 not in {each.status for each in told}
        assert 1 < in_flight_at_once(told, stand) <= allowed(told, slots)
        if not kills:
            # Nobody holds a slot any more: as many as there are may begin at once.
            assert {each.status for each in stand.crowd.ask(*(make(0) for _ in range(slots)))} == {200}
            return

        def all_slots_are_back() -> bool:
            return {each.status for each in stand.crowd.ask(*(make(0) for _ in range(slots)))} == {200}

        eventually(all_slots_are_back, within_s=45)


def test_never_more_in_flight_than_slots(stand: Stand):
    check_concurrency(stand, slots=7, clients=30, seconds=4, kills=False)


def test_slots_of_the_dead_come_back(stand: Stand):
    check_concurrency(stand, slots=6, clients=20, seconds=3, kills=True)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_minute_above_the_limit(stand: Stand):
    check_requests(stand, LONG)
    check_tokens(stand, LONG)
    check_concurrency(stand, slots=20, clients=80, seconds=60, kills=False)
    check_concurrency(stand, slots=20, clients=60, seconds=60, kills=True)
