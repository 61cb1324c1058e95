"""Who may do what: every route under every role, others' objects, and no way to more rights."""

from uuid import uuid4

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from app.guards.admin import OPEN

OF_THE_INSTALLATION = ("prices", "ensembles", "providers", "models")
READS = {"GET", "HEAD"}
BODIES: dict[str, dict[str, object]] = {
    "create_organization": {"name": "x"},
    "patch_organization": {"name": "x"},
    "create_team": {"name": "x"},
    "patch_team": {"name": "x"},
    "create_key": {"name": "x"},
    "patch_key": {"name": "x"},
    "rotate_key": {},
    "create_admin_key": {"name": "x", "role": "viewer"},
    "patch_admin_key": {"name": "x"},
    "rotate_admin_key": {},
    "create_grant": {"matches": "subject", "value": "x", "role": "viewer"},
    "patch_grant": {"role": "viewer"},
    "put_limits": {"concurrency": 7},
    "put_budget": {"amount": "7"},
    "create_price": {"model": "x", "input": "1"},
    "patch_price": {"input": "2"},
    "create_ensemble": {"name": "x", "strategy": "race", "members": ["echo"]},
    "patch_ensemble": {"min_success": 1},
    "purge_cache": {"model": "x"},
    "create_provider": {"name": "x", "adapter": "echo"},
    "patch_provider": {"timeouts": None},
    "create_model": {"name": "x", "targets": [{"provider": "x", "model": "echo"}]},
    "patch_model": {"retries": 1},
}
SCOPES = {"organization": "organizations", "team": "teams", "key": "keys"}


SESSIONS_OWN = {"/admin/v1/session", "/admin/v1/session/oidc/start", "/admin/v1/session/oidc/callback"}
"""What anybody may call, or only whoever has a session; tested beside sessions."""


def handlers(plane) -> list[tuple[str, str, HTTPRouteHandler]]:
    return [
        (method, path.replace("{scope_kind:str}", scope), handler)
        for path, methods in plane.app.route_handler_method_map.items()
        if path.startswith("/admin/v1") and path not in SESSIONS_OWN
        for method, handler in methods.items()
        if isinstance(handler, HTTPRouteHandler) and method not in {"OPTIONS", "HEAD"}
        for scope in (SCOPES if "{scope_kind:str}" in path else [""])
    ]


def target_of(path: str, objects: dict[str, dict[str, str]]) -> str:
    parts = path.split("/")[3:]
    resource = SCOPES[parts[1]] if parts[0] in {"limits", "budgets"} else parts[0]
    identifier = objects[resource]["id"] if resource in objects else ""
    return "/".join(identifier if "{" in part else part for part in parts)


async def call(client: httpx.AsyncClient, method: str, path: str, handler: HTTPRouteHandler) -> httpx.Response:
    body = BODIES.get(handler.handler_name)
    return await client.request(method, path, json=body) if body is not None else await client.request(method, path)


def needed(method: str, path: str) -> str:
    if path.startswith(tuple(f"/admin/v1/{part}" for part in ("admin-keys", "config", "grants", "sessions"))):
        return "owner"
    return "viewer" if method in READS else "admin"


OF_ALL = ("/admin/v1/health", "/admin/v1/providers", "/admin/v1/models", "/admin/v1/config")
"""What is told only to those who have a role on the installation."""


async def test_every_route_under_every_role(plane, world) -> None:
    routes = handlers(plane)
    assert len(routes) >= 23 + 18 + 5 + 2 + 17
    ranks = {"viewer": 0, "admin": 1, "owner": 2}
    for method, path, handler in routes:
        for name, client in world.callers.items():
            await world.make_again(method, path)
            answer = await call(client, method, target_of(path, world.ours), handler)
            if name == "nobody":
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer")
            elif ranks[name.split()[1]] < ranks[needed(method, path)] or (
                path.startswith(OF_ALL) and name.startswith("ours")
            ):
                assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), (method, path, name)
            else:
                assert answer.status_code not in {401, 404, 405, 500}, (method, path, name, answer.text)
        await world.make_again(method, path)  # routes come in any order


async def test_no_route_changes_anything_by_the_cookie_alone(plane, world) -> None:
    browser = world.callers["installation owner session"]
    del browser.headers["x-csrf-token"]
    for method, path, handler in handlers(plane):
        if method not in READS:
            refused = await call(browser, method, target_of(path, world.ours), handler)
            assert (refused.status_code, refused.json()["code"]) == (403, "csrf_token"), (method, path)


async def test_only_the_ways_in_are_open(plane) -> None:
    routes = plane.app.route_handler_method_map.values()
    found = {handler for methods in routes for handler in methods.values() if isinstance(handler, HTTPRouteHandler)}
    opened = {handler.handler_name for handler in found if handler.opt.get(OPEN, False)}
    assert opened == {"sign_in", "start_oidc", "finish_oidc"}


