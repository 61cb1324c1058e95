from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from app.domain.keys.secrets import derive_pepper, key_mac, parse_key
from app.domain.tenants.policies import Budget, CacheRules, LimitRule, Limits
from app.domain.tenants.schemas import DEFAULT_ORGANIZATION
from providers.types import Secret

FULL = {
    "name": "full",
    "models": ["echo", "gpt-4o-mini"],
    "expires_at": "2035-01-01T00:00:00+02:00",
    "limits": {
        "requests_per_minute": 600,
        "tokens_per_minute": 200000,
        "concurrency": 50,
        "max_output_tokens": 8192,
        "algorithm": "token_bucket",
        "rules": [
            {"dimension": "output_tokens", "limit": 1000, "window_s": 10, "model": "echo"},
            {"dimension": "cost", "limit": "2.50", "window_s": 3600},
        ],
    },
    "budget": {"amount": "0.10", "period": "total", "on_accounting_down": {"allow": "0.05"}},
    "cache": {"mode": "semantic", "ttl_s": 60, "threshold": 0.9, "scope": "key"},
    "may_route": True,
    "tags": {"team": "blue"},
}


async def test_only_a_name_is_needed(root: httpx.AsyncClient) -> None:
    answer = await root.post("/keys", json={"name": "first"})
    assert answer.status_code == 201
    made = answer.json()
    assert made["organization_id"] == str(DEFAULT_ORGANIZATION)
    assert (made["status"], made["models"], made["limits"], made["budget"]) == ("active", None, None, None)
    assert (made["scopes"], made["tags"], made["may_route"]) == (["inference"], {}, False)
    parsed = parse_key(made["secret"].encode())
    assert parsed == ("inference", made["public_id"])
    assert answer.headers["cache-control"] == "no-store"


async def test_everything_is_kept_and_the_secret_is_shown_once(plane, root: httpx.AsyncClient) -> None:
    made = (await root.post("/keys", json=FULL)).json()
    secret = made.pop("secret")
    read = await root.get(f"/keys/{made['id']}")
    assert read.json() == made
    assert secret not in read.text
    assert made["expires_at"] == "2034-12-31T22:00:00Z"
    assert made["budget"] == FULL["budget"] | {"timezone": "UTC"}
    listed = await root.get("/keys")
    assert listed.json() == {"items": [made], "cursor": None}
    audit = await root.get("/audit")
    assert secret not in audit.text
    record = await plane.services.key_repository.find_by_public_id(made["public_id"])
    assert record is not None
    assert record.limits == Limits(
        requests_per_minute=600,
        tokens_per_minute=200000,
        concurrency=50,
        max_output_tokens=8192,
        algorithm="token_bucket",
        rules=[
            LimitRule(dimension="output_tokens", limit=1000, window_s=10, model="echo"),
            LimitRule(dimension="cost", limit="2.50", window_s=3600),
        ],
    )
    assert record.limits.rules[1].quantity == 2_500_000_000
    assert isinstance(record.budget, Budget)
    assert record.budget.amount_nusd == 100_000_000
    assert record.cache == CacheRules(mode="semantic", ttl_s=60, threshold=0.9, scope="key")


async def test_authentication_finds_the_whole_snapshot_in_one_query(plane, root: httpx.AsyncClient) -> None:
    organization = (await root.post("/organizations", json={"name": "o", "models": ["a", "b"]})).json()
    team = {"name": "t", "organization_id": organization["id"], "limits": {"concurrency": 2}}
    team = (await root.post("/teams", json=team)).json()
    made = (await root.post("/keys", json={"name": "k", "team_id": team["id"], "models": []})).json()
    assert made["organization_id"] == organization["id"]
    record = await plane.services.key_repository.find_by_public_id(made["public_id"])
    assert record is not None
    pepper = derive_pepper(Secret("a master secret of at least 32 bytes"))
    assert record.secret_mac == key_mac(pepper.key, made["secret"].encode())
    assert (record.secret_kid, record.secret_expires_at) == (pepper.kid, None)
    assert (record.models, record.team_models, record.organization_models) == ([], None, ["a", "b"])
    assert record.team_limits == Limits(concurrency=2)
    assert (record.status, record.team_status, record.organization_status) == ("active", "active", "active")
    assert record.team_id == UUID(team["id"])
    assert await plane.services.key_repository.find_by_id(record.key_id) == record
    await root.patch(f"/organizations/{organization['id']}", json={"status": "suspended"})
    again = await plane.services.key_repository.find_by_public_id(made["public_id"])
    assert again.organization_status == "suspended"
    assert await plane.services.key_repository.find_by_public_id("0000000000") is None


