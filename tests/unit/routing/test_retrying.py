"""How much may be tried again, and how soon."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.retrying import FLOOR, LONGEST_PAUSE_S, RetryBudget, pause_s

S_NS = 1_000_000_000
DRAWS = st.floats(0, 1, exclude_max=True)


def granted(calls):
    """Return how often a provider may be asked again after so many calls, all within one second."""
    budget = RetryBudget()
    for _ in range(calls):
        budget.called(0)
    count = 0
    while budget.may_retry(0):
        budget.retried(0)
        count += 1
    return count


@given(calls=st.integers(0, 3_000))
def test_retries_are_a_tenth_of_the_calls_or_ten(calls):
    assert granted(calls) == max(FLOOR, calls // 10)


@pytest.mark.parametrize("calls", [110, 205, 1_099])
def test_a_tenth_is_never_rounded_up(calls):
    assert granted(calls) / calls <= 0.1


def test_both_are_of_the_last_ten_seconds():
    budget = RetryBudget()
    for _ in range(FLOOR):
        budget.retried(0)
    assert not budget.may_retry(10 * S_NS)
    assert budget.may_retry(11 * S_NS)
    for _ in range(200):
        budget.called(11 * S_NS)
    for _ in range(20):
        budget.retried(11 * S_NS)
    assert not budget.may_retry(20 * S_NS)
    assert not budget.may_retry(21 * S_NS)
    assert budget.may_retry(22 * S_NS)


@given(extra=st.integers(0, 20), draw=DRAWS)
def test_a_pause_doubles_from_fifty_milliseconds_to_two_seconds(extra, draw):
    whole_s = min(0.05 * 2**extra, LONGEST_PAUSE_S)
    assert whole_s / 2 <= pause_s(extra, draw=draw, asked_s=None) <= whole_s


@given(extra=st.integers(0, 20), draw=DRAWS, asked_s=st.floats(0, 60))
def test_a_provider_is_left_alone_as_long_as_it_asks(extra, draw, asked_s):
    wait_s = pause_s(extra, draw=draw, asked_s=asked_s)
    assert wait_s >= asked_s
    assert wait_s <= max(asked_s * 1.1, LONGEST_PAUSE_S)


def test_those_who_were_asked_to_wait_do_not_all_come_back_at_once():
    assert len({pause_s(0, draw=draw / 10, asked_s=10) for draw in range(10)}) == 10
