"""Many usage events in few steps: this runs for every request, so it goes past SQLAlchemy's handling of each value.

Both forms insert each event once, however often it comes, roll up those that were new, and say which were. On SQLite
our process is the only writer of a transaction, so what is there already can be asked first; PostgreSQL answers for
itself.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Table

from app.db.direct import ask_sqlite
from app.db.engine import Connection
from app.domain.usage.rollup import roll_up, tags_text
from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import balances, usage_daily, usage_events, usage_hourly, usage_totals

_FIND_IN_SQLITE = "SELECT event_id FROM usage_events WHERE event_id IN (SELECT value FROM json_each(?))"
_SQLITE_ROWS = (256, 64, 32, 16, 8, 4, 3, 2, 1)
"""How many rows one statement inserts: few sizes, so that SQLite's driver keeps every statement prepared.

One statement lets go of the interpreter once. `executemany` does so for every row, and waits for it again each time.
"""


@cache
def _postgres_statement() -> str:
    return files("app.domain.usage").joinpath("insert_events.sql").read_text(encoding="utf-8")


async def insert_in_sqlite(connection: Connection, events: Sequence[UsageEvent]) -> set[UUID]:
    """Add the events that are not there; return the ids of those."""
    wanted = msgspec.json.encode([event.event_id.hex for event in events]).decode()
    known = {row[0] for row in await ask_sqlite(connection, _FIND_IN_SQLITE, (wanted,))}
    fresh = {event.event_id: event for event in events if event.event_id.hex not in known}
    sums = roll_up(fresh.values())
    await _write_in_sqlite(connection, usage_events, map(_sqlite_row, fresh.values()))
    await _write_in_sqlite(connection, usage_hourly, sums.hourly_rows())
    await _write_in_sqlite(connection, usage_daily, sums.daily_rows())
    await _write_in_sqlite(connection, usage_totals, sums.total_rows())
    await _write_in_sqlite(connection, balances, sums.balance_rows())
    return set(fresh)


async def _write_in_sqlite(connection: Connection, table: Table, values: Iterable[tuple[Any, ...]]) -> None:
    rows = list(values)
    for size in _SQLITE_ROWS:
        while len(rows) >= size:
            batch, rows = rows[:size], rows[size:]
            await ask_sqlite(connection, _sqlite_statement(table, size), tuple(chain.from_iterable(batch)))


@cache
def _sqlite_statement(table: Table, size: int) -> str:
    """Return the statement that inserts so many rows, or adds them to those of the same key if the table has sums."""
    names = list(table.columns.keys())
    rows = ", ".join([f"({', '.join('?' * len(names))})"] * size)
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {rows}"  # noqa: S608 - our own names
    if table is usage_events:
        return statement
    key = list(table.primary_key.columns.keys())
    sums = [name for name in names if name not in {*key, "tags"}]
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in sums)
    return f"{statement} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {added}"


async def insert_in_postgres(connection: Connection, events: Sequence[UsageEvent]) -> set[UUID]:
    """Add the events that are not there; return the ids of those. They go as one JSON text, which the server reads."""
    payload = msgspec.json.encode(sorted(events, key=lambda event: event.event_id.bytes)).decode()
    result = await connection.exec_driver_sql(_postgres_statement(), (payload,))
    return {row[0] for row in result}


def _sqlite_row(event: UsageEvent) -> tuple[Any, ...]:
    """Return an event as SQLite keeps it: ids in hexadecimal, the moment as text in UTC, tags as JSON."""
    return (
        event.event_id.hex,
        event.request_id.hex,
        event.attempt,
        event.organization_id.hex,
        None if event.team_id is None else event.team_id.hex,
        event.key_id.hex,
        event.occurred_at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds"),
        event.operation,
        event.dialect,
        event.provider,
        event.model,
        event.upstream_model,
        event.outcome,
        event.status,
        event.stream,
        event.input_tokens,
        event.output_tokens,
        event.cache_read_tokens,
        event.cache_write_tokens,
        event.reasoning_tokens,
        event.usage_source,
        event.cost_nusd,
        event.price_version,
        event.ttft_ms,
        event.duration_ms,
        tags_text(event.tags),
        event.error_code,
        event.kind,
        event.is_final,
        msgspec.json.encode(event.details).decode(),
        event.cache_status,
        event.saved_nusd,
        event.fanout,
        event.leg,
    )
