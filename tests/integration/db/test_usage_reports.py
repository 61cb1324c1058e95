"""Reports against what plain Python reckons from the same events, wherever the range begins and ends."""

import asyncio
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from accounting.events import NOON, ORGANIZATIONS, TEAMS, counts_of, make_event, make_events
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.db import schema
from app.db.engine import Connection, Database
from app.domain.audit.principal import COMMAND_LINE, Principal, Role
from app.domain.usage import repository
from app.domain.usage.balances import account_total
from app.domain.usage.event_rows import page_events
from app.domain.usage.periods import Period
from app.domain.usage.reports import UsageQuery, UsageReports
from app.domain.usage.schemas import UsageEvent
from app.kernel.clock import ManualClock
from app.kernel.errors import InvalidRequest
from app.kernel.money import format_usd

EVENTS = make_events(600)
KEYS = sorted({event.key_id for event in EVENTS})
FROM, TO = NOON - timedelta(hours=1), NOON + timedelta(hours=8)
MEMBERS = {"key": "key_id", "team": "team_id", "organization": "organization_id"}
GROUPS = ("model", "provider", "key", "team", "organization", "tag:team", "tag:run", "tag:none")

any_moment = st.one_of(
    st.datetimes(FROM.replace(tzinfo=None), TO.replace(tzinfo=None)).map(
        lambda moment: moment.replace(tzinfo=UTC, fold=0)
    ),
    st.sampled_from([event.occurred_at for event in EVENTS]),
    st.sampled_from([FROM + timedelta(hours=hours) for hours in range(9)]),
)
on_one_database = settings(max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled_url(request, tmp_path_factory, sqlite_template) -> str:
    """A database with the events in it, which nobody changes."""
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
    for start in range(0, len(EVENTS), 150):
        async with database.transaction() as connection:
            await repository.insert_events(connection, EVENTS[start : start + 150])
    await database.aclose()


@pytest.fixture
async def filled(filled_url: str) -> AsyncIterator[Database]:
    opened = Database(filled_url)
    yield opened
    await opened.aclose()


@pytest.fixture
def reports(filled: Database) -> UsageReports:
    return UsageReports(filled, clock=ManualClock())


def rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def within(since: datetime, until: datetime) -> list[UsageEvent]:
    return [event for event in EVENTS if since <= event.occurred_at < until]


def reckoned(events: list[UsageEvent], groups: list[str], interval: str, since: datetime) -> list[dict[str, Any]]:
    """Return the items that a report must have, in no particular order."""
    parts: dict[tuple[Any, ...], list[UsageEvent]] = defaultdict(list)
    for event in events:
        hour = event.occurred_at.replace(minute=0, second=0, microsecond=0)
        start = {"none": since, "hour": hour, "day": hour.replace(hour=0)}[interval]
        parts[start, *(_value(event, group) for group in groups)].append(event)
    items = []
    for (start, *values), part in parts.items():
        counts = counts_of(part)
        del counts["reasoning_tokens"]
        counts |= {"cost": format_usd(counts.pop("cost_nusd")), "saved_cost": format_usd(counts.pop("saved_nusd"))}
        named = {MEMBERS.get(group, group): value for group, value in zip(groups, values, strict=True)}
        items.append({**named, "start": start, **counts})
    return items


def _value(event: UsageEvent, group: str) -> Any:
    if group.startswith("tag:"):
        return event.tags.get(group.removeprefix("tag:"))
    return getattr(event, MEMBERS.get(group, group))


def in_any_order(items: list[dict[str, Any]]) -> list[str]:
    return sorted(map(repr, items))


async def report_all(reports: UsageReports, query: UsageQuery, *, limit: int, **how: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await reports.report(COMMAND_LINE, query, limit=limit, cursor=cursor, **how)
        assert len(page.items) <= limit
        items += page.items
        cursor = page.cursor
        if cursor is None:
            return items


@on_one_database
@given(
    ends=st.tuples(any_moment, any_moment).map(sorted),
    groups=st.lists(st.sampled_from(GROUPS), unique=True, max_size=4),
    interval=st.sampled_from(["hour", "day", "none"]),
    limit=st.integers(1, 200),
)
@example(ends=[FROM, TO], groups=[], interval="none", limit=1)
@example(ends=[FROM, TO], groups=["tag:team", "key"], interval="hour", limit=1)
async def test_a_report_is_the_sum_of_its_events(reports: UsageReports, ends, groups, interval, limit) -> None:
    since, until = ends
    query = UsageQuery(since=rfc3339(since), until=rfc3339(until))
    items = await report_all(reports, query, group_by=",".join(groups), interval=interval, limit=limit)
    expected = reckoned(within(since, until), groups, interval, since)
    if not expected and not groups and interval == "none":
        (item,) = items
        assert (item["requests"], item["cost"]) == (0, "0.000000000")
        return
    assert in_any_order(items) == in_any_order(expected)
    assert [item["start"] for item in items] == sorted(item["start"] for item in items)


@on_one_database
@given(
    since=st.none() | any_moment,
    until=st.none() | any_moment,
    scope=st.sampled_from(
        [("organization", one) for one in ORGANIZATIONS]
        + [("team", one) for teams in TEAMS.values() for one in teams if one]
        + [("key", one) for one in KEYS]
    ),
)
async def test_an_accounts_total_is_the_sum_of_its_events(filled: Database, since, until, scope) -> None:
    kind, scope_id = scope
    expected = sum(
        event.cost_nusd or 0
        for event in EVENTS
        if getattr(event, f"{kind}_id") == scope_id
        and (since is None or event.occurred_at >= since)
        and (until is None or event.occurred_at < until)
    )
    async with filled.reading() as connection:
        total = await account_total(connection, scope_kind=kind, scope_id=scope_id, since=since, until=until)
    assert total == expected


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        ({"organization_id": ORGANIZATIONS[1]}, lambda event: event.organization_id == ORGANIZATIONS[1]),
        ({"team_id": UUID(int=21)}, lambda event: event.team_id == UUID(int=21)),
        ({"team_id": UUID(int=0)}, lambda _event: False),
        ({"key_id": KEYS[0]}, lambda event: event.key_id == KEYS[0]),
        (
            {"model": "größer", "provider": "echo"},
            lambda event: event.model == "größer" and event.provider == "echo",
        ),
        ({"model": "' OR 1=1 --"}, lambda _event: False),
    ],
)
async def test_filters(reports: UsageReports, filters, fits) -> None:
    since, until = NOON + timedelta(minutes=20), NOON + timedelta(hours=3, minutes=10)
    query = UsageQuery(since=rfc3339(since), until=rfc3339(until), **filters)
    expected = [event for event in within(since, until) if fits(event)]
    items = await report_all(reports, query, group_by="model", limit=200)
    assert in_any_order(items) == in_any_order(reckoned(expected, ["model"], "none", since))
    found = await reports.events(COMMAND_LINE, query, limit=200)
    assert found.items == newest_first(expected)[:200]


