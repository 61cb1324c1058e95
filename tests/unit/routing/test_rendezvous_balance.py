"""What is sticky: keys keep to their targets, spread by weight, and give way to load."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.balance import rank
from app.routing.candidates import Candidate

KEYS = [b"conversation %d" % number for number in range(4_000)]


def targets(**weights):
    return [Candidate(position=at, name=name, provider="p", weight=w) for at, (name, w) in enumerate(weights.items())]


def names(candidates, key, balance="weighted"):
    places = rank(candidates, balance=balance, draw=lambda: 0.5, sticky_key=key)
    return [candidates[place.position].name for place in places]


def homes(candidates):
    return {key: names(candidates, key)[0] for key in KEYS}


def busy(*inflight, weights=None):
    weights = weights or [1] * len(inflight)
    return [
        Candidate(position=at, name=f"p/{at}", provider="p", inflight=calls, weight=weight)
        for at, (calls, weight) in enumerate(zip(inflight, weights, strict=True))
    ]


def test_the_strategy_has_no_say():
    group = targets(a=1, b=1, c=1)
    for key in KEYS[:50]:
        assert len({tuple(names(group, key, balance)) for balance in ("weighted", "latency", "cost", "priority")}) == 1


def test_a_target_that_goes_moves_only_its_own_keys():
    before, after = homes(targets(a=1, b=2, c=1, d=1)), homes(targets(a=1, b=2, d=1))
    assert {key for key in KEYS if before[key] != after[key]} == {key for key in KEYS if before[key] == "c"}


def test_the_keys_of_a_target_that_goes_are_shared_by_the_others():
    before, after = homes(targets(a=1, b=1, c=1)), homes(targets(a=1, b=1))
    moved = Counter(after[key] for key in KEYS if before[key] == "c")
    assert moved["a"] / moved.total() == pytest.approx(0.5, abs=0.06)


def test_a_target_that_comes_takes_its_share_and_moves_nothing_else():
    before, after = homes(targets(a=1, b=1, c=1)), homes(targets(a=1, new=1, b=1, c=1))
    moved = [key for key in KEYS if before[key] != after[key]]
    assert {after[key] for key in moved} == {"new"}
    assert len(moved) / len(KEYS) == pytest.approx(1 / 4, abs=0.03)


def test_a_heavier_weight_only_takes():
    before, after = homes(targets(a=1, b=1, c=1)), homes(targets(a=1, b=3, c=1))
    assert {after[key] for key in KEYS if before[key] != after[key]} == {"b"}


def test_keys_spread_by_weight():
    weights = {"a": 1, "b": 2, "c": 5}
    found = Counter(homes(targets(**weights)).values())
    expected = {name: len(KEYS) * weight / 8 for name, weight in weights.items()}
    chi_square = sum((found[name] - expected[name]) ** 2 / expected[name] for name in weights)
    assert chi_square < 13.8  # two degrees of freedom: one in a thousand; the keys are always the same


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.binary(max_size=16), st.data())
def test_who_is_overloaded_is_passed_over_and_somebody_never_is(inflight, key, data):
    weights = data.draw(st.lists(st.integers(1, 4), min_size=len(inflight), max_size=len(inflight)))
    group, idle = busy(*inflight, weights=weights), busy(*[0] * len(inflight), weights=weights)
    mean = sum(inflight) / sum(weights)
    order = names(group, key)
    fits = {each.name: each.inflight / each.weight <= 1.25 * mean + 1 + 1e-9 for each in group}
    assert fits[order[0]]
    kinds = [fits[name] for name in order]
    assert kinds == sorted(kinds, reverse=True)
    undisturbed = names(idle, key)
    for kind in (True, False):
        assert [n for n in order if fits[n] is kind] == [n for n in undisturbed if fits[n] is kind]


def test_one_busy_key_never_buries_its_target():
    inflight = [0, 0, 0]
    for _ in range(300):
        places = rank(busy(*inflight), balance="weighted", draw=lambda: 0.5, sticky_key=b"one busy conversation")
        inflight[places[0].position] += 1
    assert max(inflight) <= 1.25 * 100 + 2


def test_unwell_targets_give_their_keys_away_and_get_them_back():
    well = targets(a=1, b=1, c=1)
    broken = [*well[:1], Candidate(position=1, name="b", provider="p", is_open=True), *well[2:]]
    before, during = homes(well), homes(broken)
    assert all(during[key] == before[key] for key in KEYS if before[key] != "b")
    assert "b" not in during.values()
    assert names(broken, b"k")[-1] == "b"


def test_reasons():
    group = busy(9, 0)
    key = next(key for key in KEYS if names(busy(0, 0), key)[0] == "p/0")
    places = rank(group, balance="weighted", draw=lambda: 0.5, sticky_key=key)
    assert [place.reason for place in places] == [
        "sticky: rank 2 of 2",
        "sticky: rank 1 of 2; passed over with 9 in flight for a weight of 1",
    ]
    calm = rank(busy(0, 0), balance="weighted", draw=lambda: 0.5, sticky_key=key)
    assert calm[0].score < calm[1].score
