"""The periods of budgets. Law: pure; half-open, from one local midnight to another, whatever the clocks do there."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from app.settings.policy import Period

_MONTHS = 12


class BudgetPeriod(msgspec.Struct, frozen=True):
    """When a period began and when the next one does, in UTC; both are absent for one that never ends."""

    starts_at: datetime | None
    resets_at: datetime | None


def period_at(moment: datetime, *, period: Period, timezone: str) -> BudgetPeriod:
    """Return the period that `moment` falls into. Weeks begin on Monday, as ISO 8601 has it."""
    if period == "total":
        return BudgetPeriod(None, None)
    zone = ZoneInfo(timezone)
    today = moment.astimezone(zone).date()
    first = {
        "day": today,
        "week": today - timedelta(days=today.weekday()),
        "month": today.replace(day=1),
    }[period]
    return BudgetPeriod(_midnight(first, zone), _midnight(_next(first, period), zone))


def _next(first: date, period: Period) -> date:
    if period == "month":
        return first.replace(year=first.year + first.month // _MONTHS, month=first.month % _MONTHS + 1)
    return first + timedelta(days=7 if period == "week" else 1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return when a day begins; where clocks skip its midnight, that is the moment of the skip."""
    return datetime.combine(day, time(), zone).astimezone(UTC)
