"""Usage over the admin API: what is asked, what is refused, who sees what, and the export."""

import csv
import io
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from accounting.events import NOON, make_event

from app.domain.usage import repository
from app.domain.usage.schemas import UsageEvent

RANGE = {"from": "2026-11-23T00:00:00Z", "to": "2026-11-24T00:00:00Z"}
PATHS = ("/usage", "/usage/events", "/usage/export.csv")

before_the_database = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


async def insert(plane: Any, events: list[UsageEvent]) -> None:
    async with plane.database.transaction() as connection:
        await repository.insert_events(connection, events)


async def test_a_request_of_two_attempts_is_one_request(plane: Any, root: httpx.AsyncClient) -> None:
    request = UUID(int=9)
    first = make_event(request_id=request, is_final=False, outcome="error", cost_nusd=None, provider="openai")
    second = make_event(
        request_id=request,
        attempt=2,
        input_tokens=10,
        output_tokens=5,
        cache_read_tokens=3,
        cache_write_tokens=2,
        cost_nusd=150_000,
        tags={"team": "blue"},
    )
    hit = make_event(cost_nusd=0, saved_nusd=150_000, cache_status="exact", usage_source="none")
    await insert(plane, [first, second, hit])
    answer = await root.get("/usage", params=RANGE)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "items": [
            {
                "start": "2026-11-23T00:00:00Z",
                "requests": 2,
                "errors": 0,
                "cache_hits": 1,
                "input_tokens": 10,
                "output_tokens": 5,
                "cache_read_tokens": 3,
                "cache_write_tokens": 2,
                "cost": "0.000150000",
                "saved_cost": "0.000150000",
            }
        ],
        "cursor": None,
    }
    params = RANGE | {"group_by": "provider,key,team,organization,model,tag:team", "interval": "hour"}
    items = (await root.get("/usage", params=params)).json()["items"]
    assert [(item["provider"], item["requests"], item["tag:team"]) for item in items] == [
        ("echo", 1, None),
        ("echo", 1, "blue"),
        ("openai", 0, None),
    ]
    for item in items:
        assert item["key_id"] == str(first.key_id)
        assert item["team_id"] is None
        assert item["organization_id"] == str(first.organization_id)
        assert item["model"] == "echo"
        assert item["start"] == "2026-11-23T12:00:00Z"


async def test_without_a_range_it_is_the_last_thirty_days(plane: Any, root: httpx.AsyncClient) -> None:
    now = plane.clock.now()
    await insert(plane, [make_event(occurred_at=now + timedelta(seconds=1)), make_event(occurred_at=now)])
    await insert(
        plane, [make_event(occurred_at=now - timedelta(days=29)), make_event(occurred_at=now.replace(year=2026))]
    )
    assert (await root.get("/usage")).json()["items"][0]["requests"] == 3
    assert len((await root.get("/usage/events")).json()["items"]) == 3


async def test_days_are_those_of_utc_and_a_plus_may_come_as_a_blank(plane: Any, root: httpx.AsyncClient) -> None:
    await insert(plane, [make_event(occurred_at=NOON + timedelta(days=day)) for day in range(3)])
    answer = await root.get("/usage?from=2026-11-23&to=2026-11-25T13:00:00+01:00&interval=day")
    assert [item["start"] for item in answer.json()["items"]] == ["2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"]


@before_the_database
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "2026-11-24", "to": "2026-11-23"}, "from"),
        ({"from": "2025-01-01", "to": "2026-11-23"}, "from"),
        ({"from": "2020-01-01"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-11-23T12:00:00"}, "from"),
        ({"from": "2026-11-23T12:00:00\x00"}, "from"),
        ({"to": "0001-01-01"}, "to"),
        ({"to": "9999-12-31T23:59:59Z"}, "to"),
        ({"to": "0001-01-01T00:00:00+14:00"}, "to"),
        ({"to": "1e9"}, "to"),
        ({"to": ""}, "to"),
        ({"from_": "2026-11-23"}, "from_"),
        ({"usage_query": "x"}, "usage_query"),
        ({"sort": "1;DROP"}, "sort"),
        ({"organization_id": "x"}, "organization_id"),
        ({"model": "a\x00b"}, "model"),
        ({"provider": "a\nb"}, "provider"),
    ],
)
async def test_what_is_refused_is_named(root: httpx.AsyncClient, path: str, params: dict[str, str], field: str) -> None:
    answer = await root.get(path, params=params)
    assert answer.status_code == 400, answer.text
    assert [fault["path"] for fault in answer.json()["errors"]] == [field]


