"""Pages of usage events. Law: keyset paging over an index, so that the last page costs what the first does.

What is rare is not looked for among all events: the roll-up says which hours hold it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, literal, literal_column, select, tuple_, union_all

from app.db.columns import Timestamp
from app.db.engine import Connection
from app.db.rows import to_record
from app.domain.usage.hours import HOUR, Span, start_of_hour
from app.domain.usage.periods import Period
from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import usage_events, usage_totals

EventKey = tuple[datetime, UUID]

_columns = usage_events.c
_ROLLED_UP = frozenset({"model", "provider"})
_OF_TOTALS = _ROLLED_UP | {"organization_id"}
_OK = "ok"
_LEAST = timedelta(microseconds=1)


async def page_events(
    connection: Connection, *, period: Period, where: Mapping[str, Any], before: EventKey | None, limit: int
) -> list[UsageEvent]:
    """Return events, newest first; `before` is the key of the last one of the page before."""
    spans: list[Span] = [period]
    if where.keys() & _ROLLED_UP and where.keys() <= _OF_TOTALS:
        spans = await _spans_with(connection, period, where=where, before=before, limit=limit)
    if not spans:
        return []
    parts = [_page(span, where, before=before, limit=limit) for span in spans]
    statement = parts[0]
    if len(parts) > 1:
        several = union_all(*(select(part.subquery()) for part in parts)).subquery()
        statement = select(several).order_by(several.c.occurred_at.desc(), several.c.event_id.desc()).limit(limit)
    return [to_record(row, UsageEvent) for row in (await connection.execute(statement)).mappings()]


def _page(span: Span, where: Mapping[str, Any], *, before: EventKey | None, limit: int) -> Select[Any]:
    order = (_columns.occurred_at, _columns.event_id)
    statement = select(usage_events).where(
        *span.holds(_columns.occurred_at), *(_columns[name] == value for name, value in where.items())
    )
    if where.get("outcome", _OK) != _OK:
        # What the index of failures says of itself, so that it serves whatever is bound to the statement.
        statement = statement.where(_columns.outcome != literal_column(f"'{_OK}'"))
    if before is not None:
        moment, event_id = before
        statement = statement.where(tuple_(*order) < tuple_(literal(moment, Timestamp), literal(event_id, Uuid)))
    return statement.order_by(*(column.desc() for column in order)).limit(limit)


async def _spans_with(
    connection: Connection, period: Period, *, where: Mapping[str, Any], before: EventKey | None, limit: int
) -> list[Span]:
    """Return the last hours that hold such events, as ranges: as many as the page may need, as each holds one."""
    hour = usage_totals.c.hour
    until = period.until if before is None else min(period.until, before[0] + _LEAST)
    statement = (
        select(hour)
        .distinct()
        .where(
            hour >= start_of_hour(period.since),
            hour < until,
            *(usage_totals.c[name] == value for name, value in where.items()),
        )
        .order_by(hour.desc())
        .limit(limit)
    )
    spans: list[Span] = []
    for start in (await connection.execute(statement)).scalars():
        since, end = max(start, period.since), min(start + HOUR, period.until)
        if spans and spans[-1].since == end:
            spans[-1] = Span(since, spans[-1].until)
        else:
            spans.append(Span(since, end))
    return spans


def key_of(event: UsageEvent) -> EventKey:
    """Return the key that an event is listed by."""
    return event.occurred_at, event.event_id