async def test_a_key_without_a_team_has_no_team_settings(plane, root: httpx.AsyncClient) -> None:
    made = (await root.post("/keys", json={"name": "k"})).json()
    record = await plane.services.key_repository.find_by_public_id(made["public_id"])
    assert (record.team_id, record.team_status, record.team_models) == (None, None, None)


async def test_patch_tells_absent_from_null(root: httpx.AsyncClient) -> None:
    made = (await root.post("/keys", json=FULL)).json()
    path = f"/keys/{made['id']}"
    patched = (await root.patch(path, json={"budget": None, "models": [], "name": "renamed"})).json()
    assert (patched["budget"], patched["models"], patched["name"]) == (None, [], "renamed")
    assert (patched["limits"], patched["cache"], patched["expires_at"]) == (
        made["limits"],
        made["cache"],
        made["expires_at"],
    )
    assert patched["version"] == 2
    same = (await root.patch(path, json={"name": "renamed"})).json()
    assert same == patched
    assert (await root.patch(path, json={})).json() == patched
    assert (await root.patch(path, json={"expires_at": None, "models": None})).json()["models"] is None
    assert (await root.patch(path, json={"name": None})).status_code == 400
    assert (await root.get(path)).json()["expires_at"] is None


async def test_a_key_moves_only_between_teams_of_its_organization(root: httpx.AsyncClient, world) -> None:
    path = f"/keys/{world.ours['keys']['id']}"
    answer = await root.patch(path, json={"team_id": world.theirs["teams"]["id"]})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_team")
    assert (await root.patch(path, json={"team_id": None})).json()["team_id"] is None
    back = await root.patch(path, json={"team_id": world.ours["teams"]["id"]})
    assert back.json()["team_id"] == world.ours["teams"]["id"]


async def test_team_and_organization_of_a_new_key_must_agree(root: httpx.AsyncClient, world) -> None:
    spec = {"name": "k", "team_id": world.ours["teams"]["id"], "organization_id": world.theirs["organizations"]["id"]}
    assert (await root.post("/keys", json=spec)).json()["errors"][0]["path"] == "team_id"
    assert (await root.post("/keys", json={"name": "k", "team_id": str(uuid4())})).json()["code"] == "unknown_team"
    unknown = await root.post("/keys", json={"name": "k", "organization_id": str(uuid4())})
    assert unknown.json()["code"] == "unknown_organization"


