"""The bound of a counted rate."""

import math

import pytest

from app.cache.confidence import upper_bound


def at_most(cases, trials, rate):
    return math.fsum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(cases + 1))


@pytest.mark.parametrize("trials", [1, 2, 7, 20, 99, 300])
def test_at_the_bound_so_few_cases_are_just_unlikely_enough(trials):
    for cases in {0, 1, trials // 3, trials - 1}:
        if cases < trials:
            bound = upper_bound(cases, trials)
            assert cases / trials < bound <= 1
            assert at_most(cases, trials, bound) == pytest.approx(0.025, rel=1e-6)


@pytest.mark.parametrize(
    ("cases", "trials", "bound"),
    [(0, 10, 0.30850), (1, 10, 0.44502), (5, 100, 0.11283), (0, 3_000, 0.0012289), (10, 20, 0.72804)],
)
def test_it_is_that_of_the_tables(cases, trials, bound):
    assert upper_bound(cases, trials) == pytest.approx(bound, rel=2e-4)


def test_where_all_went_wrong_anything_may_be():
    assert upper_bound(0, 0) == upper_bound(20, 20) == 1


def test_many_trials_make_it_narrow():
    assert upper_bound(500_000, 1_000_000) == pytest.approx(0.50098, abs=1e-5)
    assert upper_bound(9_000_000, 10_000_000) == pytest.approx(0.900186, abs=1e-5)
