"""The rows of usage events."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from app.db.engine import Connection
from app.db.faults import is_outage
from app.db.rows import to_record
from app.domain.usage.bulk import insert_in_postgres, insert_in_sqlite
from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import usage_events

MAX_ROWS = 500


async def insert_events(connection: Connection, events: Sequence[UsageEvent]) -> set[UUID]:
    """Add up to 500 events and roll up those that were new; returns their ids.

    Raises `ValueError` if the database refuses one of them for what it holds.
    """
    if len(events) > MAX_ROWS:
        raise ValueError(f"at most {MAX_ROWS} events are inserted at once")
    if not events:
        return set()
    insert = insert_in_postgres if connection.dialect.name == "postgresql" else insert_in_sqlite
    try:
        return await insert(connection, events)
    except DBAPIError as error:
        if is_outage(error):
            raise
        raise ValueError(f"the database refused usage events: {error.orig}") from error
    except OverflowError as error:
        raise ValueError(f"usage events hold a number over 64 bits: {error}") from error


async def orphans_among(connection: Connection, ids: Collection[UUID]) -> list[UsageEvent]:
    """Return those of the events that a sweeper wrote for a request that nobody had settled."""
    found: list[UsageEvent] = []
    wanted = list(ids)
    for start in range(0, len(wanted), MAX_ROWS):
        statement = select(usage_events).where(
            usage_events.c.event_id.in_(wanted[start : start + MAX_ROWS]), usage_events.c.usage_source == "orphan"
        )
        found += [to_record(row, UsageEvent) for row in (await connection.execute(statement)).mappings()]
    return found


async def find_events(connection: Connection, *, request_id: UUID) -> list[UsageEvent]:
    """Return the events of one request, in the order of their attempts."""
    statement = select(usage_events).where(usage_events.c.request_id == request_id).order_by(usage_events.c.attempt)
    return [to_record(row, UsageEvent) for row in (await connection.execute(statement)).mappings()]


async def count_events(connection: Connection) -> int:
    """Return how many events are stored."""
    return int((await connection.execute(select(func.count()).select_from(usage_events))).scalar_one())
