"""Budget periods: from midnight to midnight of a time zone. Law: pure; the moment is given."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.settings.policy import Period

_MS_PER_S = 1_000
_REMEMBERED = 1_024
_DAYS_PER_WEEK = 7
_MONTHS_PER_YEAR = 12


class Bounds(NamedTuple):
    """A period, [`start_ms`, `end_ms`), in milliseconds since the Unix epoch; the end of `total` is 0: never."""

    start_ms: int
    end_ms: int


TOTAL = Bounds(0, 0)


def bounds_of(period: Period, *, timezone: str, at_ms: int) -> Bounds:
    """Return the period that holds a moment. Weeks begin on Monday; a day has 23 to 25 hours where clocks are moved."""
    if period == "total":
        return TOTAL
    # Any moment of the same quarter of an hour falls into the same period: no zone has ever been finer since 1972.
    return _bounds(period, timezone, at_ms // 900_000)


@lru_cache(_REMEMBERED)
def _bounds(period: Period, timezone: str, quarter: int) -> Bounds:
    zone = ZoneInfo(timezone) if timezone != "UTC" else UTC
    now = datetime.fromtimestamp(quarter * 900, UTC).astimezone(zone)
    midnight = datetime(now.year, now.month, now.day, tzinfo=zone)
    if period == "day":
        return Bounds(_ms(midnight), _ms(_days_later(midnight, 1)))
    if period == "week":
        monday = _days_later(midnight, -midnight.weekday())
        return Bounds(_ms(monday), _ms(_days_later(monday, _DAYS_PER_WEEK)))
    first = midnight.replace(day=1)
    years, month = divmod(first.month, _MONTHS_PER_YEAR)
    return Bounds(_ms(first), _ms(first.replace(year=first.year + years, month=month + 1)))


def _days_later(midnight: datetime, days: int) -> datetime:
    """Return a midnight so many days away: arithmetic on wall time, so that it is one whatever the clocks do."""
    return midnight + timedelta(days=days)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * _MS_PER_S
