"""Which model wins, reckoned by both databases against what plain Python reckons from the same events."""

import asyncio
import math
import random
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from accounting.events import NOON, ORGANIZATIONS, TEAMS, make_event

from app.db import schema
from app.db.engine import Database
from app.domain.audit.principal import COMMAND_LINE, Principal, Role
from app.domain.usage import repository
from app.domain.usage.adjusting import adjustment
from app.domain.usage.reports import UsageQuery, UsageReports
from app.domain.usage.schemas import UsageEvent
from app.kernel.clock import ManualClock
from app.kernel.errors import InvalidRequest
from app.kernel.money import format_usd

PARTS = ("won", "lost", "failed", "judge", "fuser", None)
FROM, TO = NOON + timedelta(minutes=20), NOON + timedelta(hours=2, minutes=10)
RANGE = UsageQuery(since=FROM.isoformat(), until=TO.isoformat())


def any_event(chance: random.Random) -> UsageEvent:
    organization_id = chance.choice(ORGANIZATIONS)
    part = chance.choice(PARTS)
    event = make_event(
        organization_id=organization_id,
        team_id=chance.choice(TEAMS[organization_id]),
        occurred_at=NOON + timedelta(seconds=chance.randrange(3 * 3600)),
        model=chance.choice(("fast", "größer")),
        fanout=chance.choice((None, "race", "careful")),
        leg=part,
        is_final=part == "won",
        ttft_ms=None if part == "failed" or chance.random() < 0.1 else chance.randrange(5_000),
        cost_nusd=chance.choice((None, chance.randrange(10**12))),
        input_tokens=chance.randrange(10**6),
        output_tokens=chance.randrange(10**6),
    )
    return event if event.fanout is not None else msgspec.structs.replace(event, leg=None)


def some_events() -> list[UsageEvent]:
    chance = random.Random(7)
    events = [any_event(chance) for _ in range(400)]
    charged = [msgspec.structs.replace(event, cost_nusd=1, output_tokens=0) for event in events[:20]]
    return [*events, *map(adjustment, events[:20], charged)]


EVENTS = some_events()


def expected(events: list[UsageEvent]) -> dict[str, Any]:
    attempts = [event for event in events if event.kind == "attempt"]
    count = {part: sum(event.leg == part for event in attempts) for part in PARTS}
    legs = [event for event in attempts if event.leg in {"won", "lost", "failed"}]
    ttft_ms = sorted(event.ttft_ms for event in legs if event.ttft_ms is not None)
    return {
        "legs": len(legs),
        "won": count["won"],
        "lost": count["lost"],
        "failed": count["failed"],
        "judged": count["judge"],
        "fused": count["fuser"],
        "win_rate": round(count["won"] / len(legs), 4) if legs else None,
        "mean_ttft_ms": math.floor(sum(ttft_ms) / len(ttft_ms) + 0.5) if ttft_ms else None,
        "p95_ttft_ms": ttft_ms[math.ceil(len(ttft_ms) * 0.95) - 1] if ttft_ms else None,
        "input_tokens": sum(event.input_tokens for event in events),
        "output_tokens": sum(event.output_tokens for event in events),
        "cost": format_usd(sum(event.cost_nusd or 0 for event in events)),
    }


def reckoned(events: list[UsageEvent], *names: str) -> list[dict[str, Any]]:
    """Return what a report must say, grouped by these members."""
    names = ("fanout", "model", *names)
    groups: dict[tuple[Any, ...], list[UsageEvent]] = {}
    for event in events:
        if event.fanout is not None and FROM <= event.occurred_at < TO:
            groups.setdefault(tuple(getattr(event, name) for name in names), []).append(event)
    order = sorted(groups, key=lambda key: tuple(str(part or UUID(int=0)).encode() for part in key))
    return [dict(zip(names, key, strict=True)) | expected(groups[key]) for key in order]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled_url(request, tmp_path_factory, sqlite_template) -> str:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("filled") / "gateway.db"
        shutil.copy(sqlite_template, path)
        made = f"sqlite+aiosqlite:///{path}"
    else:
        server = request.getfixturevalue("postgres_server")
        made = server.new_database(template=server.template("migrated", schema.upgrade))
    asyncio.run(_fill(made))
    return made


async def _fill(url: str) -> None:
    database = Database(url)
    async with database.transaction() as connection:
        await repository.insert_events(connection, EVENTS)
    await database.aclose()


@pytest.fixture
async def reports(filled_url: str) -> AsyncIterator[UsageReports]:
    database = Database(filled_url)
    yield UsageReports(database, clock=ManualClock())
    await database.aclose()


async def every(reports: UsageReports, query: UsageQuery = RANGE, **asked: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await reports.fanouts(COMMAND_LINE, query, limit=3, cursor=cursor, **{"group_by": None, **asked})
        items += page.items
        cursor = page.cursor
        if cursor is None:
            return items


async def test_it_is_what_plain_python_reckons(reports: UsageReports) -> None:
    found = reckoned(EVENTS)
    assert len(found) == 4
    assert all(item["legs"] and item["judged"] for item in found)
    assert await every(reports) == found


@pytest.mark.parametrize(("group_by", "name"), [("organization", "organization_id"), ("team", "team_id")])
async def test_it_is_grouped_by_more_and_pages_hold_each_once(reports: UsageReports, group_by: str, name: str) -> None:
    assert await every(reports, group_by=f"model,{group_by}") == reckoned(EVENTS, name)


async def test_it_is_of_one_organisation_and_of_ones_own(reports: UsageReports) -> None:
    ours, theirs = ORGANIZATIONS
    mine = [event for event in EVENTS if event.organization_id == ours]
    query = msgspec.structs.replace(RANGE, organization_id=ours)
    assert await every(reports, query) == reckoned(mine)
    principal = Principal(kind="admin_key", id="x", name="x", role=Role.VIEWER, organization_id=ours)
    page = await reports.fanouts(principal, RANGE, group_by=None, limit=9)
    assert page.items == reckoned(mine)
    foreign = msgspec.structs.replace(RANGE, organization_id=theirs)
    assert (await reports.fanouts(principal, foreign, group_by=None, limit=9)).items == []


async def test_an_unknown_group_and_anothers_cursor_are_named(reports: UsageReports) -> None:
    with pytest.raises(InvalidRequest, match="unknown group 'fanout'"):
        await every(reports, group_by="fanout")
    page = await reports.fanouts(COMMAND_LINE, RANGE, group_by=None, limit=1)
    with pytest.raises(InvalidRequest, match="not one that this list returned"):
        await reports.fanouts(COMMAND_LINE, RANGE, group_by="team", limit=1, cursor=page.cursor)
