"""Who may see which page and send which form: every route of the dashboard under every role, and no forged post."""

import re
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

ROOT = "https://admin"
OPEN_PATHS = ("/admin/v1", "/static", "/sign-in")
UUIDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RANKS = {"viewer": 0, "admin": 1, "owner": 2}
FOR_OWNERS = ("/admin-keys", "/grants", "/sessions", "/config")
OF_THE_INSTALLATION = ("/providers", "/models", "/config")
FORMS: dict[str, dict[str, str]] = {
    "create_organization": {"name": "x"},
    "change_organization": {"name": "x"},
    "create_team": {"name": "x"},
    "change_team": {"name": "x"},
    "create_key": {"name": "x"},
    "change_key": {"name": "x"},
    "purge_cache": {"model": "x"},
    "create_provider": {"name": "x", "adapter": "echo"},
    "change_provider": {"spec": '{"adapter": "echo"}'},
    "create_model": {"name": "x", "spec": '{"targets": [{"provider": "ours", "model": "echo"}]}'},
    "change_model": {"spec": '{"targets": [{"provider": "ours", "model": "echo"}], "retries": 1}'},
    "create_ensemble": {"name": "x", "spec": '{"strategy": "race", "members": ["echo"]}'},
    "change_ensemble": {"spec": '{"strategy": "race", "members": ["echo"], "deadline_s": 5}'},
    "create_admin_key": {"name": "x", "role": "viewer"},
    "change_admin_key": {"name": "x"},
    "create_grant": {"whose": "subject", "value": "x", "role": "viewer"},
    "change_grant": {"role": "viewer"},
    "validate_config": {"document": "log_level: info"},
}
POLICIES = {
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    f"connect-src 'self'{reached}; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    for reached in ("", " http://127.0.0.1:3020")
}
"""What a page may load and reach; only the playground reaches another origin."""
FORGERIES: list[dict[str, str | None]] = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://admin"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": None, "sec-fetch-site": None},
    {"hx-request": None},
    {"x-csrf-token": None},
    {"x-csrf-token": "0" * 64},
]
FAULTY = {
    "{": "line 1, column 2",
    '{"targets": [],\n ]': "line 2, column 2",
    "[]": "JSON object",
    '{"a": NaN}': "no JSON",
    '{"a":' * 50_000: "no JSON",
    '{"name": "other"}': "spec.name",
    '{"colour": "blue"}': "colour",
    '{"targets": "x"}': "targets",
    '{"targets": [{"provider": "ours", "model": "\\u0000"}]}': "targets[0].model",
}
pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""The services are those of the admin API, whose tests ask both databases."""
Route = tuple[str, str, HTTPRouteHandler]


@pytest.fixture
def plane(plane: Any, pages_app: Litestar) -> Any:
    return replace(plane, app=pages_app)


def routes(plane: Any) -> list[Route]:
    found = plane.app.route_handler_method_map.items()
    return [
        (method, path, handler)
        for path, methods in found
        if not path.startswith(OPEN_PATHS)
        for method, handler in methods.items()
        if isinstance(handler, HTTPRouteHandler) and method not in {"OPTIONS", "HEAD"}
    ]


def posts(plane: Any) -> list[Route]:
    return [route for route in routes(plane) if route[0] == "POST"]


def visitors(world: Any) -> list[tuple[str, httpx.AsyncClient]]:
    return [(name, client) for name, client in world.callers.items() if name.endswith(("nobody", "session"))]


def target_of(path: str, objects: dict[str, dict[str, str]]) -> str:
    resource = path.split("/")[1]
    return ROOT + re.sub(r"\{[^}]*\}", objects.get(resource, {"id": str(uuid4())})["id"], path)


async def send(client: httpx.AsyncClient, route: Route, target: str, **other: str | None) -> httpx.Response:
    method, _, handler = route
    own = {"origin": ROOT, "sec-fetch-site": "same-origin", "hx-request": "true"} | other
    headers = {name: value for name, value in own.items() if value is not None}
    data = FORMS.get(handler.handler_name, {}) if method == "POST" else None
    return await client.request(method, target, data=data, headers=headers)


def is_allowed(route: Route, caller: str) -> bool:
    method, path, handler = route
    scope, role = caller.split()[:2]
    needed = "owner" if path.startswith(FOR_OWNERS) else "viewer" if method == "GET" else "admin"
    is_of_all = path.startswith(OF_THE_INSTALLATION) or (
        method == "POST" and (path.startswith("/ensembles") or handler.handler_name == "create_organization")
    )
    return RANKS[role] >= RANKS[needed] and (scope == "installation" or not is_of_all)


async def count_of_changes(world: Any) -> int:
    page = await world.root.get("/audit?limit=1")
    return int(page.json()["items"][0]["seq"])


class TestRoles:
    async def test_who_may_not_is_refused_and_changes_nothing(self, plane, world) -> None:
        """Refusals first, in a world that nobody has changed."""
        before = await count_of_changes(world)
        for route in routes(plane):
            for name, client in visitors(world):
                if name == "nobody" or not is_allowed(route, name):
                    answer = await send(client, route, target_of(route[1], world.ours))
                    if name == "nobody":
                        assert answer.headers["hx-redirect"] == "/sign-in", route
                    else:
                        assert answer.status_code == 403, (route, name, answer.text)
        assert await count_of_changes(world) == before

    async def test_who_may_is_served(self, plane, world) -> None:
        found = routes(plane)
        assert len(found) >= 29 + 30
        for route in found:
            for name, client in visitors(world):
                if name == "nobody" or not is_allowed(route, name):
                    continue
                await world.make_again("DELETE" if "delete" in route[1] else route[0], f"/admin/v1{route[1]}")
                answer = await send(client, route, target_of(route[1], world.ours))
                assert answer.status_code not in {401, 403, 404, 405, 500}, (route, name, answer.text)
                assert "location" not in answer.headers
                if answer.content:
                    assert answer.headers["content-security-policy"] in POLICIES, route
                    assert answer.headers["cache-control"] == "no-store"
            await world.make_again("DELETE", f"/admin/v1{route[1]}")

    async def test_another_organizations_things_are_exactly_as_absent(self, plane, world) -> None:
        client = world.callers["ours owner session"]
        for route in routes(plane):
            if "{" not in route[1] or route[1].split("/")[1] not in world.theirs:
                continue
            theirs = await send(client, route, target_of(route[1], world.theirs))
            absent = await send(client, route, target_of(route[1], {}))
            assert theirs.status_code == absent.status_code, (route, theirs.text)
            assert theirs.status_code in {400, 404}, (route, theirs.text)
            assert UUIDS.sub("", theirs.text) == UUIDS.sub("", absent.text)

    async def test_a_viewer_is_shown_no_form_that_changes_anything(self, plane, world) -> None:
        for scope in ("ours", "installation"):
            for route in routes(plane):
                caller = f"{scope} viewer session"
                if route[0] == "GET" and is_allowed(route, caller):
                    answer = await send(world.callers[caller], route, target_of(route[1], world.ours))
                    assert "hx-post" not in answer.text, route


class TestForgeries:
    async def test_a_post_that_no_page_of_ours_sent_changes_nothing(self, plane, world) -> None:
        before = await count_of_changes(world)
        browser = world.callers["installation owner session"]
        token = browser.headers.pop("x-csrf-token")
        del browser.headers["origin"], browser.headers["sec-fetch-site"]
        for other in FORGERIES:
            for route in posts(plane):
                headers = {"x-csrf-token": token} | other
                answer = await send(browser, route, target_of(route[1], world.ours), **headers)
                assert answer.status_code == 403, (other, route, answer.text)
        assert await count_of_changes(world) == before

    async def test_a_get_changes_nothing(self, plane, world) -> None:
        before = await count_of_changes(world)
        for route in posts(plane):
            if not any(each[:2] == ("GET", route[1]) for each in routes(plane)):
                answer = await world.callers["installation owner session"].get(target_of(route[1], world.ours))
                assert answer.status_code in {404, 405}, route
        assert await count_of_changes(world) == before


class TestSigningInAgain:
    MATTERS = ("/admin-keys", "/grants", "/providers")

    @pytest.fixture
    def stale(self, plane, world) -> httpx.AsyncClient:
        plane.clock.advance(11 * 60)
        return world.callers["installation owner session"]

    async def test_what_matters_most_needs_a_recent_sign_in(self, plane, world, stale) -> None:
        before = await count_of_changes(world)
        for route in posts(plane):
            if route[1].startswith(self.MATTERS) and not route[1].endswith("/test"):
                answer = await send(stale, route, target_of(route[1], world.ours))
                assert (answer.status_code, "sign-in" in answer.text) == (403, True), route
        assert await count_of_changes(world) == before

    async def test_the_refusal_leads_to_the_sign_in_page_and_back(self, plane, stale) -> None:
        route = next(each for each in posts(plane) if each[2].handler_name == "create_provider")
        answer = await send(stale, route, f"{ROOT}/providers", **{"hx-current-url": f"{ROOT}/providers?cursor=x"})
        assert 'href="/sign-in?next=/providers"' in answer.text
        assert answer.headers["hx-retarget"] == "#notice"

    async def test_a_page_says_so_before_anything_is_written(self, stale) -> None:
        for path in ("/providers", "/admin-keys", "/grants"):
            page = await stale.get(ROOT + path)
            assert f'href="/sign-in?next={path}"' in page.text
            assert f'hx-post="{path}"' not in page.text

    async def test_whatever_a_page_says_of_itself_it_leads_to_none_but_ours(self, plane, stale) -> None:
        route = next(each for each in posts(plane) if each[2].handler_name == "create_grant")
        for said in ("https://evil.example//evil.example/x", "javascript:alert(1)", "//[", "https://a/\\evil"):
            answer = await send(stale, route, f"{ROOT}/grants", **{"hx-current-url": said})
            assert answer.status_code == 403
            assert re.findall(r'href="([^"]*)"', answer.text)[0] in {"/sign-in", "/sign-in?next=/%5Cevil"}, said


async def test_a_refusal_stands_beside_the_form_that_has_a_place_for_it(plane, world) -> None:
    client = world.callers["installation owner session"]
    route = next(each for each in posts(plane) if each[2].handler_name == "create_model")
    headers = {"hx-target": "div#fault-new", "hx-request": "true"}
    data = {"name": "n", "spec": '{"targets": [{"provider": "nobody", "model": "m"}]}'}
    answer = await client.post(f"{ROOT}{route[1]}", data=data, headers=headers)
    assert answer.status_code == 400
    assert "hx-retarget" not in answer.headers
    assert "<code>targets[0].provider</code>" in answer.text


async def test_what_is_wrong_with_settings_is_named(plane, world) -> None:
    client = world.callers["installation admin session"]
    headers = {"hx-request": "true", "hx-target": "div#fault-new"}
    for spec, said in FAULTY.items():
        answer = await client.post(f"{ROOT}/models", data={"name": "n", "spec": spec}, headers=headers)
        assert answer.status_code == 400, answer.text
        assert said in answer.text


async def test_no_page_shows_a_secret(plane, world) -> None:
    secret = "sk-that-nobody-may-see-again"
    spec = {"name": "secretive", "adapter": "openai", "api_key": secret, "headers": {"x-more": secret}}
    made = (await world.root.post("/providers", json=spec)).json()
    for path in ("/providers", f"/providers/{made['id']}", "/audit", "/config"):
        page = await world.root.get(ROOT + path)
        assert page.status_code == 200
        assert secret not in page.text
        if path != "/config":
            assert "secretive" in page.text


async def test_an_id_of_no_request_is_not_there(plane, world) -> None:
    for text in (str(uuid4()), str(UUID(int=2**128 - 1)), "ffffffff-ffff-7fff-bfff-ffffffffffff", str(UUID(int=0))):
        assert (await world.root.get(f"{ROOT}/requests/{text}")).status_code == 404
