"""When a breaker opens, who tries, and when it closes: examples, and what holds of every run of calls."""

from hypothesis import given
from hypothesis import strategies as st

from app.routing.breaker import FIRST_OPEN_S, IN_A_ROW, LONGEST_OPEN_S, MIN_VOLUME, TRY_S, Breaker

S_NS = 1_000_000_000
MS_NS = 1_000_000
CALLS = st.lists(st.tuples(st.booleans(), st.integers(0, 3_000)), max_size=120)
"""Whether each call fails, and how many milliseconds after the one before it ends."""


def opened(at_ns=0):
    breaker = Breaker()
    for _ in range(IN_A_ROW):
        breaker.failed(at_ns)
    return breaker


# -- opening ----------------------------------------------------------------------------------------------------------


@given(calls=CALLS)
def test_it_opens_exactly_at_five_in_a_row_or_at_half_of_twenty_within_ten_seconds(calls):
    breaker, now_ns, ended = Breaker(), 0, []
    for is_failure, passed_ms in calls:
        now_ns += passed_ms * MS_NS
        ended.append((now_ns // S_NS, is_failure))
        recent = [failed for second, failed in ended if second > now_ns // S_NS - 10]
        in_a_row = len(ended) >= IN_A_ROW and all(failed for _, failed in ended[-IN_A_ROW:])
        is_bad = is_failure and (in_a_row or (len(recent) >= MIN_VOLUME and sum(recent) * 2 >= len(recent)))
        assert (breaker.failed(now_ns) if is_failure else breaker.succeeded(now_ns)) == is_bad
        if is_bad:
            assert breaker.state(now_ns) == "open"
            return
        assert breaker.state(now_ns) == "closed"
        assert not breaker.may_try(now_ns)


@given(failures=st.integers(0, MIN_VOLUME - 1))
def test_fewer_than_twenty_calls_with_some_success_between_open_nothing(failures):
    breaker = Breaker()
    for number in range(MIN_VOLUME - 1):
        if number % IN_A_ROW == IN_A_ROW - 1 or number >= failures:
            breaker.succeeded(0)
        else:
            assert not breaker.failed(0)


def test_the_window_forgets():
    breaker = Breaker()
    for number in range(18):
        (breaker.succeeded if number % 4 == 3 else breaker.failed)(0)
    for number in range(20):
        at_ns = (10 + number) * S_NS
        assert not breaker.failed(at_ns) if number % 3 == 0 else not breaker.succeeded(at_ns)
    assert breaker.state(40 * S_NS) == "closed"


def test_one_success_breaks_a_row():
    breaker = Breaker()
    for _ in range(3):
        for _ in range(IN_A_ROW - 1):
            assert not breaker.failed(0)
        assert not breaker.succeeded(0)


# -- trying -----------------------------------------------------------------------------------------------------------


def test_one_call_tries_after_five_seconds():
    breaker = opened()
    early_ns, now_ns = FIRST_OPEN_S * S_NS - 1, FIRST_OPEN_S * S_NS
    assert (breaker.state(early_ns), breaker.may_try(early_ns)) == ("open", False)
    assert (breaker.state(now_ns), breaker.may_try(now_ns)) == ("half_open", True)
    breaker.begin_try(now_ns)
    assert (breaker.state(now_ns), breaker.may_try(now_ns)) == ("half_open", False)
    assert not breaker.may_try(now_ns + TRY_S * S_NS - 1)
    assert breaker.may_try(now_ns + TRY_S * S_NS), "who never says how it ended does not block for good"


def test_a_try_without_a_verdict_lets_the_next_call_try():
    breaker = opened()
    now_ns = FIRST_OPEN_S * S_NS
    breaker.begin_try(now_ns)
    breaker.end_try()
    assert breaker.may_try(now_ns)


def test_the_pause_doubles_up_to_a_minute_and_begins_anew_after_a_success():
    breaker, now_ns, pauses = opened(), 0, []
    for _ in range(6):
        pauses.append((breaker.open_until_ns - now_ns) // S_NS)
        now_ns = breaker.open_until_ns
        breaker.begin_try(now_ns)
        assert breaker.failed(now_ns, began_ns=now_ns)
    assert pauses == [5, 10, 20, 40, LONGEST_OPEN_S, LONGEST_OPEN_S]
    now_ns = breaker.open_until_ns
    assert breaker.succeeded(now_ns, began_ns=now_ns)
    assert breaker.state(now_ns) == "closed"
    for number in range(IN_A_ROW):
        assert breaker.failed(now_ns) == (number == IN_A_ROW - 1)
    assert breaker.open_until_ns - now_ns == FIRST_OPEN_S * S_NS


@given(tries=st.lists(st.integers(0, 90_000), max_size=40))
def test_while_it_is_not_closed_at_most_one_call_tries_at_a_time(tries):
    breaker, now_ns, tried_until_ns = opened(), 0, 0
    for passed_ms in tries:
        now_ns += passed_ms * MS_NS
        if breaker.may_try(now_ns):
            assert now_ns >= max(tried_until_ns, breaker.open_until_ns)
            breaker.begin_try(now_ns)
            tried_until_ns = now_ns + TRY_S * S_NS


# -- calls that began before -----------------------------------------------------------------------------------------


def test_calls_that_began_before_it_opened_say_nothing():
    breaker = opened(at_ns=10 * S_NS)
    for now_ns in (12 * S_NS, 20 * S_NS):
        assert not breaker.succeeded(now_ns, began_ns=9 * S_NS)
        assert not breaker.failed(now_ns, began_ns=9 * S_NS)
    assert breaker.open_until_ns == 15 * S_NS
    assert breaker.may_try(20 * S_NS)


def test_a_straggler_neither_ends_a_try_nor_prolongs_the_pause():
    breaker = opened()
    now_ns = FIRST_OPEN_S * S_NS
    breaker.begin_try(now_ns)
    assert not breaker.failed(now_ns + S_NS, began_ns=-S_NS)
    assert not breaker.may_try(now_ns + S_NS)
    assert breaker.succeeded(now_ns + 2 * S_NS, began_ns=now_ns)


def test_a_call_that_was_made_all_the_same_closes_it_if_it_goes_well():
    breaker = opened()
    assert not breaker.failed(S_NS, began_ns=S_NS)
    assert breaker.open_until_ns == FIRST_OPEN_S * S_NS, "it was left alone anyhow"
    assert breaker.succeeded(2 * S_NS, began_ns=S_NS)
    assert breaker.state(2 * S_NS) == "closed"


# -- what others say --------------------------------------------------------------------------------------------------


def test_what_another_worker_says_opens_it_and_its_pause_goes_on_from_there():
    breaker = Breaker()
    breaker.told_open(19_999 * MS_NS, 0)
    assert breaker.state(0) == "open"
    now_ns = breaker.open_until_ns
    breaker.begin_try(now_ns)
    assert breaker.failed(now_ns)
    assert breaker.open_until_ns - now_ns == 40 * S_NS


def test_to_be_told_again_shortens_nothing_and_ends_no_try():
    breaker = opened()
    breaker.told_open(2 * S_NS, S_NS)
    assert breaker.open_until_ns == FIRST_OPEN_S * S_NS
    now_ns = 6 * S_NS
    breaker.begin_try(now_ns)
    breaker.told_open(now_ns, now_ns)
    assert not breaker.may_try(now_ns)


def test_to_be_told_that_it_may_be_tried_is_news_only_where_it_is_closed():
    breaker = Breaker()
    breaker.told_open(S_NS, S_NS)
    assert breaker.state(S_NS) == "half_open"
    assert breaker.may_try(S_NS)
