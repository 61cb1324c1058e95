"""The bounds of periods in milliseconds, as stores have them: remembered by the quarter of an hour."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.quotas.periods import period_at
from app.limits.periods import Bounds, bounds_of

ZONES = [
    "UTC", "Europe/Zurich", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham",
    "Asia/Kolkata", "Africa/Cairo", "Pacific/Apia", "America/Sao_Paulo", "Antarctica/Troll", "Asia/Gaza",
]  # fmt: skip
HOUR_MS = 3_600_000


def ms(text):
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


def test_a_total_has_no_bounds():
    assert bounds_of("total", timezone="Europe/Zurich", at_ms=1) == Bounds(0, 0)


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)],
)
def test_a_day_is_as_long_as_its_clocks_make_it(day, hours):
    bounds = bounds_of("day", timezone="Europe/Zurich", at_ms=ms(f"{day}T12:00+02:00"))
    assert bounds.end_ms - bounds.start_ms == hours * HOUR_MS


def test_a_half_hour_of_summer_time():
    bounds = bounds_of("day", timezone="Australia/Lord_Howe", at_ms=ms("2026-04-05T12:00+10:30"))
    assert bounds.end_ms - bounds.start_ms == 24 * HOUR_MS + HOUR_MS // 2


@pytest.mark.parametrize(("year", "days"), [(2027, 28), (2028, 29), (2100, 28), (2000, 29)])
def test_february(year, days):
    bounds = bounds_of("month", timezone="UTC", at_ms=ms(f"{year}-02-10T00:00+00:00"))
    assert bounds.end_ms - bounds.start_ms == days * 24 * HOUR_MS


def test_a_week_begins_on_monday_where_it_is_monday():
    bounds = bounds_of("week", timezone="Pacific/Chatham", at_ms=ms("2026-11-22T10:30+00:00"))
    assert bounds.start_ms == ms("2026-11-23T00:00+13:45")
    assert bounds.end_ms == ms("2026-11-30T00:00+13:45")


MOMENTS = st.integers(ms("1990-01-01T00:00+00:00"), ms("2060-01-01T00:00+00:00"))


@given(at_ms=MOMENTS, zone=st.sampled_from(ZONES), period=st.sampled_from(["day", "week", "month"]))
def test_what_is_remembered_is_what_the_calendar_says(at_ms, zone, period):
    bounds = bounds_of(period, timezone=zone, at_ms=at_ms)
    exact = period_at(datetime.fromtimestamp(at_ms // 1_000, UTC), period=period, timezone=zone)
    assert bounds.start_ms == int(exact.starts_at.timestamp()) * 1_000
    assert bounds.end_ms == int(exact.resets_at.timestamp()) * 1_000
    assert bounds.start_ms <= at_ms < bounds.end_ms


@given(at_ms=MOMENTS, zone=st.sampled_from(ZONES), period=st.sampled_from(["day", "week", "month"]))
def test_periods_follow_each_other_without_a_gap(at_ms, zone, period):
    bounds = bounds_of(period, timezone=zone, at_ms=at_ms)
    assert bounds_of(period, timezone=zone, at_ms=bounds.end_ms).start_ms == bounds.end_ms
    assert bounds_of(period, timezone=zone, at_ms=bounds.start_ms - 1).end_ms == bounds.start_ms
    assert bounds_of(period, timezone=zone, at_ms=bounds.end_ms - 1) == bounds
    local = datetime.fromtimestamp(bounds.start_ms // 1_000, ZoneInfo(zone))
    before = datetime.fromtimestamp(bounds.start_ms // 1_000 - 1, ZoneInfo(zone))
    assert local.date() != before.date()
