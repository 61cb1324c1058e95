"""Balancing by expected time: what it puts first, and what it does to a made-up world of calls."""

import heapq
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.balance import OUTPUT_TOKENS, rank
from app.routing.candidates import Candidate
from app.routing.health import Lane, LaneName

NS_PER_S = 1_000_000_000


def candidate(at=0, **state):
    return Candidate(**{"position": at, "name": f"p/{at}", "provider": "p"} | state)


def ranked(*candidates, draw=0.0, **asked):
    return rank(candidates, balance="latency", draw=lambda: draw, **asked)


def first(*candidates, draw=0.0, **asked):
    return ranked(*candidates, draw=draw, **asked)[0].position


def shares(*candidates, calls=3_000, **asked):
    draw = random.Random(3).random
    drawn = Counter(rank(candidates, balance="latency", draw=draw, **asked)[0].position for _ in range(calls))
    return [drawn[each.position] / calls for each in candidates]


draws = st.floats(0, 1, exclude_max=True)
times = st.floats(0.01, 10)
paces = st.floats(0, 0.1)


@given(times, paces, st.floats(1.6, 50), draws, st.integers(1, 9))
def test_of_two_the_clearly_faster_is_first_whatever_the_draw(ttft_s, token_s, factor, draw, weight):
    fast = candidate(0, ttft_s=ttft_s, token_s=token_s)
    slow = candidate(1, ttft_s=ttft_s * factor, token_s=token_s * factor, weight=weight)
    assert first(fast, slow, draw=draw) == first(slow, fast, draw=draw) == 0


