"""What the dashboard asks of the ledger, with five million events in PostgreSQL: soon, and by an index."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from servers import postgres

from app.api.dashboard.ranges import RANGES, range_of
from app.db import schema
from app.db.engine import Database
from app.domain.audit.principal import COMMAND_LINE, Principal, Role
from app.domain.usage.reports import UsageQuery, UsageReports
from app.kernel.clock import ManualClock

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

EVENTS = 5_000_000
P95_S = 0.3
TIMES = 20
NOW = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)
ORGANIZATION = UUID("00000000-0000-7000-8000-000000000003")
KEY = UUID("00000000-0000-7000-9000-000000000003")
TEAM = UUID("00000000-0000-7000-a000-000000000003")
SQL = Path(__file__).parent
VISITORS = {
    "installation": COMMAND_LINE,
    "organization": Principal(kind="session", id="x", name="x", role=Role.VIEWER, organization_id=ORGANIZATION),
}
Ask = Callable[[UsageReports, Principal], Awaitable[Any]]


def _of_overview() -> dict[str, Ask]:
    found: dict[str, Ask] = {}
    for name in RANGES:
        shown = range_of(name, now=NOW)
        found |= {
            f"totals {name}": lambda reports, who, r=shown: reports.report(who, r.query, group_by=None, limit=1),
            f"series {name}": lambda reports, who, r=shown: reports.report(
                who, r.query, group_by=None, interval=r.interval, limit=200
            ),
            f"latency {name}": lambda reports, who, r=shown: reports.latency(
                who, r.query, intervals=r.latency_intervals
            ),
            f"models {name}": lambda reports, who, r=shown: reports.report(who, r.query, group_by="model", limit=200),
        }
    return found


FILTERS: dict[str, dict[str, Any]] = {
    "all": {},
    "a model": {"model": "model 3"},
    "a rare model": {"model": "rare model"},
    "a model that is not there": {"model": "none"},
    "a provider": {"provider": "provider 3"},
    "a rare provider": {"provider": "rare provider"},
    "a key": {"key_id": KEY},
    "a team": {"team_id": TEAM},
    "a model of a key": {"key_id": KEY, "model": "model 3"},
    "a rare model of a provider": {"model": "rare model", "provider": "provider 3"},
}
"""What the pages can be filtered by; what is rare is far back, and what is not there is looked for to the end."""
OUTCOMES: dict[str, dict[str, Any]] = {
    "failures": {"outcome": "error"},
    "rare failures": {"outcome": "cancelled"},
    "an outcome that is not there": {"outcome": "none"},
    "failures of a model": {"outcome": "error", "model": "model 7"},
    "rare failures of a key": {"outcome": "cancelled", "key_id": KEY},
}
GROUPS = ("model", "provider", "key", "team", "organization", "tag:project", "model,tag:project")
SEVERAL = {"since": "2026-11-01T10:30:00Z", "until": "2026-11-20T20:10:00Z"}
"""A range whose ends are no whole hours."""
TWO_DAYS = {"since": "2026-11-24T23:30:00Z", "until": "2026-11-26T23:30:00Z"}
"""The days around a request that has just been made."""


def _events(fields: dict[str, Any]) -> Ask:
    query = UsageQuery(**fields)
    return lambda reports, who: reports.events(who, query, limit=50)


def _report(fields: dict[str, Any], *, group_by: str = "model", interval: str = "none") -> Ask:
    query = UsageQuery(**fields)
    return lambda reports, who: reports.report(who, query, group_by=group_by, interval=interval, limit=100)


def _fanouts(fields: dict[str, Any], *, group_by: str | None = None) -> Ask:
    query = UsageQuery(**fields)
    return lambda reports, who: reports.fanouts(who, query, group_by=group_by, limit=50)


def _of_requests() -> dict[str, Ask]:
    asked = FILTERS | OUTCOMES | {"a range": SEVERAL, "a rare model in a range": SEVERAL | {"model": "rare model"}}
    found = {f"requests of {name}": _events(fields) for name, fields in asked.items()}
    return found | {"one request": _one_request, "one that is not there": _events(TWO_DAYS | {"request_id": KEY})}


async def _one_request(reports: UsageReports, who: Principal) -> None:
    """Ask for the newest one as its page does: by its id, around the day that it came."""
    newest = (await reports.events(who, UsageQuery(**TWO_DAYS), limit=1)).items[0].request_id
    assert (await reports.events(who, UsageQuery(**TWO_DAYS, request_id=newest), limit=200)).items


def _of_usage() -> dict[str, Ask]:
    """Return what the usage explorer asks for; its default is a range of thirty days."""
    asked = FILTERS | {"a range": SEVERAL}
    return {
        **{f"usage of {name}": _report(fields, interval="day") for name, fields in asked.items()},
        **{f"usage by {name}": _report({}, group_by=name) for name in GROUPS},
        "usage by model and hour": _report({}, interval="hour"),
        "usage by key and day": _report({}, group_by="key", interval="day"),
        "usage by tag and day": _report({}, group_by="tag:project", interval="day"),
    }


def _of_fanouts() -> dict[str, Ask]:
    asked = {name: FILTERS[name] for name in ("all", "a model", "a key", "a team")}
    found = {f"fan-outs of {name}": _fanouts(fields) for name, fields in asked.items()}
    return found | {"fan-outs by key": _fanouts({}, group_by="key")}


QUERIES: dict[str, Ask] = {
    **_of_overview(),
    **_of_requests(),
    **_of_usage(),
    **_of_fanouts(),
    "cache": lambda reports, who: reports.cache_counts(who, UsageQuery(organization_id=ORGANIZATION)),
}


@pytest.fixture(scope="module")
def filled_url(postgres_server: postgres.Postgres) -> str:
    url = postgres_server.new_database(template=postgres_server.template("migrated", schema.upgrade))
    asyncio.run(_fill(url))
    return url


async def _fill(url: str) -> None:
    """Fill it past our own pool, whose statements may not take that long."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute((SQL / "fill_events.sql").read_text().replace(":events", str(EVENTS)))
    await connection.execute((SQL / "fill_hours.sql").read_text())
    await connection.execute("VACUUM ANALYZE usage_events")
    await connection.execute("VACUUM ANALYZE usage_hourly")
    await connection.close()


@pytest.fixture
async def database(filled_url: str) -> AsyncIterator[Database]:
    made = Database(filled_url)
    yield made
    await made.aclose()


async def _scans(database: Database) -> int:
    async with database.transaction() as connection:
        await connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    await asyncio.sleep(1.5)
    async with database.reading() as connection:
        row = await connection.exec_driver_sql(
            "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'usage_events'"
        )
        return int(row.scalar_one())


@pytest.mark.parametrize("visitor", VISITORS)
@pytest.mark.parametrize("name", QUERIES)
async def test_a_panel_is_there_soon_and_by_an_index(database, name, visitor):
    reports = UsageReports(database, clock=ManualClock(int(NOW.timestamp()) * 1_000_000_000))
    before = await _scans(database)
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        await QUERIES[name](reports, VISITORS[visitor])
        took.append(time.perf_counter() - started)
    assert sorted(took)[TIMES * 95 // 100 - 1] <= P95_S, sorted(took)
    assert await _scans(database) == before
