"""Requests as administrators see them: within their scope, by pages, and by every filter there is."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from accounting.records import BOUNDS, kept

from app.pipeline.records import Whose
from app.stores.errors import StoreUnavailable

OTHER = Whose(str(uuid4()), str(uuid4()), str(uuid4()))


@pytest.fixture
async def some(plane, world):
    """Ten requests of the key of ours, newest last, each of them a little different."""
    ours = Whose(*(world.ours[kind]["id"] for kind in ("organizations", "teams", "keys")))
    at_ms = plane.clock.now_ns() // 1_000_000
    different = [
        {"model": "other"},
        {"provider": "q"},
        {"status": 429, "error_code": "rate_limit_exceeded"},
        {"cache": "exact"},
        {"took_ns": 90_000_000},
    ]
    made = [kept(ours, at_ms=at_ms - 60_000 - number) for number in range(5)]
    made += [kept(ours, at_ms=at_ms - 70_000 - number, **more) for number, more in enumerate(different)]
    made += [kept(OTHER, at_ms=at_ms - 80_000)]
    await plane.traces.put(made[::-1], BOUNDS)
    return made


async def test_one_is_read_by_who_may_see_it(world, some):
    for caller in ("ours viewer", "installation viewer"):
        found = await world.callers[caller].get(f"/requests/{some[0].id}")
        assert found.status_code == 200
        body = found.json()
        assert (body["id"], body["dry_run"], body["outcome"]) == (some[0].id, False, "answered")
        assert body["key"]["id"] == world.ours["keys"]["id"]
        assert body["layers"] == [
            {"layer": "authentication", "verdict": "passed", "at_ms": 0.0, "took_ms": 0.001, "error_code": None}
        ]
    assert (await world.callers["ours viewer"].get(f"/requests/{some[-1].id}")).status_code == 404
    assert (await world.callers["installation viewer"].get(f"/requests/{some[-1].id}")).status_code == 200


async def test_a_list_is_of_ones_own_scope_newest_first(world, some):
    mine = (await world.callers["ours viewer"].get("/requests", params={"limit": 200})).json()["items"]
    assert {item["key"]["organization_id"] for item in mine} == {world.ours["organizations"]["id"]}
    assert [item["id"] for item in mine] == [world.ours["requests"]["id"], *(each.id for each in some[:-1])]
    all_of_them = (await world.root.get("/requests", params={"limit": 200})).json()["items"]
    assert {world.theirs["requests"]["id"], some[-1].id} <= {item["id"] for item in all_of_them}
    foreign = {"organization_id": OTHER.organization_id}
    assert (await world.callers["ours owner"].get("/requests", params=foreign)).json() == {"items": [], "cursor": None}


async def test_pages_have_all_of_them_once(world, some):
    found, cursor = [], None
    while True:
        params = {"limit": 3, **({} if cursor is None else {"cursor": cursor})}
        page = (await world.callers["ours viewer"].get("/requests", params=params)).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert found == [world.ours["requests"]["id"], *(each.id for each in some[:-1])]


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"model": "other"}, 5),
        ({"provider": "q"}, 6),
        ({"status": 429}, 7),
        ({"error_code": "rate_limit_exceeded"}, 7),
        ({"cache": "exact"}, 8),
        ({"min_duration_ms": 90}, 9),
    ],
)
async def test_each_filter_finds_what_it_names(world, some, params, place):
    found = (await world.callers["ours viewer"].get("/requests", params=params)).json()["items"]
    assert [item["id"] for item in found] == [some[place].id]


async def test_keys_teams_and_times_are_filters_too(plane, world, some):
    viewer = world.callers["installation viewer"]
    for params in ({"key_id": OTHER.key_id}, {"team_id": OTHER.team_id}, {"organization_id": OTHER.organization_id}):
        found = (await viewer.get("/requests", params=params)).json()["items"]
        assert [item["id"] for item in found] == [some[-1].id]
    now = datetime.fromtimestamp(plane.clock.now_ns() / 1e9, UTC)
    params = {"from": (now - timedelta(seconds=75)).isoformat(), "to": (now - timedelta(seconds=65)).isoformat()}
    found = (await viewer.get("/requests", params=params)).json()["items"]
    assert [item["id"] for item in found] == [each.id for each in some[5:10]]


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "from"),
        ({"status": "many"}, "status"),
        ({"status": "99"}, "status"),
        ({"cache": "maybe"}, "cache"),
        ({"min_duration_ms": "-1"}, "min_duration_ms"),
        ({"cursor": "x"}, "cursor"),
        ({"tag": "x"}, "tag"),
    ],
)
async def test_what_is_wrong_is_named(root, params, named):
    answer = await root.get("/requests", params=params)
    assert answer.status_code == 400
    assert named in answer.text


async def test_a_store_that_does_not_answer_is_a_503(plane, root, monkeypatch):
    async def fail(*_args, **_more):
        raise StoreUnavailable("it is down")

    monkeypatch.setattr(plane.traces, "recent", fail)
    monkeypatch.setattr(plane.traces, "find", fail)
    for path in ("/requests", f"/requests/{uuid4()}"):
        answer = await root.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