@before_the_database
@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"group_by": "user"}, "group_by"),
        ({"group_by": "model,(select 1)"}, "group_by"),
        ({"group_by": "tag:"}, "group_by"),
        ({"group_by": "tag:a\x00"}, "group_by"),
        ({"group_by": "tag:" + "x" * 65}, "group_by"),
        ({"group_by": ",".join(f"tag:{number}" for number in range(11))}, "group_by"),
        ({"interval": "minute"}, "interval"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "x" * 9_000}, "cursor"),
        ({"request_id": str(UUID(int=1))}, "request_id"),
    ],
)
async def test_what_a_report_refuses_is_named(root: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
    answer = await root.get("/usage", params=params)
    assert answer.status_code == 400, answer.text
    assert [fault["path"] for fault in answer.json()["errors"]] == [field]


async def test_four_hundred_days_are_not_too_many(root: httpx.AsyncClient) -> None:
    params = {"from": "2025-10-19", "to": "2026-11-23"}
    assert (await root.get("/usage", params=params)).status_code == 200
    empty = await root.get("/usage", params={"from": "2026-11-23", "to": "2026-11-23"})
    assert empty.json()["items"][0]["requests"] == 0


async def test_an_event_has_all_that_is_known(plane: Any, root: httpx.AsyncClient) -> None:
    event = make_event(
        team_id=UUID(int=3),
        details={"audio_input_tokens": 4},
        cache_status="miss",
        cost_nusd=-1,
        kind="adjustment",
        is_final=False,
        input_tokens=-5,
        price_version="v1",
        ttft_ms=7,
        tags={"run": "7"},
        usage_source="orphan",
        fanout="careful",
        leg="won",
    )
    await insert(plane, [event])
    (item,) = (await root.get("/usage/events", params=RANGE)).json()["items"]
    assert item == {
        "id": str(event.event_id),
        "request_id": str(event.request_id),
        "kind": "adjustment",
        "attempt": 1,
        "is_final": False,
        "occurred_at": "2026-11-23T12:00:00Z",
        "organization_id": str(event.organization_id),
        "team_id": str(event.team_id),
        "key_id": str(event.key_id),
        "operation": "chat",
        "dialect": "openai",
        "provider": "echo",
        "model": "echo",
        "upstream_model": "echo",
        "outcome": "ok",
        "status": 200,
        "error_code": None,
        "stream": False,
        "input_tokens": -5,
        "output_tokens": 0,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "details": {"audio_input_tokens": 4},
        "usage_source": "orphan",
        "cost": "-0.000000001",
        "saved_cost": "0.000000000",
        "price_version": "v1",
        "cache_status": "miss",
        "ttft_ms": 7,
        "duration_ms": 12,
        "tags": {"run": "7"},
        "fanout": "careful",
        "leg": "won",
    }


async def test_pages_of_events_follow_each_other(plane: Any, root: httpx.AsyncClient) -> None:
    events = [make_event(occurred_at=NOON + timedelta(seconds=second // 2)) for second in range(25)]
    await insert(plane, events)
    found: list[str] = []
    cursor = None
    while True:
        params = RANGE | {"limit": "10"} | ({} if cursor is None else {"cursor": cursor})
        page = (await root.get("/usage/events", params=params)).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    newest = sorted(events, key=lambda event: (event.occurred_at, event.event_id.bytes), reverse=True)
    assert found == [str(event.event_id) for event in newest]


async def test_the_export_is_a_table_that_a_spreadsheet_can_trust(plane: Any, root: httpx.AsyncClient) -> None:
    texts = ["=HYPERLINK(1)", "+1", "-1", "@x", 'a "quoted", text', "ü"]
    events = [
        make_event(model=text, cost_nusd=-5, input_tokens=-3, occurred_at=NOON - timedelta(seconds=position))
        for position, text in enumerate(texts)
    ]
    await insert(plane, [*events, make_event(occurred_at=NOON + timedelta(days=30))])
    answer = await root.get("/usage/export.csv", params=RANGE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == (
        'attachment; filename="usage-20261123T000000Z-20261124T000000Z.csv"'
    )
    assert answer.content.count(b"\r\n") == len(texts) + 1
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["model"] for row in rows] == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", 'a "quoted", text', "ü"]
    assert {row["cost"] for row in rows} == {"-0.000000005"}
    assert {row["input_tokens"] for row in rows} == {"-3"}
    assert {(row["stream"], row["team_id"], row["tags"]) for row in rows} == {("false", "", "")}
    assert rows[0]["occurred_at"] == "2026-11-23T12:00:00Z"


async def test_an_empty_export_has_its_heading(root: httpx.AsyncClient) -> None:
    answer = await root.get("/usage/export.csv", params=RANGE)
    assert answer.text.startswith("id,request_id,kind,")
    assert answer.text.count("\r\n") == 1


async def test_others_usage_is_as_if_it_were_not_there(plane: Any, world: Any) -> None:
    theirs, ours = (UUID(one["organizations"]["id"]) for one in (world.theirs, world.ours))
    hidden = make_event(organization_id=theirs, key_id=UUID(world.theirs["keys"]["id"]))
    shown = make_event(organization_id=ours, key_id=UUID(world.ours["keys"]["id"]))
    await insert(plane, [hidden, shown])
    viewer, everyone = world.callers["ours viewer"], world.callers["installation viewer"]
    for path in PATHS[1:]:
        assert str(hidden.event_id) not in (await viewer.get(path, params=RANGE)).text
        assert str(shown.event_id) in (await viewer.get(path, params=RANGE)).text
        assert str(hidden.event_id) in (await everyone.get(path, params=RANGE)).text
    for name, value in (("organization_id", theirs), ("key_id", hidden.key_id)):
        for path in PATHS:
            answers = [
                (await viewer.get(path, params=RANGE | {name: str(one)})).text for one in (value, UUID(int=2**99))
            ]
            assert answers[0] == answers[1]
            assert str(value) not in answers[0]
    assert (await viewer.get("/usage", params=RANGE)).json()["items"][0]["requests"] == 1
    assert (await everyone.get("/usage", params=RANGE)).json()["items"][0]["requests"] == 2


async def test_nobody_sees_nothing(world: Any) -> None:
    for path in PATHS:
        assert (await world.callers["nobody"].get(path)).status_code == 401