async def test_revoke_is_for_good(plane, root: httpx.AsyncClient) -> None:
    made = (await root.post("/keys", json={"name": "k"})).json()
    path = f"/keys/{made['id']}"
    revoked = await root.post(f"{path}/revoke")
    assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
    assert revoked.json()["revoked_at"] is not None
    assert (await root.post(f"{path}/revoke")).json() == revoked.json()
    for answer in (
        await root.patch(path, json={"status": "active"}),
        await root.post(f"{path}/rotate", json={"grace_s": 0}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "key_revoked")
    assert (await plane.services.key_repository.find_by_public_id(made["public_id"])).status == "revoked"
    assert [item["id"] for item in (await root.get("/keys?status=revoked")).json()["items"]] == [made["id"]]
    assert (await root.get("/keys?status=active")).json()["items"] == []


async def test_a_rotated_secret_works_until_its_grace_ends(plane, root: httpx.AsyncClient) -> None:
    find = plane.services.key_repository.find_by_public_id
    made = (await root.post("/keys", json={"name": "k"})).json()
    first = made["public_id"]
    rotated = (await root.post(f"/keys/{made['id']}/rotate", json={"grace_s": 3600})).json()
    assert rotated["public_id"] != first
    assert rotated["secret"] != made["secret"]
    old, new = await find(first), await find(rotated["public_id"])
    assert old.key_id == new.key_id
    assert old.secret_expires_at == plane.clock.now() + timedelta(hours=1)
    assert new.secret_expires_at is None
    plane.clock.advance(60)
    again = (await root.post(f"/keys/{made['id']}/rotate", json={"grace_s": 36000})).json()
    assert (await find(first)).secret_expires_at == old.secret_expires_at
    plane.clock.advance(7200)
    last = (await root.post(f"/keys/{made['id']}/rotate", json={})).json()
    assert await find(first) is None
    assert (await find(again["public_id"])).secret_expires_at == plane.clock.now()
    assert (await find(last["public_id"])).secret_expires_at is None


async def test_pages_follow_one_another(root: httpx.AsyncClient) -> None:
    names = [f"k{number}" for number in range(7)]
    for name in names:
        await root.post("/keys", json={"name": name})
    seen, cursor, pages = [], None, 0
    while True:
        params = {"limit": 3} | ({} if cursor is None else {"cursor": cursor})
        page = (await root.get("/keys", params=params)).json()
        seen += [item["name"] for item in page["items"]]
        pages += 1
        cursor = page["cursor"]
        if cursor is None:
            break
    assert pages == 3
    assert sorted(seen) == names


async def test_keys_of_a_team_and_an_organization(root: httpx.AsyncClient, world) -> None:
    for name, wanted in (
        ("team_id", world.ours["teams"]["id"]),
        ("organization_id", world.ours["organizations"]["id"]),
    ):
        items = (await root.get("/keys", params={name: wanted})).json()["items"]
        assert [item["id"] for item in items] == [world.ours["keys"]["id"]]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("grace_s", [-1, 2_592_001, 1.5, "1", None])
async def test_a_grace_has_bounds(root: httpx.AsyncClient, grace_s: object) -> None:
    made = (await root.post("/keys", json={"name": "k"})).json()
    answer = await root.post(f"/keys/{made['id']}/rotate", json={"grace_s": grace_s})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "grace_s")


class TestAdminKeys:
    async def test_a_made_key_opens_the_plane_until_it_ends(self, plane, root: httpx.AsyncClient) -> None:
        spec = {"name": "a", "role": "viewer", "expires_at": "2035-01-01T00:00:00Z"}
        made = (await root.post("/admin-keys", json=spec)).json()
        assert parse_key(made["secret"].encode()) == ("admin", made["public_id"])
        path = f"/admin-keys/{made['id']}"
        async with plane.client(made["secret"]) as caller:
            assert (await caller.get("/keys")).status_code == 200
            await root.patch(path, json={"status": "suspended"})
            assert (await caller.get("/keys")).json()["code"] == "key_suspended"
            await root.patch(path, json={"status": "active", "role": "admin"})
            assert (await caller.post("/keys", json={"name": "k"})).status_code == 201
            rotated = (await root.post(f"{path}/rotate", json={"grace_s": 60})).json()
            assert (await caller.get("/keys")).status_code == 200
            plane.clock.advance(61)
            assert (await caller.get("/keys")).json()["code"] == "key_expired"
        async with plane.client(rotated["secret"]) as caller:
            assert (await caller.get("/keys")).status_code == 200
            await root.post(f"{path}/revoke")
            answer = await caller.get("/keys")
            assert (answer.status_code, answer.json()["code"]) == (401, "key_revoked")

    async def test_an_expired_key_opens_nothing(self, plane, root: httpx.AsyncClient) -> None:
        soon = (plane.clock.now() + timedelta(seconds=30)).isoformat()
        made = (await root.post("/admin-keys", json={"name": "a", "role": "viewer", "expires_at": soon})).json()
        plane.clock.advance(31)
        async with plane.client(made["secret"]) as caller:
            assert (await caller.get("/keys")).json()["code"] == "key_expired"

    async def test_whether_any_exists(self, plane, root: httpx.AsyncClient) -> None:
        repository = plane.services.key_repository
        assert not await repository.has_admin_key(plane.clock.now())
        assert not await repository.has_key()
        made = (await root.post("/admin-keys", json={"name": "a", "role": "owner"})).json()
        await root.post("/keys", json={"name": "k"})
        assert await repository.has_admin_key(plane.clock.now())
        assert await repository.has_key()
        await root.post(f"/admin-keys/{made['id']}/revoke")
        assert not await repository.has_admin_key(plane.clock.now())
