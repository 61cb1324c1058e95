import asyncio
import contextlib
import random
from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from accounting.events import NOON, counts_of, make_event, make_events
from sqlalchemy import select

from app.db.engine import Database
from app.db.faults import DatabaseUnavailable
from app.domain.usage import repository
from app.domain.usage.balances import account_total, find_drift, known_events
from app.domain.usage.codec import decode_event, encode_event
from app.domain.usage.dead_letters import list_parked, park_event
from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import SUMS, balances, usage_daily, usage_hourly, usage_totals

WIDE = {"since": NOON - timedelta(days=1), "until": NOON + timedelta(days=2)}


async def insert(database: Database, events: list[UsageEvent]) -> set[UUID]:
    async with database.transaction() as connection:
        return await repository.insert_events(connection, events)


async def hourly_rows(database: Database) -> dict[tuple[Any, ...], dict[str, Any]]:
    async with database.reading() as connection:
        rows = (await connection.execute(select(usage_hourly))).mappings().all()
    return {
        (
            row["hour"],
            row["organization_id"],
            row["team_id"],
            row["key_id"],
            row["provider"],
            row["model"],
            tuple(sorted(row["tags"].items())),
        ): {name: row[name] for name in ("attempts", *counts_of([]))}
        for row in rows
    }


async def balance_rows(database: Database) -> dict[tuple[Any, ...], tuple[int, int]]:
    async with database.reading() as connection:
        rows = (await connection.execute(select(balances))).all()
    return {(row.scope_kind, row.scope_id, row.hour): (row.cost_nusd, row.events) for row in rows}


def expected_hourly(events: list[UsageEvent]) -> dict[tuple[Any, ...], dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[UsageEvent]] = defaultdict(list)
    for event in events:
        hour = event.occurred_at.replace(minute=0, second=0, microsecond=0)
        team_id = event.team_id or UUID(int=0)
        place = (hour, event.organization_id, team_id, event.key_id, event.provider, event.model)
        groups[*place, tuple(sorted(event.tags.items()))].append(event)
    return {
        place: {"attempts": sum(event.kind == "attempt" for event in group), **counts_of(group)}
        for place, group in groups.items()
    }


def expected_balances(events: list[UsageEvent]) -> dict[tuple[Any, ...], tuple[int, int]]:
    sums: dict[tuple[Any, ...], tuple[int, int]] = {}
    for event in events:
        hour = event.occurred_at.replace(minute=0, second=0, microsecond=0)
        for kind in ("organization", "team", "key"):
            scope_id = getattr(event, f"{kind}_id")
            if scope_id is not None:
                cost, count = sums.get((kind, scope_id, hour), (0, 0))
                sums[kind, scope_id, hour] = (cost + (event.cost_nusd or 0), count + 1)
    return sums


async def assert_roll_ups_agree(database: Database) -> None:
    """Days and totals are the sums of the hours, and nothing else."""
    by_hour, days = defaultdict(list), defaultdict(list)
    async with database.reading() as connection:
        hourly = (await connection.execute(select(usage_hourly))).mappings().all()
        daily = (await connection.execute(select(usage_daily))).mappings().all()
        totals = (await connection.execute(select(usage_totals))).mappings().all()
    of_day = ("organization_id", "team_id", "key_id", "provider", "model", "tags_hash")
    for row in hourly:
        sums = [row[name] for name in SUMS]
        by_hour[tuple(row[name] for name in ("hour", "organization_id", "provider", "model"))].append(sums)
        days[row["hour"].replace(hour=0), *(row[name] for name in of_day)].append(sums)
    assert {tuple(row.values())[:4]: [row[name] for name in SUMS] for row in totals} == added(by_hour)
    assert {(row["day"], *(row[name] for name in of_day)): [row[name] for name in SUMS] for row in daily} == added(days)


def added(groups: dict[tuple[Any, ...], list[list[int]]]) -> dict[tuple[Any, ...], list[int]]:
    return {key: [sum(column) for column in zip(*rows, strict=True)] for key, rows in groups.items()}


async def assert_books_hold(database: Database, events: list[UsageEvent]) -> None:
    assert await hourly_rows(database) == expected_hourly(events)
    assert await balance_rows(database) == expected_balances(events)
    await assert_roll_ups_agree(database)
    async with database.reading() as connection:
        assert await repository.count_events(connection) == len(events)
        assert await find_drift(connection, **WIDE) == []


async def test_repeated_and_overlapping_batches_are_rolled_up_once(database: Database) -> None:
    events = make_events(700)
    chance = random.Random(1)
    for _ in range(12):
        await insert(database, chance.sample(events, 300))
    for start in range(0, len(events), 100):
        await insert(database, events[start : start + 100] + events[start : start + 100])
    await assert_books_hold(database, events)


async def test_a_batch_that_fails_rolls_nothing_up(database: Database) -> None:
    events = make_events(20)
    await insert(database, events[:10])
    with contextlib.suppress(LookupError):
        async with database.transaction() as connection:
            await repository.insert_events(connection, events)
            raise LookupError
    await assert_books_hold(database, events[:10])
    assert await insert(database, events) == {event.event_id for event in events[10:]}
    await assert_books_hold(database, events)


