import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from app.db.engine import Database
from app.domain.usage import repository
from app.domain.usage.schemas import UsageEvent


def event(**changes: object) -> UsageEvent:
    values: dict[str, object] = {
        "event_id": uuid4(),
        "request_id": UUID(int=7),
        "attempt": 1,
        "organization_id": UUID(int=1),
        "key_id": UUID(int=2),
        "occurred_at": datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC),
        "operation": "chat",
        "dialect": "openai",
        "provider": "echo",
        "model": "echo",
        "upstream_model": "echo",
        "outcome": "ok",
        "status": 200,
        "stream": True,
        "input_tokens": 2**53 + 1,
        "usage_source": "provider",
        "cost_nusd": 9_000_000_000_000_001,
        "duration_ms": 12,
        "tags": {"team": "blue"},
    }
    return UsageEvent(**(values | changes))  # type: ignore[arg-type] # the values are of their fields' types


async def insert(database: Database, events: list[UsageEvent]) -> set[UUID]:
    async with database.transaction() as connection:
        return await repository.insert_events(connection, events)


async def test_an_event_comes_back_as_it_went(database: Database) -> None:
    full = event(team_id=UUID(int=3), ttft_ms=1, price_version="v1", error_code="x")
    bare = event(attempt=2, status=None, cost_nusd=None, tags={})
    await insert(database, [bare, full])
    async with database.reading() as connection:
        assert await repository.find_events(connection, request_id=UUID(int=7)) == [full, bare]


async def test_only_new_events_are_returned(database: Database) -> None:
    first, second = event(), event()
    assert await insert(database, [first]) == {first.event_id}
    assert await insert(database, [first, second]) == {second.event_id}
    assert await insert(database, [first, second]) == set()
    assert await insert(database, []) == set()
    async with database.reading() as connection:
        assert await repository.count_events(connection) == 2


async def test_a_duplicate_within_one_call_is_stored_once(database: Database) -> None:
    once = event()
    assert await insert(database, [once, once]) == {once.event_id}


async def test_five_hundred_rows_go_in_at_once(database: Database) -> None:
    events = [event() for _ in range(repository.MAX_ROWS)]
    started = time.perf_counter()
    assert await insert(database, events) == {each.event_id for each in events}
    assert time.perf_counter() - started < 10
    with pytest.raises(ValueError, match="at most 500"):
        await insert(database, [*events, event()])
