"""Pages of usage events. Law: keyset paging over an index, so that the last page costs what the first does."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, literal, select, tuple_

from app.db.columns import Timestamp
from app.db.engine import Connection
from app.db.rows import to_record
from app.domain.usage.periods import Period
from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import usage_events

EventKey = tuple[datetime, UUID]

_columns = usage_events.c


async def page_events(
    connection: Connection, *, period: Period, where: Mapping[str, Any], before: EventKey | None, limit: int
) -> list[UsageEvent]:
    """Return events, newest first; `before` is the key of the last one of the page before."""
    order = (_columns.occurred_at, _columns.event_id)
    statement = select(usage_events).where(
        *period.holds(_columns.occurred_at), *(_columns[name] == value for name, value in where.items())
    )
    if before is not None:
        moment, event_id = before
        statement = statement.where(tuple_(*order) < tuple_(literal(moment, Timestamp), literal(event_id, Uuid)))
    statement = statement.order_by(*(column.desc() for column in order)).limit(limit)
    return [to_record(row, UsageEvent) for row in (await connection.execute(statement)).mappings()]


def key_of(event: UsageEvent) -> EventKey:
    """Return the key that an event is listed by."""
    return event.occurred_at, event.event_id