def newest_first(events: list[UsageEvent]) -> list[UsageEvent]:
    return sorted(events, key=lambda event: (event.occurred_at, event.event_id.bytes), reverse=True)


async def test_pages_of_events_are_stable_while_others_are_written(database: Database) -> None:
    reports = UsageReports(database, clock=ManualClock())
    events = [make_event(occurred_at=NOON + timedelta(seconds=second // 3)) for second in range(100)]
    await _insert(database, events)
    query = UsageQuery(since=rfc3339(FROM), until=rfc3339(TO))
    found: list[UsageEvent] = []
    cursor = None
    for number in range(100):
        page = await reports.events(COMMAND_LINE, query, limit=7, cursor=cursor)
        found += page.items
        await _insert(database, [make_event(occurred_at=NOON + timedelta(hours=1, seconds=number))])
        cursor = page.cursor
        if cursor is None:
            break
    assert found == newest_first(events)


async def test_an_export_reads_page_by_page(database: Database) -> None:
    reports = UsageReports(database, clock=ManualClock())
    events = [make_event(occurred_at=NOON + timedelta(seconds=second // 3)) for second in range(1_001)]
    for start in range(0, len(events), 500):
        await _insert(database, events[start : start + 500])
    export = await reports.export(COMMAND_LINE, UsageQuery(since=rfc3339(FROM), until=rfc3339(TO)))
    pages = [list(page) async for page in export.pages]
    assert [len(page) for page in pages] == [500, 500, 1]
    assert [event for page in pages for event in page] == newest_first(events)


async def _insert(database: Database, events: list[UsageEvent]) -> None:
    async with database.transaction() as connection:
        await repository.insert_events(connection, events)


def administrator(organization_id: UUID) -> Principal:
    return Principal(kind="admin_key", id="x", name="x", role=Role.VIEWER, organization_id=organization_id)


async def test_an_organisations_viewer_sees_only_its_own(reports: UsageReports) -> None:
    ours, theirs = ORGANIZATIONS
    viewer = administrator(ours)
    everything = UsageQuery(since=rfc3339(FROM), until=rfc3339(TO))
    page = await reports.report(viewer, everything, group_by="organization,key", limit=200)
    mine = [event for event in EVENTS if event.organization_id == ours]
    assert in_any_order(page.items) == in_any_order(reckoned(mine, ["organization", "key"], "none", FROM))
    their_key = next(event.key_id for event in EVENTS if event.organization_id == theirs)
    their_request = next(event.request_id for event in EVENTS if event.organization_id == theirs)
    absent = UUID(int=2**100)
    for name, value in (("organization_id", theirs), ("key_id", their_key), ("team_id", UUID(int=23))):
        answers = []
        for one in (value, absent):
            query = UsageQuery(since=rfc3339(FROM), until=rfc3339(TO), **{name: one})
            answers.append(
                [
                    await reports.report(viewer, query, group_by=None, limit=10),
                    await reports.report(viewer, query, group_by="model", limit=10),
                    await reports.events(viewer, query, limit=10),
                    [page async for page in (await reports.export(viewer, query)).pages],
                ]
            )
        assert answers[0] == answers[1]
        assert answers[0][0].items[0]["requests"] == 0
        assert [page.items for page in answers[0][1:3]] == [[], []]
        assert answers[0][3] == []
    query = UsageQuery(since=rfc3339(FROM), until=rfc3339(TO), request_id=their_request)
    assert (await reports.events(viewer, query, limit=10)).items == []


async def test_a_cursor_belongs_to_its_grouping_and_keeps_the_range(filled: Database) -> None:
    clock = ManualClock(wall_ns=int(TO.timestamp()) * 10**9)
    reports = UsageReports(filled, clock=clock)
    first = await reports.report(COMMAND_LINE, UsageQuery(), group_by="key", interval="hour", limit=3)
    clock.advance(40 * 86_400)
    rest = await reports.report(
        COMMAND_LINE, UsageQuery(), group_by="key", interval="hour", limit=200, cursor=first.cursor
    )
    assert len(first.items) + len(rest.items) == len(reckoned(EVENTS, ["key"], "hour", FROM))
    for how in ({"group_by": "model", "interval": "hour"}, {"group_by": "key", "interval": "day"}):
        with pytest.raises(InvalidRequest) as caught:
            await reports.report(COMMAND_LINE, UsageQuery(), limit=3, cursor=first.cursor, **how)
        assert caught.value.code == "invalid_cursor"


async def test_long_tags_fit_into_a_cursor(database: Database) -> None:
    reports = UsageReports(database, clock=ManualClock())
    names = [f"{letter * 63}{letter}" for letter in "abcdefgh"]
    await _insert(database, [make_event(tags=dict.fromkeys(names, value * 256)) for value in ("x", "ü")])
    query = UsageQuery(since=rfc3339(FROM), until=rfc3339(TO))
    items = await report_all(reports, query, group_by=",".join(f"tag:{name}" for name in names), limit=1)
    assert {item[f"tag:{names[0]}"] for item in items} == {"x" * 256, "ü" * 256}


async def test_a_tag_that_is_absent_is_not_one_that_is_empty(database: Database) -> None:
    reports = UsageReports(database, clock=ManualClock())
    names = {"a": "", 'quoted "name\\': "1", "$.b": "2"}
    await _insert(database, [make_event(tags=names), make_event()])
    query = UsageQuery(since=rfc3339(FROM), until=rfc3339(TO))
    for name, value in names.items():
        page = await reports.report(COMMAND_LINE, query, group_by=f"tag:{name}", limit=10)
        assert [item[f"tag:{name}"] for item in page.items] == [None, value]


# -- the plans of PostgreSQL ------------------------------------------------------------------------------------------


@pytest.fixture
async def crowded(postgres_server) -> AsyncIterator[Database]:
    """A PostgreSQL database with 20,000 events of some days."""
    url = postgres_server.new_database(template=postgres_server.template("migrated", schema.upgrade))
    database = Database(url)
    events = make_events(20_000, hours=24 * 40)
    for start in range(0, len(events), 500):
        await _insert(database, events[start : start + 500])
    async with database.transaction() as connection:
        await connection.exec_driver_sql("ANALYZE usage_events, usage_hourly, balances")
    yield database
    await database.aclose()
    postgres_server.drop_database(url)


class Explained:
    """A connection that keeps the plans of what is asked over it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect
        self.plans: list[tuple[str, str]] = []

    async def execute(self, statement: Any) -> Any:
        text = str(statement.compile(dialect=self.dialect, compile_kwargs={"literal_binds": True}))
        rows = await self._connection.exec_driver_sql(f"EXPLAIN {text}")
        self.plans.append((text, "\n".join(row[0] for row in rows)))
        return await self._connection.execute(statement)


async def test_no_question_reads_the_whole_table(crowded: Database) -> None:
    since, until = NOON + timedelta(days=3, minutes=7), NOON + timedelta(days=33, minutes=9)
    one = make_events(1, hours=24 * 40)[0]
    filters: tuple[dict[str, Any], ...] = (
        {},
        {"organization_id": ORGANIZATIONS[0]},
        {"key_id": one.key_id},
        {"team_id": UUID(int=23)},
        {"request_id": one.request_id},
        {"organization_id": ORGANIZATIONS[0], "model": "fast", "outcome": "ok"},
    )
    async with crowded.reading() as connection:
        asked: Any = Explained(connection)
        for kind, scope_id in (("organization", ORGANIZATIONS[0]), ("team", UUID(int=23)), ("key", one.key_id)):
            await account_total(asked, scope_kind=kind, scope_id=scope_id, since=since, until=until)
        for where in filters:
            for before in (None, (until - timedelta(days=1), UUID(int=5))):
                await page_events(asked, period=Period(since, until), where=where, before=before, limit=50)
    assert len(asked.plans) == 15
    for statement, plan in asked.plans:
        assert "Seq Scan on usage_events" not in plan, (statement, plan)
        assert "Index" in plan