async def test_others_objects_are_exactly_as_absent(plane, world) -> None:
    absent = {name: {"id": str(uuid4())} for name in world.theirs}
    for method, path, handler in handlers(plane):
        if "{" not in path or path.split("/")[3] in OF_THE_INSTALLATION or path.startswith(OF_ALL):
            continue
        client = world.callers["ours owner"]
        theirs = await call(client, method, target_of(path, world.theirs), handler)
        nothing = await call(client, method, target_of(path, absent), handler)
        assert theirs.status_code == nothing.status_code == 404, (method, path, theirs.text)
        assert theirs.json() | {"request_id": ""} == nothing.json() | {"request_id": ""}
        assert dict(theirs.headers) == dict(nothing.headers)


async def test_lists_show_only_ones_own(world) -> None:
    client = world.callers["ours owner"]
    for resource in ("organizations", "teams", "keys", "admin-keys"):
        items = (await client.get(f"/{resource}")).json()["items"]
        assert items
        owners = {item["id"] if resource == "organizations" else item["organization_id"] for item in items}
        assert owners == {world.ours["organizations"]["id"]}
    entries = (await client.get("/audit")).json()["items"]
    assert {entry["organization_id"] for entry in entries} == {world.ours["organizations"]["id"]}
    for resource in ("teams", "keys", "admin-keys"):
        params = {"organization_id": world.theirs["organizations"]["id"]}
        assert (await client.get(f"/{resource}", params=params)).json()["items"] == []


async def test_new_objects_land_in_ones_own_organization(world) -> None:
    client = world.callers["ours owner"]
    ours, theirs = world.ours["organizations"]["id"], world.theirs["organizations"]["id"]
    for resource, extra in (("teams", {}), ("keys", {}), ("admin-keys", {"role": "owner"})):
        made = await client.post(f"/{resource}", json={"name": "x"} | extra)
        assert (made.status_code, made.json()["organization_id"]) == (201, ours)
        refused = await client.post(f"/{resource}", json={"name": "x", "organization_id": theirs} | extra)
        nothing = await client.post(f"/{resource}", json={"name": "x", "organization_id": str(uuid4())} | extra)
        assert refused.status_code == nothing.status_code == 400
        assert refused.json() | {"request_id": ""} == nothing.json() | {"request_id": ""}
    foreign = await client.post("/keys", json={"name": "x", "team_id": world.theirs["teams"]["id"]})
    assert foreign.json()["code"] == "unknown_team"


@pytest.mark.parametrize("caller", ["ours viewer", "ours admin", "ours owner"])
async def test_an_organizations_people_cannot_unbind_it(world, caller: str) -> None:
    client = world.callers[caller]
    path = f"/organizations/{world.ours['organizations']['id']}"
    for patch in ({"status": "active"}, {"limits": None}, {"budget": None}, {"models": None}, {"cache": None}):
        assert (await client.patch(path, json=patch)).status_code == 403
    assert (await client.post("/organizations", json={"name": "x"})).status_code == 403
    assert (await client.delete(path)).status_code == 403


@pytest.mark.parametrize("caller", ["ours viewer", "ours admin", "ours owner"])
async def test_nor_by_its_limits_and_budgets(world, root: httpx.AsyncClient, caller: str) -> None:
    client = world.callers[caller]
    organization = world.ours["organizations"]["id"]
    for resource, body in (("limits", {"concurrency": 1}), ("budgets", {"amount": "0.10"})):
        path = f"/{resource}/organization/{organization}"
        assert (await root.put(path, json=body)).status_code == 200
        for answer in (await client.put(path, json=body), await client.delete(path)):
            assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        field = "limits" if resource == "limits" else "budget"
        assert (await client.get(path)).json()[field] is not None


