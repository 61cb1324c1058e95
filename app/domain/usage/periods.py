"""Which time a report is of, as people write it. Law: half-open, in UTC, and never without end."""

from datetime import UTC, datetime, timedelta

import msgspec

from app.domain.usage.hours import HOUR, Span, start_of_hour
from app.kernel.errors import InvalidRequest

MAX_DAYS = 400
DEFAULT_DAYS = 30
_YEARS = range(1970, 9_999)
_DATE_CHARS = 10


class Period(Span):
    """A range with both its ends."""

    since: datetime
    until: datetime


def read_period(since: str | None, until: str | None, *, now: datetime) -> Period:
    """Return the range that `from` and `to` mean.

    Without `to` it ends with the hour that has begun, so that what is going on is in it; without `from` it is of 30
    days. Raises `InvalidRequest` naming the one at fault, also when it is over 400 days or ends before it begins.
    """
    end = start_of_hour(now) + HOUR if until is None else read_moment(until, name="to")
    start = end - timedelta(days=DEFAULT_DAYS) if since is None else read_moment(since, name="from")
    if start > end:
        raise InvalidRequest("`from` is after `to`", param="from")
    if end - start > timedelta(days=MAX_DAYS):
        raise InvalidRequest(f"a report is of at most {MAX_DAYS} days", param="from")
    return Period(start, end)


def read_moment(text: str, *, name: str) -> datetime:
    """Return the moment in RFC 3339, or the beginning of a day in UTC; a `+` that was not escaped reads as a blank."""
    day, rest = text[:_DATE_CHARS], text[_DATE_CHARS:]
    fault = InvalidRequest(
        f"{name} is a moment such as 2026-11-23T12:00:00Z, or a day such as 2026-11-23 (in UTC)", param=name
    )
    try:
        moment = msgspec.convert(day + (rest.replace(" ", "+") or "T00:00:00Z"), datetime)
    except msgspec.ValidationError:
        raise fault from None
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise fault
    return moment.astimezone(UTC)
