"""Budget periods in the store's milliseconds. Law: pure; the moment is given."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from app.domain.quotas.periods import period_at
from app.settings.policy import Period

_MS_PER_S = 1_000
_QUARTER_S = 900
_REMEMBERED = 1_024


class Bounds(NamedTuple):
    """A period, [`start_ms`, `end_ms`), in milliseconds since the Unix epoch; the end of `total` is 0: never."""

    start_ms: int
    end_ms: int


def bounds_of(period: Period, *, timezone: str, at_ms: int) -> Bounds:
    """Return the period that holds a moment of the store's time."""
    if period == "total":
        return Bounds(0, 0)
    # Moments of the same quarter of an hour are in the same period: midnights are at quarters everywhere since 1972.
    return _bounds(period, timezone, at_ms // (_QUARTER_S * _MS_PER_S))


@lru_cache(_REMEMBERED)
def _bounds(period: Period, timezone: str, quarter: int) -> Bounds:
    found = period_at(datetime.fromtimestamp(quarter * _QUARTER_S, UTC), period=period, timezone=timezone)
    return Bounds(_ms(found.starts_at), _ms(found.resets_at))


def _ms(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp()) * _MS_PER_S
