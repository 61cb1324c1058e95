"""The laws of every order, and what each strategy puts first."""

import random
from collections import Counter
from itertools import cycle
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.money import NUSD_PER_USD
from app.routing.balance import rank
from app.routing.candidates import Candidate
from app.routing.strategies import STRATEGIES

seconds = st.floats(0.001, 60)
balances = st.sampled_from(sorted(STRATEGIES))
draws = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=16)
sticky_keys = st.none() | st.binary(max_size=16)
states = st.fixed_dictionaries(
    {
        "weight": st.integers(0, 4),
        "inflight": st.integers(0, 9),
        "ttft_s": st.none() | seconds,
        "token_s": st.none() | seconds,
        "cost_nusd": st.none() | st.integers(0, NUSD_PER_USD),
        "is_open": st.booleans(),
        "is_probing": st.booleans(),
        "cooled_s": st.just(0.0) | seconds,
    }
)


def candidates_of(*states):
    return [
        Candidate(**{"position": at, "name": f"p/{at}", "provider": "p"} | state) for at, state in enumerate(states)
    ]


snapshots = st.lists(states, max_size=6).map(lambda states: candidates_of(*states))
equals = st.lists(states, min_size=1, max_size=6).map(
    lambda states: candidates_of(
        *({**state, "weight": state["weight"] + 1, "is_open": False, "is_probing": False, "cooled_s": 0.0}
          for state in states)
    )
)  # fmt: skip


def ranked(candidates, balance, draw=0.5, **asked):
    numbers = cycle(draw if isinstance(draw, list) else [draw])
    return rank(candidates, balance=balance, draw=lambda: next(numbers), **asked)


def order(*args, **asked):
    return [place.position for place in ranked(*args, **asked)]


def firsts(candidates, balance, calls=2_000, **asked):
    draw = random.Random(7).random
    return Counter(rank(candidates, balance=balance, draw=draw, **asked)[0].position for _ in range(calls))


def is_well(candidate):
    return not (candidate.is_open or candidate.is_probing or candidate.cooled_s)


def may_be_tried(candidate):
    return candidate.is_probing and not candidate.cooled_s


@given(snapshots, balances, draws, sticky_keys)
def test_everybody_has_one_place_and_a_reason(candidates, balance, draw, sticky_key):
    places = ranked(candidates, balance, draw, sticky_key=sticky_key)
    assert sorted(place.position for place in places) == list(range(len(candidates)))
    assert all(place.reason and place.score >= 0 for place in places)


@given(snapshots, balances, draws, sticky_keys)
def test_the_well_come_first_and_weight_0_last_among_equals(candidates, balance, draw, sticky_key):
    places = order(candidates, balance, draw, sticky_key=sticky_key)
    if places and may_be_tried(candidates[places[0]]):
        del places[0]
    groups = [(not is_well(candidates[at]), candidates[at].weight == 0) for at in places]
    assert groups == sorted(groups)


@given(snapshots, balances, draws, sticky_keys)
def test_one_that_may_be_tried_again_is_first(candidates, balance, draw, sticky_key):
    places = order(candidates, balance, draw, sticky_key=sticky_key)
    is_anybody_well = any(each.weight and is_well(each) for each in candidates)
    may = [each.position for each in candidates if may_be_tried(each) and (each.weight or not is_anybody_well)]
    if may:
        assert places[0] in may
        assert candidates[places[0]].weight or not any(candidates[at].weight for at in may)
    assert sum(may_be_tried(candidates[at]) for at in places[:1]) == bool(may)


@given(snapshots, balances, draws, sticky_keys)
def test_of_the_unwell_the_soonest_to_be_free_is_first(candidates, balance, draw, sticky_key):
    for weighs in (True, False):
        places = order(candidates, balance, draw, sticky_key=sticky_key)
        unwell = [candidates[at] for at in places if not is_well(candidates[at])]
        waits = [each.cooled_s for each in unwell if (each.weight > 0) is weighs]
        assert waits == sorted(waits)


@given(snapshots, balances, draws, sticky_keys)
def test_an_order_depends_on_nothing_else(candidates, balance, draw, sticky_key):
    once, again = (ranked(candidates, balance, draw, sticky_key=sticky_key) for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"is_open": True}, "breaker is open"),
        ({"cooled_s": 11.2}, "left alone for 12 s"),
        ({"is_open": True, "cooled_s": 3.0}, "breaker is open; left alone for 3 s"),
        ({"is_probing": True, "is_open": True, "cooled_s": 3.0}, "breaker is half open; left alone for 3 s"),
        ({"weight": 0}, "weight 0: only when the others fail"),
    ],
)
@pytest.mark.parametrize("balance", STRATEGIES)
def test_what_puts_one_behind_is_said(balance, state, reason):
    candidates = candidates_of(state, {})
    assert [(place.position, place.reason) for place in ranked(candidates, balance)][1] == (0, reason)