@given(st.lists(st.tuples(times, paces, st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=6), draws)
def test_all_but_the_first_are_in_the_order_of_expected_time(states, draw):
    group = [
        candidate(at, ttft_s=ttft_s, token_s=token_s, inflight=inflight, weight=weight)
        for at, (ttft_s, token_s, inflight, weight) in enumerate(states)
    ]
    scores = [place.score for place in ranked(*group, draw=draw)]
    assert scores[1:] == sorted(scores[1:])
    assert scores[0] <= 1.5 * max(scores[1:], default=scores[0])


@given(times, paces, st.integers(0, 50), st.integers(1, 9), draws)
def test_more_in_flight_is_never_better(ttft_s, token_s, inflight, weight, draw):
    def score(**state):
        places = ranked(candidate(0, ttft_s=ttft_s, token_s=token_s, weight=weight, **state), candidate(1, ttft_s=1.0))
        return next(place.score for place in places if place.position == 0)

    assert score(inflight=inflight) < score(inflight=inflight + 1)
    assert score() == pytest.approx(ttft_s + OUTPUT_TOKENS * token_s)


def test_what_is_in_flight_counts_by_weight():
    heavy = candidate(0, ttft_s=1.0, weight=3, inflight=3)
    light = candidate(1, ttft_s=1.0, weight=1, inflight=3)
    by_position = {place.position: place.score for place in ranked(heavy, light)}
    assert by_position == {0: pytest.approx(1.5), 1: pytest.approx(2.5)}


def test_the_length_of_the_answer_decides_between_a_quick_start_and_a_quick_pace():
    starts = candidate(0, ttft_s=0.1, token_s=0.02)
    runs = candidate(1, ttft_s=1.0, token_s=0.001)
    assert first(starts, runs, output_tokens=10) == 0
    assert first(starts, runs, output_tokens=1_000) == 1


def test_an_unknown_pace_is_taken_to_be_that_of_the_others():
    known, unknown = candidate(0, ttft_s=1.0, token_s=0.01), candidate(1, ttft_s=0.5)
    by_position = {place.position: place.score for place in ranked(known, unknown, output_tokens=100)}
    assert by_position == {0: pytest.approx(2.0), 1: pytest.approx(1.5)}


def test_equals_share_by_weight():
    group = [candidate(at, ttft_s=0.5, weight=weight) for at, weight in enumerate((3, 1, 1))]
    assert shares(*group) == pytest.approx([0.6, 0.2, 0.2], abs=0.04)


def test_the_nearer_the_slower_is_the_more_often_it_keeps_its_turn():
    kept = [shares(candidate(0, ttft_s=1.0), candidate(1, ttft_s=slower))[1] for slower in (1.0, 1.125, 1.25, 1.45)]
    assert kept == pytest.approx([0.5, 0.375, 0.25, 0.05], abs=0.04)


def test_of_many_the_slowest_is_never_first_and_the_fastest_most_often():
    group = [candidate(at, ttft_s=2.0**at) for at in range(4)]
    assert shares(*group) == pytest.approx([1 / 2, 1 / 3, 1 / 6, 0.0], abs=0.04)


@given(st.lists(st.none() | times, min_size=1, max_size=6), st.lists(st.integers(0, 2), min_size=6, max_size=6), draws)
def test_the_unmeasured_are_first_while_nothing_is_in_flight_there_and_last_while_something_is(ttfts, busy, draw):
    group = [candidate(at, ttft_s=ttft_s, inflight=busy[at]) for at, ttft_s in enumerate(ttfts)]
    order = [group[place.position] for place in ranked(*group, draw=draw)]
    kinds = [1 if each.ttft_s is not None else 2 if each.inflight else 0 for each in order]
    assert kinds == sorted(kinds)


def test_the_unmeasured_take_turns_by_weight():
    assert shares(candidate(0, weight=3), candidate(1), candidate(2, ttft_s=0.1)) == pytest.approx(
        [0.75, 0.25, 0.0], abs=0.04
    )


def test_who_is_for_when_the_others_fail_is_not_measured_before():
    assert first(candidate(0, weight=0), candidate(1, ttft_s=9.0)) == 1


def test_reasons():
    group = [
        candidate(0, ttft_s=0.2, token_s=0.0011),
        candidate(1, ttft_s=2.0, token_s=0.0011, inflight=4),
        candidate(2, inflight=1),
    ]
    assert [place.reason for place in ranked(*group)] == [
        "better of two drawn: expected 0.42 s: 0.20 s to the first token and 1.1 ms for each of 200",
        "expected 2.22 s: 2.00 s to the first token and 1.1 ms for each of 200; counted as 4.44 s with 4 in flight",
        "not measured yet: being tried",
    ]
    assert ranked(candidate())[0].reason == "not measured yet: tried first"


class World:
    """Calls at a steady pace to targets that take their time, uniformly within half of it either way."""

    def __init__(self, *means_s, gap_s, seed, stale_calls=1):
        self.means_s = list(means_s)
        self.lanes = [Lane(LaneName("p", str(at))) for at in range(len(means_s))]
        self.most_unmeasured = 0
        self._gap_ns = int(gap_s * NS_PER_S)
        self._random = random.Random(seed)
        self._stale_calls = stale_calls
        self._running = []
        self._now_ns = 0

    def calls(self, count):
        """Make calls; returns which targets were called."""
        called = []
        for number in range(count):
            self._now_ns += self._gap_ns
            self._finish()
            if number % self._stale_calls == 0:
                snapshot = [self._candidate(at) for at in range(len(self.lanes))]
            called.append(rank(snapshot, balance="latency", draw=self._random.random)[0].position)
            self._begin(called[-1])
        return called

    def _candidate(self, at):
        lane = self.lanes[at]
        return candidate(at, inflight=lane.inflight, ttft_s=lane.first.expected_s(self._now_ns))

    def _begin(self, at):
        took_ns = int(self.means_s[at] * NS_PER_S * self._random.uniform(0.5, 1.5))
        heapq.heappush(self._running, (self._now_ns + took_ns, at, took_ns))
        self.lanes[at].begin()
        if not self.lanes[at].first.count:
            self.most_unmeasured = max(self.most_unmeasured, self.lanes[at].inflight)

    def _finish(self):
        while self._running and self._running[0][0] <= self._now_ns:
            ended_ns, at, took_ns = heapq.heappop(self._running)
            self.lanes[at].end()
            self.lanes[at].first.add(took_ns, ended_ns)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gap_s", [1.0, 0.2, 0.05, 0.01, 0.004])
def test_nine_in_ten_calls_go_to_the_fast_one(gap_s, seed):
    world = World(0.1, 0.4, gap_s=gap_s, seed=seed)
    world.calls(250)
    assert world.calls(750).count(0) > 0.9 * 750


@pytest.mark.parametrize("slow_s", [1.6, 4.0])
@pytest.mark.parametrize("gap_s", [1.0, 0.2, 0.05])
def test_calls_move_within_fifty_when_the_fast_one_turns_slow(gap_s, slow_s):
    for seed in range(3):
        world = World(0.1, 0.4, gap_s=gap_s, seed=seed)
        world.calls(300)
        world.means_s[0] = slow_s
        world.calls(50)
        assert world.calls(100).count(1) > 85


def test_calls_move_before_any_answer_says_why():
    world = World(0.1, 0.4, gap_s=0.05, seed=1)
    world.calls(300)
    world.means_s[0] = 3_600.0
    world.calls(50)
    assert world.calls(100).count(1) > 65


def test_calls_come_back_when_it_is_fast_again():
    world = World(0.1, 0.4, gap_s=0.2, seed=1)
    world.calls(100)
    world.means_s[0] = 4.0
    world.calls(100)
    world.means_s[0] = 0.1
    world.calls(350)  # nobody measures the slow one until what is known of it is a minute old
    assert world.calls(100).count(0) > 90


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gap_s", [1.0, 0.05, 0.01, 0.002])
def test_two_equals_share_even_when_what_is_known_is_twenty_calls_old(gap_s, seed):
    called = World(0.1, 0.1, gap_s=gap_s, seed=seed, stale_calls=20).calls(1_000)
    assert 400 < called.count(0) < 600


def test_one_call_at_a_time_finds_out_about_an_unmeasured_target():
    world = World(0.1, 0.1, 5.0, gap_s=0.05, seed=1)
    world.calls(4)
    assert world.calls(60).count(2) <= 1
    assert world.most_unmeasured == 1