async def test_only_the_installation_makes_ensembles(world) -> None:
    for caller in ("ours admin", "ours owner", "installation viewer"):
        client = world.callers[caller]
        path = f"/ensembles/{world.ours['ensembles']['id']}"
        for answer in (
            await client.post("/ensembles", json={"name": "x", "strategy": "race", "members": ["echo"]}),
            await client.patch(path, json={"members": ["echo", "echo"]}),
            await client.delete(path),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert [each["name"] for each in (await world.callers["ours viewer"].get("/ensembles")).json()["items"]] == ["e"]


async def test_only_the_installation_makes_prices(world) -> None:
    for caller in ("ours admin", "ours owner"):
        client = world.callers[caller]
        path = f"/prices/{world.ours['prices']['id']}"
        for answer in (
            await client.post("/prices", json={"model": "x", "input": "0"}),
            await client.patch(path, json={"input": "0"}),
            await client.delete(path),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        assert (await client.get(path)).json()["input"] == "1.000000000"
    assert (await world.callers["ours viewer"].get("/prices")).json()["items"] != []


async def test_an_admin_cannot_make_itself_more(world) -> None:
    for caller in ("ours admin", "installation admin"):
        client = world.callers[caller]
        for role in ("viewer", "admin", "owner"):
            assert (await client.post("/admin-keys", json={"name": "x", "role": role})).status_code == 403
        assert (await client.patch(f"/admin-keys/{uuid4()}", json={"role": "owner"})).status_code == 403


async def test_mass_assignment_is_refused(root: httpx.AsyncClient, world) -> None:
    key = f"/keys/{world.ours['keys']['id']}"
    for field in (
        "id",
        "organization_id",
        "public_id",
        "secret",
        "mac",
        "created_at",
        "version",
        "role",
        "is_superuser",
    ):
        answer = await root.patch(key, json={field: "x"})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == field
    admin = f"/admin-keys/{world.ours['admin-keys']['id']}"
    for field in ("organization_id", "public_id", "secret", "id"):
        assert (await root.patch(admin, json={field: None})).json()["errors"][0]["path"] == field


class TestCredentials:
    async def test_the_environment_key_owns_the_installation(self, root: httpx.AsyncClient) -> None:
        assert (await root.post("/organizations", json={"name": "x"})).status_code == 201

    async def test_x_api_key_works_too(self, plane, world) -> None:
        token = world.callers["ours viewer"].headers["authorization"].removeprefix("Bearer ")
        async with plane.client(None) as client:
            assert (await client.get("/keys", headers={"x-api-key": token})).status_code == 200
            assert (await client.get("/keys", headers={"authorization": f"bearer {token}"})).status_code == 200

    async def test_an_inference_key_is_of_the_wrong_kind(self, plane, world) -> None:
        async with plane.client(world.ours["keys"]["secret"]) as client:
            answer = await client.get("/keys")
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_credential_type")

    @pytest.mark.parametrize("url", ["sqlite"], indirect=True)
    @pytest.mark.parametrize(
        ("headers", "status", "code"),
        [
            ({}, 401, "missing_api_key"),
            ({"authorization": "Basic dXNlcjpwYXNz"}, 401, "invalid_api_key"),
            ({"authorization": "Bearer "}, 401, "invalid_api_key"),
            ({"authorization": "Bearer"}, 401, "invalid_api_key"),
            ({"authorization": "Bearer ' OR 1=1--"}, 401, "invalid_api_key"),
            ({"authorization": b"Bearer \xff\xfe"}, 401, "invalid_api_key"),
            ({"authorization": "Bearer " + "a" * 9000}, 401, "invalid_api_key"),
            ({"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}, 401, "invalid_api_key"),
            ({"authorization": "Bearer a", "x-api-key": "b"}, 400, "ambiguous_credentials"),
        ],
    )
    async def test_anything_else_is_refused(self, plane, headers, status: int, code: str) -> None:
        async with plane.client(None) as client:
            answer = await client.get("/keys", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("www-authenticate" in answer.headers) == (status == 401)

    async def test_a_wrong_secret_answers_as_an_unknown_key(self, plane, root: httpx.AsyncClient, monkeypatch) -> None:
        made = (await root.post("/admin-keys", json={"name": "a", "role": "owner"})).json()
        other = (await root.post("/admin-keys", json={"name": "b", "role": "owner"})).json()
        monkeypatch.setattr("app.domain.keys.admin_authentication.parse_key", _trusting)
        forged = made["secret"].replace(made["public_id"], other["public_id"])
        unknown = made["secret"].replace(made["public_id"], "0000000000")
        answers = []
        for secret in (forged, unknown):
            async with plane.client(secret) as client:
                answers.append(await client.get("/keys"))
        assert [answer.status_code for answer in answers] == [401, 401]
        assert answers[0].json() | {"request_id": ""} == answers[1].json() | {"request_id": ""}

    async def test_the_stored_hash_opens_nothing(self, plane, root: httpx.AsyncClient) -> None:
        made = (await root.post("/admin-keys", json={"name": "a", "role": "owner"})).json()
        record = await plane.services.key_repository.find_admin_by_public_id(made["public_id"])
        async with plane.client(record.secret_mac.hex()) as client:
            assert (await client.get("/keys")).status_code == 401


def _trusting(text: bytes):
    """Read the parts of a key without its checksum, as if an attacker had computed that."""
    from app.domain.keys.secrets import ParsedKey  # noqa: PLC0415 - beside its one use

    return ParsedKey("admin", text[12:22].decode())