@pytest.mark.parametrize("balance", STRATEGIES)
def test_of_two_breakers_that_are_half_open_one_is_tried_at_a_time(balance):
    places = ranked(candidates_of({}, {"is_open": True, "is_probing": True}, {"is_probing": True}), balance)
    assert [place.position for place in places] == [1, 0, 2]
    assert places[0].reason == "breaker is half open: tried to see whether it is well"
    assert places[2].reason == "breaker is half open"
    waiting = candidates_of({"is_open": True}, {"is_open": True, "is_probing": True}, {"is_probing": True})
    assert order(waiting, balance) == [1, 2, 0]


@pytest.mark.parametrize("balance", STRATEGIES)
def test_who_is_for_when_the_others_fail_is_tried_again_only_then(balance):
    spare = {"weight": 0, "is_open": True, "is_probing": True}
    assert order(candidates_of(spare, {}), balance) == [1, 0]
    assert order(candidates_of(spare, {"is_open": True}), balance) == [0, 1]


@given(equals, st.floats(0, 1, exclude_max=True))
def test_weighted_draws_the_first_and_keeps_the_order_of_the_file(candidates, draw):
    first, *rest = order(candidates, "weighted", draw)
    assert rest == sorted(rest)
    point = draw * sum(each.weight for each in candidates)
    below = sum(each.weight for each in candidates[:first])
    assert below <= point * (1 + 1e-9)
    assert point <= (below + candidates[first].weight) * (1 + 1e-9)


def test_weighted_is_in_exact_proportion():
    candidates = candidates_of({"weight": 3}, {"weight": 0}, {"weight": 1})
    drawn = Counter(order(candidates, "weighted", n / 400)[0] for n in range(400))
    assert drawn == {0: 300, 2: 100}
    assert [place.reason for place in ranked(candidates, "weighted", 0.8)] == [
        "drawn by weight 1 of 4",
        "next in the file's order",
        "weight 0: only when the others fail",
    ]


@given(equals, draws)
def test_priority_is_the_order_of_the_file(candidates, draw):
    assert order(candidates, "priority", draw) == list(range(len(candidates)))


@given(equals, draws)
def test_least_busy_sorts_by_calls_for_each_unit_of_weight(candidates, draw):
    loads = [candidates[at].inflight / candidates[at].weight for at in order(candidates, "least_busy", draw)]
    assert loads == sorted(loads)
    assert [place.score for place in ranked(candidates, "least_busy", draw)] == loads


def test_who_is_equally_busy_shares_by_weight():
    drawn = firsts(candidates_of({"inflight": 2, "weight": 1}, {"inflight": 6, "weight": 3}), "least_busy")
    assert 0.7 < drawn[1] / drawn.total() < 0.8


def test_least_busy_says_why():
    places = ranked(candidates_of({"inflight": 1}, {"inflight": 2, "weight": 3}), "least_busy")
    assert [place.reason for place in places] == [
        "least busy: 2 in flight for a weight of 3",
        "1 in flight for a weight of 1",
    ]


@given(equals, draws)
def test_cost_puts_the_cheapest_first_and_the_unknown_last(candidates, draw):
    places = ranked(candidates, "cost", draw)
    costs = [candidates[place.position].cost_nusd for place in places]
    costs = [inf if cost is None else cost for cost in costs]
    assert costs == sorted(costs) == [place.score for place in places]


def test_equal_costs_share_by_weight():
    drawn = firsts(candidates_of({"cost_nusd": 5, "weight": 3}, {"cost_nusd": 5}, {"cost_nusd": 6}), "cost")
    assert drawn[2] == 0
    assert 0.7 < drawn[0] / drawn.total() < 0.8


def test_cost_says_why():
    places = ranked(candidates_of({}, {"cost_nusd": 420_000}), "cost")
    assert [place.reason for place in places] == [
        "expected to cost 0.000420000 USD",
        "has no price: after those that have one",
    ]


def test_an_empty_snapshot_has_no_order():
    assert rank([], balance="latency", draw=random.random) == []
