"""The pages of requests: what became of each within one's own scope, filtered, paged, and while anything is known."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from accounting.events import make_event
from accounting.records import BOUNDS, kept
from litestar import Litestar

from app.domain.usage import repository
from app.pipeline.records import Whose
from app.stores.errors import StoreUnavailable
from app.stores.traces import KeptTrace

PAGES = "https://admin"
HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}"
UUIDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ROWS = re.compile(r'<th scope="row"><a href="/requests/([0-9a-f-]{36})">')
pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture
def plane(plane: Any, pages_app: Litestar) -> Any:
    return replace(plane, app=pages_app)


@pytest.fixture
def ours(world: Any) -> Whose:
    return Whose(*(world.ours[kind]["id"] for kind in ("organizations", "teams", "keys")))


async def keep(plane: Any, *traces: KeptTrace) -> None:
    await plane.traces.put(traces, BOUNDS)


def now_ms(plane: Any) -> int:
    return int(plane.clock.now_ns() // 1_000_000)


async def charge(plane: Any, trace: KeptTrace, whose: Whose, **more: Any) -> None:
    event = make_event(
        request_id=UUID(trace.id),
        organization_id=UUID(whose.organization_id),
        team_id=None if whose.team_id is None else UUID(whose.team_id),
        key_id=UUID(whose.key_id),
        occurred_at=datetime.fromtimestamp(now_ms(plane) / 1000, UTC) - timedelta(minutes=1),
        **more,
    )
    async with plane.database.transaction() as connection:
        await repository.insert_events(connection, [event])


async def rows(client: httpx.AsyncClient, **params: Any) -> list[str]:
    page = await client.get(f"{PAGES}/requests", params=params)
    assert page.status_code == 200, page.text
    return ROWS.findall(page.text)


async def test_a_list_is_of_ones_own_scope_newest_first_refused_ones_too(plane, world, ours) -> None:
    refused = kept(ours, at_ms=now_ms(plane) - 10, status=429, error_code="rate_limit_exceeded")
    older = kept(ours, at_ms=now_ms(plane) - 50)
    await keep(plane, older, refused)
    mine = [world.ours["requests"]["id"], refused.id, older.id]
    assert await rows(world.callers["ours viewer session"]) == mine
    assert set(await rows(world.callers["installation viewer session"])) == {*mine, world.theirs["requests"]["id"]}
    foreign = world.theirs["organizations"]["id"]
    assert await rows(world.callers["ours owner session"], organization_id=foreign) == []
    assert await rows(world.root, organization_id=foreign) == [world.theirs["requests"]["id"]]


async def test_pages_have_all_of_them_once(plane, world, ours) -> None:
    made = [kept(ours, at_ms=now_ms(plane) - 1 - number, model=HOSTILE) for number in range(120)]
    await keep(plane, *made[::-1])
    found, path = [], f"{PAGES}/requests?model={httpx.QueryParams({'': HOSTILE})}".replace("model==", "model=")
    while path:
        page = (await world.callers["ours viewer session"].get(path)).text
        found += ROWS.findall(page)
        more = re.search(r'<a class="button" href="([^"]*)">Older ones', page)
        path = PAGES + more[1].replace("&amp;", "&") if more else ""
    assert found == [each.id for each in made]


@pytest.mark.parametrize(
    ("params", "more"),
    [
        ({"model": "other"}, {"model": "other"}),
        ({"provider": "q"}, {"provider": "q"}),
        ({"status": "429"}, {"status": 429, "error_code": "x"}),
        ({"error_code": "x"}, {"status": 429, "error_code": "x"}),
        ({"cache": "exact"}, {"cache": "exact"}),
        ({"min_duration_ms": "90"}, {"took_ns": 90_000_000}),
    ],
)
async def test_each_filter_finds_what_it_names_and_a_blank_one_says_nothing(plane, world, ours, params, more) -> None:
    wanted = kept(ours, at_ms=now_ms(plane) - 10, **more)
    await keep(plane, wanted)
    blanks = dict.fromkeys(("model", "provider", "status", "error_code", "cache", "min_duration_ms", "from", "to"), "")
    assert await rows(world.callers["ours viewer session"], **(blanks | params)) == [wanted.id]


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"status": "x"}, "status"),
        ({"min_duration_ms": "-1"}, "min_duration_ms"),
        ({"cache": "x"}, "cache"),
        ({"key_id": "x"}, "key_id"),
        ({"organization_id": "x"}, "organization_id"),
        ({"from": "x"}, "from"),
        ({"cursor": "x"}, "cursor"),
        ({"sort": "x"}, "sort"),
    ],
)
async def test_a_filter_that_cannot_be_read_is_named(world, params, named) -> None:
    page = await world.root.get(f"{PAGES}/requests", params=params)
    assert page.status_code == 400
    assert named in page.text


async def test_one_of_ours_is_told_and_one_of_theirs_is_as_absent(plane, world, ours) -> None:
    client = world.callers["ours viewer session"]
    page = await client.get(f"{PAGES}/requests/{world.ours['requests']['id']}")
    assert page.status_code == 200
    assert "Where its time went" in page.text
    assert "In the ledger" not in page.text
    absent = kept(ours, at_ms=now_ms(plane)).id
    theirs = world.theirs["requests"]["id"]
    said = [(await client.get(f"{PAGES}/requests/{each}")) for each in (absent, theirs)]
    assert [each.status_code for each in said] == [404, 404]
    assert UUIDS.sub("", said[0].text) == UUIDS.sub("", said[1].text)
    assert (await world.root.get(f"{PAGES}/requests/{theirs}")).status_code == 200


async def test_what_is_no_longer_kept_is_told_as_far_as_the_ledger_knows(plane, world, ours) -> None:
    gone = kept(ours, at_ms=now_ms(plane) - 10)
    await charge(plane, gone, ours, model=HOSTILE, upstream_model=HOSTILE, tags={"a": HOSTILE})
    client = world.callers["ours viewer session"]
    page = await client.get(f"{PAGES}/requests/{gone.id}")
    assert page.status_code == 200
    assert "no longer kept" in page.text
    assert "Attempt 1" in page.text
    assert "<img" not in page.text
    assert gone.id in (await client.get(f"{PAGES}/requests/ledger")).text
    assert (await world.root.get(f"{PAGES}/requests/{gone.id}")).status_code == 200


async def test_of_theirs_the_ledger_tells_nothing_either(plane, world) -> None:
    theirs = Whose(*(world.theirs[kind]["id"] for kind in ("organizations", "teams", "keys")))
    gone = kept(theirs, at_ms=now_ms(plane) - 10)
    await charge(plane, gone, theirs)
    client = world.callers["ours owner session"]
    assert (await client.get(f"{PAGES}/requests/{gone.id}")).status_code == 404
    assert gone.id not in (await client.get(f"{PAGES}/requests/ledger")).text


async def test_without_the_store_of_traces_the_ledger_still_tells(plane, world, ours, monkeypatch) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    gone = kept(ours, at_ms=now_ms(plane) - 10)
    await charge(plane, gone, ours)
    monkeypatch.setattr(plane.traces, "recent", away)
    monkeypatch.setattr(plane.traces, "find", away)
    listed = await world.root.get(f"{PAGES}/requests")
    assert listed.status_code == 200
    assert "does not answer" in listed.text
    told = await world.root.get(f"{PAGES}/requests/{gone.id}")
    assert told.status_code == 200
    assert "does not answer" in told.text
    assert (await world.root.get(f"{PAGES}/requests/{uuid4()}")).status_code in {404, 503}
    assert (await world.root.get(f"{PAGES}/requests/{world.ours['requests']['id']}")).status_code == 503


async def test_hostile_names_are_text(plane, world, ours) -> None:
    said = kept(ours, at_ms=now_ms(plane), model=HOSTILE, provider=HOSTILE, dropped=[HOSTILE], error_code=HOSTILE)
    await keep(plane, said)
    for path in ("/requests", f"/requests/{said.id}"):
        page = await world.root.get(PAGES + path)
        assert page.status_code == 200
        assert "<img" not in page.text
        assert "&lt;img src=x" in page.text
        assert " style=" not in page.text
