"""The periods of budgets, on any calendar."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.quotas.periods import period_at

ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo", "Asia/Beirut"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("moment", "period", "timezone", "starts_at", "resets_at"),
    [
        ("2026-11-26T12:00+00:00", "day", "UTC", "2026-11-26T00:00+00:00", "2026-11-27T00:00+00:00"),
        ("2026-11-26T00:00+00:00", "day", "UTC", "2026-11-26T00:00+00:00", "2026-11-27T00:00+00:00"),
        ("2026-11-26T12:00+00:00", "week", "UTC", "2026-11-23T00:00+00:00", "2026-11-30T00:00+00:00"),
        ("2026-12-31T23:30+00:00", "month", "UTC", "2026-12-01T00:00+00:00", "2027-01-01T00:00+00:00"),
        ("2026-12-31T23:30+00:00", "month", "Europe/Zurich", "2026-12-31T23:00+00:00", "2027-01-31T23:00+00:00"),
        ("2026-12-31T23:30+00:00", "day", "America/New_York", "2026-12-31T05:00+00:00", "2027-01-01T05:00+00:00"),
        # A day of 23 hours, one of 25, and one whose midnight the clocks skip.
        ("2026-03-29T12:00+00:00", "day", "Europe/Zurich", "2026-03-28T23:00+00:00", "2026-03-29T22:00+00:00"),
        ("2026-10-25T12:00+00:00", "day", "Europe/Zurich", "2026-10-24T22:00+00:00", "2026-10-25T23:00+00:00"),
        ("2026-04-24T12:00+00:00", "day", "Africa/Cairo", "2026-04-23T22:00+00:00", "2026-04-24T21:00+00:00"),
    ],
)
def test_known_periods(moment, period, timezone, starts_at, resets_at):
    found = period_at(at(moment), period=period, timezone=timezone)
    assert (found.starts_at, found.resets_at) == (at(starts_at), at(resets_at))


def test_a_total_never_begins_anew():
    found = period_at(at("2026-11-26T12:00+00:00"), period="total", timezone="UTC")
    assert (found.starts_at, found.resets_at) == (None, None)


@given(
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds
    period=st.sampled_from(["day", "week", "month"]),
    timezone=st.sampled_from(ZONES),
)
def test_periods_hold_their_moment_and_follow_each_other(moment, period, timezone):
    found = period_at(moment, period=period, timezone=timezone)
    assert found.starts_at <= moment < found.resets_at
    following = period_at(found.resets_at, period=period, timezone=timezone)
    assert following.starts_at == found.resets_at
    before = period_at(found.starts_at - timedelta(microseconds=1), period=period, timezone=timezone)
    assert before.resets_at == found.starts_at
    local = found.starts_at.astimezone(ZoneInfo(timezone))
    assert period != "week" or local.weekday() == 0
    assert period != "month" or local.day == 1