async def test_an_event_that_the_database_refuses_takes_its_batch_with_it(database: Database) -> None:
    good, bad = make_event(), make_event(cost_nusd=2**70)
    with pytest.raises(ValueError, match="usage events"):
        await insert(database, [good, bad])
    await assert_books_hold(database, [])
    await insert(database, [good])
    await assert_books_hold(database, [good])


async def test_concurrent_writers_lose_nothing(url: str) -> None:
    """Eight writers of the same accounts, batches overlapping and in any order; a deadlock would be an error."""
    events = make_events(800, hours=2)
    async with contextlib.aclosing(Database(url, pool_size=8)) as database:

        async def write(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(15):
                await _insert_patiently(database, chance.sample(events, 60))

        await asyncio.gather(*(write(seed) for seed in range(8)))
        for start in range(0, len(events), 200):
            await insert(database, events[start : start + 200])
        await assert_books_hold(database, events)


async def _insert_patiently(database: Database, events: list[UsageEvent]) -> None:
    """Insert; to wait for another writer is no fault, but a deadlock is."""
    while True:
        try:
            await insert(database, events)
        except DatabaseUnavailable as error:
            if "deadlock" in str(error.__cause__):
                raise
            await asyncio.sleep(0.05)
        else:
            return


async def test_an_adjustment_takes_back_and_counts_no_request(database: Database) -> None:
    charged = make_event(cost_nusd=5_000, input_tokens=10, usage_source="orphan")
    adjusted = make_event(
        request_id=charged.request_id, kind="adjustment", is_final=False, cost_nusd=-2_000, input_tokens=-4
    )
    await insert(database, [charged, adjusted])
    await assert_books_hold(database, [charged, adjusted])
    (row,) = (await hourly_rows(database)).values()
    assert (row["requests"], row["attempts"], row["input_tokens"], row["cost_nusd"]) == (1, 1, 6, 3_000)


async def test_sums_beyond_the_doubles_are_exact(database: Database) -> None:
    events = [make_event(cost_nusd=2**53 + 1, input_tokens=2**53 + 1) for _ in range(501)]
    await insert(database, events[:500])
    await insert(database, events[500:])
    await assert_books_hold(database, events)


async def test_tags_in_another_order_are_the_same_tags(database: Database) -> None:
    events = [make_event(tags={"a": "1", "b": "2"}), make_event(tags={"b": "2", "a": "1"})]
    await insert(database, events)
    await assert_books_hold(database, events)
    assert len(await hourly_rows(database)) == 1


async def test_known_events_are_those_of_the_ledger(database: Database) -> None:
    events = make_events(5)
    await insert(database, events)
    unknown = [event.event_id for event in make_events(2_000, seed=9)]
    async with database.reading() as connection:
        assert await known_events(connection, []) == set()
        ids = {event.event_id for event in events}
        assert await known_events(connection, [*ids, *unknown]) == ids


async def test_drift_names_the_account_the_hour_and_the_amounts(database: Database) -> None:
    event = make_event(team_id=UUID(int=5), occurred_at=NOON + timedelta(minutes=5), cost_nusd=700)
    await insert(database, [event, make_event(occurred_at=NOON + timedelta(hours=3))])
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE balances SET cost_nusd = 699 WHERE scope_kind = 'team'")
    async with database.reading() as connection:
        (drift,) = await find_drift(connection, **WIDE)
        assert await find_drift(connection, since=NOON + timedelta(hours=3), until=NOON + timedelta(hours=4)) == []
    assert (drift.scope_kind, drift.scope_id, drift.hour) == ("team", UUID(int=5), NOON)
    assert (drift.events_nusd, drift.balance_nusd, drift.hourly_nusd) == (700, 699, 700)


async def test_a_missing_roll_up_is_drift(database: Database) -> None:
    await insert(database, [make_event(cost_nusd=700)])
    async with database.transaction() as connection:
        await connection.exec_driver_sql("DELETE FROM usage_hourly")
    async with database.reading() as connection:
        drifts = await find_drift(connection, **WIDE)
    assert {(drift.scope_kind, drift.balance_nusd, drift.hourly_nusd) for drift in drifts} == {
        ("key", 700, 0),
        ("organization", 700, 0),
    }


async def test_an_account_without_events_was_charged_nothing(database: Database) -> None:
    async with database.reading() as connection:
        assert await account_total(connection, scope_kind="key", scope_id=UUID(int=1), since=None, until=None) == 0


async def test_dead_letters_are_kept_as_they_came(database: Database) -> None:
    async with database.transaction() as connection:
        await park_event(connection, payload=b"\x00\xff", error="refused \x00 and \ud800")
        await park_event(connection, payload=b"", error="x" * 10_000)
    async with database.reading() as connection:
        first, second = await list_parked(connection)
        assert await list_parked(connection, after_id=first.id) == [second]
    assert (first.payload, first.error) == (b"\x00\xff", "refused \\0 and ?")
    assert len(second.error) == 2_000
    assert first.received_at.tzinfo is not None


def test_an_event_of_the_release_before_is_still_read() -> None:
    event = make_event()
    old = msgspec.msgpack.decode(encode_event(event))
    for name in ("kind", "is_final", "details", "cache_status", "saved_nusd"):
        del old[name]
    assert decode_event(msgspec.msgpack.encode(old)) == event
