"""The revision of the ledger over a database that is in use: what was there is rolled up as if it came now."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from accounting.events import NOON, make_event, make_events
from sqlalchemy import delete, select, text

from app.db import schema
from app.db.engine import Database
from app.domain.usage import repository
from app.domain.usage.balances import find_drift
from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import balances, usage_events, usage_hourly

OLD, NEW = "0002", "0003"
ADDED = ("kind", "is_final", "details", "cache_status", "saved_nusd", "fanout", "leg")
REQUEST = UUID(int=77)


def old_events() -> list[UsageEvent]:
    """Return events as the release before knew them: several attempts of one request, none of them marked."""
    plain = [event for event in make_events(120) if event.kind == "attempt"]
    attempts = [make_event(request_id=REQUEST, attempt=number, outcome="error") for number in (1, 2, 3)]
    return [
        UsageEvent(**{name: getattr(event, name) for name in event.__struct_fields__ if name not in ADDED})
        for event in [*plain, *attempts]
    ]


def as_counted(event: UsageEvent) -> UsageEvent:
    """Return an event with the mark that it has to get."""
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    return UsageEvent(**values | {"is_final": event.request_id != REQUEST or event.attempt == 3})


async def insert_as_before(url: str, events: list[UsageEvent]) -> None:
    names = [name for name in UsageEvent.__struct_fields__ if name not in ADDED]
    database = Database(url)
    async with database.transaction() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        values = ", ".join("CAST(:tags AS jsonb)" if name == "tags" and not is_sqlite else f":{name}" for name in names)
        statement = text(f"INSERT INTO usage_events ({', '.join(names)}) VALUES ({values})")
        await connection.execute(statement, [_row(event, names, is_sqlite=is_sqlite) for event in events])
    await database.aclose()


def _row(event: UsageEvent, names: list[str], *, is_sqlite: bool) -> dict[str, Any]:
    row = {name: getattr(event, name) for name in names} | {"tags": json.dumps(event.tags)}
    if is_sqlite:
        row |= {name: value.hex for name, value in row.items() if isinstance(value, UUID)}
        row["occurred_at"] = event.occurred_at.replace(tzinfo=None).isoformat(" ", "microseconds")
    return row


async def books(url: str) -> tuple[set[Any], set[Any]]:
    """Return the rows of both roll-ups."""
    database = Database(url)
    async with database.reading() as connection:
        hourly = (await connection.execute(select(usage_hourly))).mappings().all()
        kept = (await connection.execute(select(balances))).all()
    await database.aclose()
    return {tuple((name, str(value)) for name, value in row.items()) for row in hourly}, {tuple(row) for row in kept}


async def write_now(url: str, events: list[UsageEvent]) -> None:
    database = Database(url)
    async with database.transaction() as connection:
        await repository.insert_events(connection, events)
    await database.aclose()


async def forget_all(url: str) -> None:
    database = Database(url)
    async with database.transaction() as connection:
        for table in (usage_events, usage_hourly, balances):
            await connection.execute(delete(table))
    await database.aclose()


async def assert_no_drift(url: str) -> None:
    database = Database(url)
    async with database.reading() as connection:
        found = await find_drift(connection, since=NOON - timedelta(days=1), until=NOON + timedelta(days=1))
    await database.aclose()
    assert found == []


def test_what_was_there_is_rolled_up_as_if_it_came_now(empty_url: str) -> None:
    events = old_events()
    schema.upgrade(empty_url, OLD)
    asyncio.run(insert_as_before(empty_url, events))
    schema.upgrade(empty_url, NEW)
    asyncio.run(assert_no_drift(empty_url))
    found = asyncio.run(books(empty_url))
    schema.upgrade(empty_url)
    asyncio.run(write_now(empty_url, events))
    assert asyncio.run(books(empty_url)) == found
    asyncio.run(forget_all(empty_url))
    asyncio.run(write_now(empty_url, [as_counted(event) for event in events]))
    assert asyncio.run(books(empty_url)) == found


def test_it_goes_down_and_up_again_with_what_is_there(empty_url: str) -> None:
    events = [event for event in make_events(60) if event.kind == "attempt"]
    schema.upgrade(empty_url)
    asyncio.run(write_now(empty_url, events))
    schema.downgrade(empty_url, OLD)
    schema.upgrade(empty_url)
    asyncio.run(assert_no_drift(empty_url))
    database = Database(empty_url)

    async def count() -> int:
        async with database.reading() as connection:
            found = await repository.count_events(connection)
        await database.aclose()
        return found

    assert asyncio.run(count()) == len(events)


async def test_the_release_before_still_writes(url: str) -> None:
    events = old_events()[-3:]
    await insert_as_before(url, events)
    database = Database(url)
    async with database.reading() as connection:
        found = await repository.find_events(connection, request_id=REQUEST)
    await database.aclose()
    assert found == events
