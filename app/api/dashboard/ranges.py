"""The ranges of time that the overview shows. Law: whole intervals in UTC, and none left out where nothing happened."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from app.domain.usage.grouping import Interval
from app.domain.usage.reports import UsageQuery
from app.kernel.errors import InvalidRequest

RangeName = Literal["24h", "7d", "30d"]
RANGES: tuple[RangeName, ...] = get_args(RangeName)

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_MEASURES = ("requests", "errors", "cache_hits", "cost", "saved_cost")
_NOTHING = {"requests": 0, "errors": 0, "cache_hits": 0, "cost": "0", "saved_cost": "0"}


class Range(NamedTuple):
    """A range that ends with the interval that has begun."""

    name: RangeName
    since: datetime
    until: datetime
    interval: Interval
    step: timedelta
    latency_intervals: int

    @property
    def query(self) -> UsageQuery:
        """What is asked of the ledger for it."""
        return UsageQuery(since=self.since.isoformat(), until=self.until.isoformat())

    def filled(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the items of a series with those that are missing: a chart must not draw over a gap."""
        by_start = {item["start"].astimezone(UTC): item for item in items}
        count = (self.until - self.since) // self.step
        starts = [self.since + number * self.step for number in range(count)]
        return [{"start": start, **_measures(by_start.get(start, _NOTHING))} for start in starts]


def range_of(name: RangeName, *, now: datetime) -> Range:
    """Return a range by its name; raises `InvalidRequest`."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + _HOUR
    if name == "24h":
        return Range(name, hour - _DAY, hour, interval="hour", step=_HOUR, latency_intervals=24)
    if name == "7d":
        return Range(name, hour - 7 * _DAY, hour, interval="hour", step=_HOUR, latency_intervals=28)
    if name == "30d":
        day = hour.replace(hour=0) + _DAY if hour.hour else hour
        return Range(name, day - 30 * _DAY, day, interval="day", step=_DAY, latency_intervals=30)
    raise InvalidRequest(f"range is one of {', '.join(RANGES)}", param="range")


def _measures(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in _MEASURES}
