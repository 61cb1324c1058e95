"""The cache over the admin API: what is told of it to whom, what is purged, and what is refused."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from accounting.events import NOON, make_event

from app.cache.shadow import count_of
from app.domain.tenants.schemas import DEFAULT_ORGANIZATION
from app.domain.usage import repository
from app.domain.usage.entries import partition_of
from app.settings.model import Settings
from app.settings.policy import CacheSettings
from app.stores.cache import Kept, Owner, Place
from app.stores.errors import StoreUnavailable

before_the_database = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
RANGE = {"from": "2026-11-23T00:00:00Z", "to": "2026-11-24T00:00:00Z"}
TEAM, KEY = uuid4(), uuid4()


def owner_of(organization: UUID = DEFAULT_ORGANIZATION) -> Owner:
    return Owner(partition_of(organization), organization.hex)


async def keep(plane: Any, key: int, *, organization: UUID = DEFAULT_ORGANIZATION, scope: str = "", **said: Any) -> str:
    """Keep an answer; return its id."""
    place = Place(owner_of(organization), scope or f"organization:{organization.hex}", bytes([key]) * 32)
    values = {"payload": b"x" * 100, "model": "m", "tags": (), "created_ms": 0, "ttl_ms": 60_000}
    assert await plane.cache.put(place, Kept(**values | said), most_bytes=1 << 20)
    return place.entry_id


async def purged(client: httpx.AsyncClient, **body: Any) -> int:
    answer = await client.post("/cache/purge", json=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["purged"])


async def entries(client: httpx.AsyncClient) -> int:
    return int((await client.get("/cache")).json()["kept"]["entries"])


# -- what is told -----------------------------------------------------------------------------------------------------


async def test_an_organization_that_never_used_it(root: httpx.AsyncClient) -> None:
    found = (await root.get("/cache", params=RANGE)).json()
    assert found == {
        "organization_id": str(DEFAULT_ORGANIZATION),
        "mode": "off",
        "mode_source": "config",
        "scope": "organization",
        "ttl_s": 3600,
        "embedder": {"name": "static", "id": "static-1"},
        "threshold": {"value": 0.8, "source": "calibrated"},
        "use": {
            "since": "2026-11-23T00:00:00Z",
            "until": "2026-11-24T00:00:00Z",
            "exact": 0,
            "semantic": 0,
            "coalesced": 0,
            "misses": 0,
            "bypassed": 0,
            "saved_cost": "0.000000000",
        },
        "kept": {"entries": 0, "size_bytes": 0, "most_bytes": 64 << 20},
        "shadow": {
            "steps": [],
            "overall": {"compared": 0, "wrong": 0, "rate": None, "rate_at_most": 1.0},
            "from_threshold": {"compared": 0, "wrong": 0, "rate": None, "rate_at_most": 1.0},
            "target_false_hits": None,
            "target_threshold": None,
        },
    }


async def test_use_is_what_the_ledger_says_of_the_range(plane: Any, root: httpx.AsyncClient) -> None:
    statuses = ["exact", "exact", "semantic", "coalesced", "miss", "miss", "miss", "bypass", None]
    ours: dict[str, Any] = {"organization_id": DEFAULT_ORGANIZATION}
    events = [
        make_event(cache_status=status, saved_nusd=7 if status in {"exact", "semantic", "coalesced"} else 0, **ours)
        for status in statuses
    ]
    retried = make_event(cache_status="miss", is_final=False, outcome="error", **ours)
    others = [
        make_event(cache_status="exact", saved_nusd=1_000),
        make_event(cache_status="exact", saved_nusd=1_000, occurred_at=NOON.replace(year=2025), **ours),
    ]
    async with plane.database.transaction() as connection:
        await repository.insert_events(connection, [*events, retried, *others])
    use = (await root.get("/cache", params=RANGE)).json()["use"]
    assert {name: use[name] for name in ("exact", "semantic", "coalesced", "misses", "bypassed")} == {
        "exact": 2,
        "semantic": 1,
        "coalesced": 1,
        "misses": 3,
        "bypassed": 1,
    }
    assert use["saved_cost"] == "0.000000028"
    report = (await root.get("/usage", params=RANGE | {"organization_id": str(DEFAULT_ORGANIZATION)})).json()
    assert report["items"][0]["cache_hits"] == use["exact"] + use["semantic"] + use["coalesced"]
    assert report["items"][0]["saved_cost"] == use["saved_cost"]


@before_the_database
async def test_the_shadow_report_says_how_often_a_hit_would_have_been_wrong(
    plane: Any, root: httpx.AsyncClient
) -> None:
    plane.cache.count(owner_of(), {count_of(0.82, agrees=True): 30, count_of(0.82, agrees=False): 10})
    plane.cache.count(owner_of(), {count_of(0.95, agrees=True): 60, "something else": 5})
    shadow = (await root.get("/cache")).json()["shadow"]
    assert shadow["steps"] == [
        {"similarity": 0.82, "compared": 40, "agreed": 30},
        {"similarity": 0.95, "compared": 60, "agreed": 60},
    ]
    assert shadow["overall"] == {"compared": 100, "wrong": 10, "rate": 0.1, "rate_at_most": 0.176223}
    assert shadow["overall"] == shadow["from_threshold"]
    plane.settings = Settings(cache=CacheSettings(threshold=0.9))
    found = (await root.get("/cache")).json()
    assert found["threshold"] == {"value": 0.9, "source": "setting"}
    assert found["shadow"]["from_threshold"] == {"compared": 60, "wrong": 0, "rate": 0.0, "rate_at_most": 0.059629}


@before_the_database
async def test_the_threshold_follows_a_target(plane: Any, root: httpx.AsyncClient) -> None:
    plane.cache.count(owner_of(), {count_of(0.82, agrees=True): 30, count_of(0.82, agrees=False): 10})
    plane.cache.count(owner_of(), {count_of(0.95, agrees=True): 60})
    plane.settings = Settings(cache=CacheSettings(mode="semantic", target_false_hits=0.01))
    found = (await root.get("/cache")).json()
    assert found["threshold"] == {"value": 0.83, "source": "followed"}
    assert (found["shadow"]["target_false_hits"], found["shadow"]["target_threshold"]) == (0.01, 0.83)
    assert found["shadow"]["from_threshold"]["wrong"] == 0
    plane.settings = Settings(cache=CacheSettings(mode="semantic", target_false_hits=0.2))
    found = (await root.get("/cache")).json()
    assert found["threshold"] == {"value": 0.8, "source": "calibrated"}
    assert found["shadow"]["target_threshold"] == 0.8


@before_the_database
async def test_the_setting_is_the_nearest_but_forbidden_wins(plane: Any, root: httpx.AsyncClient) -> None:
    path = f"/organizations/{DEFAULT_ORGANIZATION}"
    own = {"mode": "shadow", "ttl_s": 60, "threshold": 0.97, "scope": "team"}
    assert (await root.patch(path, json={"cache": own})).status_code == 200
    found = (await root.get("/cache")).json()
    assert {name: found[name] for name in ("mode", "mode_source", "scope", "ttl_s")} == {
        "mode": "shadow",
        "mode_source": "organization",
        "scope": "team",
        "ttl_s": 60,
    }
    assert found["threshold"] == {"value": 0.97, "source": "setting"}
    plane.settings = Settings(cache=CacheSettings(mode="forbidden"))
    found = (await root.get("/cache")).json()
    assert (found["mode"], found["mode_source"]) == ("forbidden", "config")


@before_the_database
async def test_whoever_is_bound_to_an_organization_sees_only_that_one(plane: Any, world: Any) -> None:
    ours, theirs = (UUID(each["organizations"]["id"]) for each in (world.ours, world.theirs))
    await keep(plane, 1, organization=ours)
    await keep(plane, 2, organization=theirs)
    await keep(plane, 3, organization=theirs)
    viewer, admin = world.callers["ours viewer"], world.callers["ours admin"]
    found = (await viewer.get("/cache")).json()
    assert (found["organization_id"], found["kept"]["entries"]) == (str(ours), 1)
    for unseen in (theirs, uuid4()):
        assert (await viewer.get("/cache", params={"organization_id": str(unseen)})).status_code == 404
        refused = await admin.post("/cache/purge", json={"organization_id": str(unseen), "all": True})
        assert (refused.status_code, refused.json()["code"]) == (400, "unknown_organization")
    assert await purged(admin, all=True) == 1
    seen = await world.root.get("/cache", params={"organization_id": str(theirs)})
    assert seen.json()["kept"]["entries"] == 2, "nothing of another organisation is touched"


@before_the_database
async def test_what_only_the_store_knows_is_null_while_it_does_not_answer(
    plane: Any, root: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("down")

    for name in ("counts", "purge"):
        monkeypatch.setattr(plane.cache, name, down)
    found = (await root.get("/cache")).json()
    assert (found["kept"], found["shadow"]) == (None, None)
    assert found["threshold"]["value"] == 0.8
    refused = await root.post("/cache/purge", json={"all": True})
    assert (refused.status_code, refused.json()["code"]) == (503, "cache_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert (await root.get("/audit", params={"object_kind": "cache"})).json()["items"] == []


@before_the_database
@pytest.mark.parametrize(
    ("params", "field"),
    [({"from": "yesterday"}, "from"), ({"organization_id": "x"}, "organization_id"), ({"x": "1"}, "x")],
)
async def test_what_cannot_be_asked_is_named(root: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
    answer = await root.get("/cache", params=params)
    assert (answer.status_code, [fault["path"] for fault in answer.json()["errors"]]) == (400, [field])


# -- what is purged ---------------------------------------------------------------------------------------------------


@before_the_database
@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"id": "01" * 16}, 5),
        ({"entry_id": "01" * 16}, 5),
        ({"id": "01" * 16, "entry_id": "01" * 16}, 5),
        ({"id": "FF" * 16}, 6),
        ({"model": "other"}, 5),
        ({"tag": "team=blue"}, 4),
        ({"scope": "organization"}, 2),
        ({"scope": f"team:{TEAM}"}, 5),
        ({"scope": f"key:{KEY.hex}"}, 5),
        ({"tag": "team=blue", "model": "other"}, 6),
        ({"tag": "team=blue", "scope": f"team:{TEAM}"}, 5),
        ({"all": True}, 0),
    ],
)
async def test_all_that_is_named_must_match(
    plane: Any, root: httpx.AsyncClient, body: dict[str, Any], left: int
) -> None:
    await keep(plane, 1)
    await keep(plane, 2, model="other")
    await keep(plane, 3, tags=("team=blue", "run=1"))
    await keep(plane, 4)
    await keep(plane, 5, tags=("team=blue",), scope=f"team:{TEAM.hex}")
    await keep(plane, 6, scope=f"key:{KEY.hex}")
    assert await purged(root, **body) == 6 - left
    assert await entries(root) == left
    assert await purged(root, **body) == 0, "again it does no harm"


@before_the_database
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "all"),
        ({"all": False}, "all"),
        ({"organization_id": str(DEFAULT_ORGANIZATION)}, "all"),
        ({"all": True, "model": "m"}, "all"),
        ({"id": ""}, "id"),
        ({"id": "01" * 16, "entry_id": "02" * 16}, "entry_id"),
        ({"entry_id": ""}, "entry_id"),
        ({"entry_id": "01" * 15}, "entry_id"),
        ({"entry_id": "*"}, "entry_id"),
        ({"model": ""}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"tag": ""}, "tag"),
        ({"tag": "blue"}, "tag"),
        ({"tag": "=blue"}, "tag"),
        ({"tag": "team=" + "x" * 257}, "tag"),
        ({"scope": ""}, "scope"),
        ({"scope": "team"}, "scope"),
        ({"scope": "team:x"}, "scope"),
        ({"scope": f"organization:{DEFAULT_ORGANIZATION}"}, "scope"),
        ({"models": "m"}, "models"),
        ({"all": "yes"}, "all"),
        ({"organization_id": "x"}, "organization_id"),
    ],
)
async def test_a_forgotten_or_broken_filter_empties_nothing(
    plane: Any, root: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    await keep(plane, 1)
    answer = await root.post("/cache/purge", json=body)
    assert (answer.status_code, [fault["path"] for fault in answer.json()["errors"]]) == (400, [field]), answer.text
    assert await entries(root) == 1


async def test_a_purge_is_audited_and_a_repeated_one_is_answered_as_before(plane: Any, root: httpx.AsyncClient) -> None:
    await keep(plane, 1)
    headers = {"idempotency-key": "once"}
    first = await root.post("/cache/purge", json={"model": "m"}, headers=headers)
    await keep(plane, 2)
    again = await root.post("/cache/purge", json={"model": "m"}, headers=headers)
    assert first.json() == again.json() == {"organization_id": None, "purged": 1}
    assert again.headers["idempotent-replayed"] == "true"
    assert await entries(root) == 1
    (entry,) = (await root.get("/audit", params={"object_kind": "cache", "action": "purge"})).json()["items"]
    assert (entry["object_id"], entry["organization_id"]) == (str(DEFAULT_ORGANIZATION),) * 2
    assert (entry["before"], entry["after"]) == (None, {"named": {"model": "m"}, "purged": 1})
    assert plane.told == [("cache", DEFAULT_ORGANIZATION)]
    assert (await plane.services.auditor.verify()).broken is None


@pytest.mark.parametrize("body", [{"all": True}, {"model": "m"}, {"scope": "organization"}, {"id": "07" * 16}])
async def test_who_is_of_the_installation_purges_all_organizations_or_the_one_named(
    plane: Any, root: httpx.AsyncClient, world: Any, body: dict[str, Any]
) -> None:
    """And whoever is of one organisation purges that."""
    ours, theirs = (UUID(each["organizations"]["id"]) for each in (world.ours, world.theirs))
    everywhere = (DEFAULT_ORGANIZATION, ours, theirs)

    async def left() -> list[int]:
        views = [await root.get("/cache", params={"organization_id": str(each)}) for each in everywhere]
        return [view.json()["kept"]["entries"] for view in views]

    for organization in everywhere:
        await keep(plane, 7, organization=organization)
    admin = world.callers["ours admin"]
    assert (await admin.post("/cache/purge", json=body)).json() == {"organization_id": str(ours), "purged": 1}
    assert await left() == [1, 0, 1]
    named = {"organization_id": str(theirs)}
    assert (await root.post("/cache/purge", json=body | named)).json() == named | {"purged": 1}
    assert await left() == [1, 0, 0]
    for organization in (ours, theirs):
        await keep(plane, 7, organization=organization)
    assert (await root.post("/cache/purge", json=body)).json() == {"organization_id": None, "purged": 3}
    assert await left() == [0, 0, 0]
    entries = (await root.get("/audit", params={"object_kind": "cache"})).json()["items"]
    assert {UUID(each["organization_id"]) for each in entries[:3]} == {theirs, ours, DEFAULT_ORGANIZATION}
