"""What is kept of lanes: durations, pauses that providers ask for, credentials that are taken out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing import health
from app.routing.health import Durations, Health, Lane, LaneName

S_NS = 1_000_000_000


def lane():
    return Lane(LaneName("p", "m"))


# -- durations --------------------------------------------------------------------------------------------------------


def test_nothing_is_expected_of_what_nobody_measured():
    assert Durations().expected_s(0) is None
    assert Durations().p95_s(least=1) is None


@given(taken=st.lists(st.integers(1, 600 * S_NS), min_size=1, max_size=300))
def test_the_mean_stays_between_the_extremes_and_follows(taken):
    durations = Durations()
    for took_ns in taken:
        durations.add(took_ns, 0)
    expected_s = durations.expected_s(0)
    assert min(taken) / S_NS * 0.999_999 <= expected_s <= max(taken) / S_NS * 1.000_001
    for _ in range(60):
        durations.add(5 * S_NS, 0)
    assert durations.expected_s(0) == pytest.approx(5, abs=0.01)
    assert durations.count == len(taken) + 60


def test_a_new_answer_is_a_fifth_of_the_mean():
    durations = Durations()
    durations.add(S_NS, 0)
    durations.add(2 * S_NS, 0)
    assert durations.expected_s(0) == pytest.approx(1.2)


def test_a_mean_is_forgotten_after_a_minute_and_begins_anew():
    durations = Durations()
    durations.add(9 * S_NS, 0)
    assert durations.expected_s(60 * S_NS) == 9
    assert durations.expected_s(60 * S_NS + 1) is None
    durations.add(S_NS, 61 * S_NS)
    assert durations.expected_s(61 * S_NS) == 1


@given(taken=st.lists(st.integers(1, 100), min_size=1, max_size=400))
def test_at_least_95_percent_of_the_last_answers_took_no_longer_than_the_percentile(taken):
    durations = Durations()
    for took_s in taken:
        durations.add(took_s * S_NS, 0)
    last = taken[-128:]
    found_s = durations.p95_s(least=1)
    assert found_s in last
    assert sum(took_s <= found_s for took_s in last) >= math.ceil(len(last) * 0.95)
    assert sum(took_s < found_s for took_s in last) <= len(last) * 0.95
    assert durations.p95_s(least=len(last) + 1) is None


def test_a_percentile_takes_the_answers_after_it_was_asked():
    durations = Durations()
    for _ in range(20):
        durations.add(S_NS, 0)
    assert durations.p95_s(least=20) == 1
    for _ in range(128):
        durations.add(2 * S_NS, 0)
    assert durations.p95_s(least=20) == 2


# -- being left alone -------------------------------------------------------------------------------------------------


def test_the_longest_that_a_provider_asks_for_holds():
    one = lane()
    one.cool(5 * S_NS)
    one.cool(2 * S_NS)
    assert one.cooled_s(S_NS) == 4
    assert one.left_alone_s(S_NS) == 4
    assert not one.is_well(S_NS)
    assert one.is_well(5 * S_NS)


def test_a_credential_is_tried_ever_more_rarely_and_at_once_after_it_was_taken():
    one, now_ns, pauses = lane(), 0, []
    for _ in range(8):
        one.lock_out(now_ns)
        assert one.is_locked_out(now_ns)
        pauses.append(one.left_alone_s(now_ns))
        now_ns = one.locked_out_until_ns
        assert not one.is_locked_out(now_ns)
    assert pauses == [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]
    one.let_in()
    assert one.is_well(now_ns)
    one.lock_out(now_ns)
    assert one.left_alone_s(now_ns) == 60


def test_calls_that_are_refused_together_are_one_finding():
    one = lane()
    for _ in range(10):
        one.lock_out(0)
    assert one.left_alone_s(0) == 60
    one.lock_out(60 * S_NS)
    assert one.left_alone_s(60 * S_NS) == 120


def test_an_unknown_credential_is_taken_out_for_all_models_of_its_provider():
    known = Health()
    bad = known.lane("p", "m", 1)
    also = known.lane("p", "other", 1)
    others = [known.lane("p", "m", 0), known.lane("q", "m", 1)]
    assert known.lock_out(bad, 0, is_everywhere=True) == [bad, also]
    assert bad.is_locked_out(0)
    assert also.is_locked_out(0)
    assert not any(each.is_locked_out(0) for each in others)
    known.let_all_in()
    assert all(each.is_well(0) for each in known)


def test_a_credential_that_may_not_use_a_model_is_taken_out_for_that_model():
    known = Health()
    bad, other = known.lane("p", "m"), known.lane("p", "other")
    assert known.lock_out(bad, 0, is_everywhere=False) == [bad]
    assert not other.is_locked_out(0)


# -- all lanes --------------------------------------------------------------------------------------------------------


def test_lanes_are_the_same_each_time_and_forgotten_only_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(health, "_LANES_MAX", 3)
    known = Health()
    busy = known.lane("p", "busy")
    busy.begin()
    for number in range(3):
        known.lane("p", str(number))
    assert known.lane("p", "busy") is busy
    assert len(list(known)) <= 3
    busy.end()
    assert busy.inflight == 0
    assert busy.used == 1


def test_a_lane_is_called_by_its_credential_only_where_there_are_several():
    assert str(LaneName("p", "m")) == "p/m"
    assert str(LaneName("p", "m", 1)) == "p/m#2"
