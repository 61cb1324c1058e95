"""A range of time as whole hours or days, which are rolled up, and what is left at its edges.

Law: half-open, in UTC.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Column, ColumnElement, Text, func, literal_column, type_coerce

from app.db.columns import Timestamp
from app.db.engine import Connection

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Span(NamedTuple):
    """The moments from `since` until before `until`; None is without end."""

    since: datetime | None
    until: datetime | None

    def holds(self, column: Column[datetime]) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions of a moment that is in it."""
        after = () if self.since is None else (column >= self.since,)
        before = () if self.until is None else (column < self.until,)
        return (*after, *before)


def start_of_hour(moment: datetime) -> datetime:
    """Return the beginning of the moment's hour in UTC."""
    return _start(moment, HOUR)


def next_hour(moment: datetime) -> datetime:
    """Return the first full hour in UTC that is not before the moment."""
    return _next(moment, HOUR)


def split(span: Span, unit: timedelta = HOUR) -> tuple[Span | None, list[Span]]:
    """Return the whole units of a range, None if there are none, and what is left of it before and after them.

    A unit is an hour, or a day in UTC.
    """
    since, until = span
    first = None if since is None else _next(since, unit)
    last = None if until is None else _start(until, unit)
    if since is not None and until is not None and since >= until:
        return None, []
    if first is not None and last is not None and first > last:
        return None, [span]
    edges = []
    if since is not None and first != since:
        edges.append(Span(since, first))
    if until is not None and last != until:
        edges.append(Span(last, until))
    return (None if first is not None and first == last else Span(first, last)), edges


def _start(moment: datetime, unit: timedelta) -> datetime:
    return moment.astimezone(UTC) - (moment - _EPOCH) % unit


def _next(moment: datetime, unit: timedelta) -> datetime:
    start = _start(moment, unit)
    return start if start == moment else start + unit


def hour_of(connection: Connection, column: Column[datetime]) -> ColumnElement[datetime]:
    """Return the expression of the hour that a moment belongs to."""
    if connection.dialect.name == "postgresql":
        return _on_postgres("hour", column)
    return _on_sqlite(column, kept=13, rest=":00:00.000000")


def day_of(connection: Connection, column: Column[datetime]) -> ColumnElement[datetime]:
    """Return the expression of the day in UTC that a moment belongs to."""
    if connection.dialect.name == "postgresql":
        return _on_postgres("day", column)
    return _on_sqlite(column, kept=10, rest=" 00:00:00.000000")


# Written out rather than bound, so that the same expression in GROUP BY is the same to PostgreSQL.
def _on_postgres(unit: str, column: Column[datetime]) -> ColumnElement[datetime]:
    return func.date_trunc(literal_column(f"'{unit}'"), column, literal_column("'UTC'"), type_=Timestamp)


def _on_sqlite(column: Column[datetime], *, kept: int, rest: str) -> ColumnElement[datetime]:
    start = func.substr(type_coerce(column, Text), literal_column("1"), literal_column(str(kept)), type_=Text)
    return type_coerce(start.concat(literal_column(f"'{rest}'", Text)), Timestamp)
