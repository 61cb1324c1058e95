"""Rows 104 to 124 of the catalogue of bad input: the admin plane over sockets, in both modes, from a browser's session.

Law: no row is a 5xx, each is answered soon, no worker dies of it, and nothing has changed after a refusal.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from servers.gateway import ADMIN_KEY, GatewayProcess

API = "/admin/v1"
ANSWERED_WITHIN_S = 5.0
NUL, SURROGATE = "a\u0000b", "\ud800"


@dataclass
class Office:
    """Two organisations, an owner of the installation, and an admin and an owner of the first, all signed in."""

    gateway: GatewayProcess
    owner: httpx.Client
    member: httpx.Client
    head: httpx.Client
    head_id: str
    ours: dict[str, str]
    theirs: dict[str, str]
    pids: list[int]

    def told(self, client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
        """Send one request and hold what every row is held to."""
        began_s = time.monotonic()
        answer = client.request(method, path if path.startswith("http") else API + path, **more)
        assert time.monotonic() - began_s < ANSWERED_WITHIN_S
        assert answer.status_code < 500, answer.text
        return answer


def sign_in(gateway: GatewayProcess, key: str) -> httpx.Client:
    origin = {"origin": gateway.admin_url, "sec-fetch-site": "same-origin"}
    browser = httpx.Client(base_url=gateway.admin_url, headers=origin, timeout=20)
    made = browser.post(f"{API}/session", json={"key": key})
    if made.status_code != 201:
        browser.close()
        pytest.fail(made.text)
    browser.headers["x-csrf-token"] = made.json()["csrf_token"]
    return browser


def populate(gateway: GatewayProcess, name: str) -> dict[str, str]:
    organization = gateway.admin("POST", "/organizations", json={"name": name})["id"]
    team = gateway.admin("POST", "/teams", json={"name": name, "organization_id": organization})["id"]
    key = gateway.admin("POST", "/keys", json={"name": name, "team_id": team})["id"]
    scoped = {"name": name, "role": "viewer", "organization_id": organization}
    admin_key = gateway.admin("POST", "/admin-keys", json=scoped)["id"]
    grant = {"matches": "subject", "value": name, "role": "viewer", "organization_id": organization}
    grants = gateway.admin("POST", "/grants", json=grant)["id"]
    return {"organizations": organization, "teams": team, "keys": key, "admin-keys": admin_key, "grants": grants}


@pytest.fixture(scope="module")
def office(gateway: GatewayProcess) -> Iterator[Office]:
    ours, theirs = populate(gateway, "ours"), populate(gateway, "theirs")
    made = {
        role: gateway.admin(
            "POST", "/admin-keys", json={"name": role, "role": role, "organization_id": ours["organizations"]}
        )
        for role in ("admin", "owner")
    }
    owner, member, head = (
        sign_in(gateway, key) for key in (ADMIN_KEY, made["admin"]["secret"], made["owner"]["secret"])
    )
    pids = [worker.pid for worker in gateway.workers()]
    yield Office(gateway, owner, member, head, made["owner"]["id"], ours, theirs, pids)
    assert [worker.pid for worker in gateway.workers()] == pids, "a worker died"
    for client in (owner, member, head):
        client.close()


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


# -- 104, 105: rights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"role": "owner"}, {"org_id": "x"}, {"is_superuser": True}])
def test_104_105_nobody_promotes_himself(office: Office, change: dict[str, Any]) -> None:
    refused = office.told(office.member, "PATCH", f"/admin-keys/{office.head_id}", json=change)
    assert code_of(refused) == (403, "insufficient_scope")


@pytest.mark.parametrize("field", ["org_id", "is_superuser", "organization_id", "id", "secret"])
def test_105_fields_that_one_may_not_set_are_unknown(office: Office, field: str) -> None:
    refused = office.told(office.head, "PATCH", f"/admin-keys/{office.head_id}", json={field: str(uuid4())})
    assert code_of(refused) == (400, "unknown_parameter")
    assert refused.json()["errors"][0]["path"] == field


def test_105_a_role_of_an_organization_stays_in_it(office: Office) -> None:
    for path, body in (
        ("/admin-keys", {"name": "x", "role": "owner"}),
        ("/grants", {"matches": "subject", "value": str(uuid4()), "role": "owner"}),
    ):
        made = office.told(office.head, "POST", path, json=body)
        assert (made.status_code, made.json()["organization_id"]) == (201, office.ours["organizations"])
        for organization_id in (office.theirs["organizations"], str(uuid4())):
            refused = office.told(office.head, "POST", path, json=body | {"organization_id": organization_id})
            assert refused.status_code == 400


# -- 106: the objects of others ----------------------------------------------------------------------------------------

REACHED = [
    *(
        (method, f"/{resource}/{{{resource}}}{rest}", body)
        for resource in ("organizations", "teams", "keys", "admin-keys", "grants")
        for method, rest, body in (
            ("GET", "", None),
            ("PATCH", "", {"role": "viewer"} if resource == "grants" else {"name": "taken"}),
            *([("DELETE", "", None)] if resource in {"organizations", "teams", "grants"} else []),
            *([("POST", "/revoke", None), ("POST", "/rotate", {})] if resource.endswith("keys") else []),
        )
    ),
    *(
        (method, f"/{kind}/{scope}/{{{resource}}}", body)
        for scope, resource in (("organization", "organizations"), ("team", "teams"), ("key", "keys"))
        for kind, body in (("limits", {"concurrency": 1}), ("budgets", {"amount": "1"}))
        for method, body in (("GET", None), ("PUT", body), ("DELETE", None))
    ),
]


@pytest.mark.parametrize(("method", "path", "body"), REACHED, ids=lambda value: str(value)[:40])
def test_106_what_others_have_is_as_if_it_were_absent(
    office: Office, method: str, path: str, body: dict[str, Any] | None
) -> None:
    told = [
        office.told(office.head, method, path.format_map(ids), **({} if body is None else {"json": body}))
        for ids in (office.theirs, dict.fromkeys(office.theirs, str(uuid4())))
    ]
    # An organisation's own limits are the installation's to set: that is said without looking whose it is.
    assert {answer.status_code for answer in told} <= {403, 404}
    assert told[0].json() | {"request_id": ""} == told[1].json() | {"request_id": ""}


@pytest.mark.parametrize("name", ["organization_id", "team_id", "key_id"])
@pytest.mark.parametrize("path", ["/usage", "/usage/events", "/fanouts"])
def test_106_usage_of_others_is_none(office: Office, path: str, name: str) -> None:
    theirs = office.theirs[{"organization_id": "organizations", "team_id": "teams", "key_id": "keys"}[name]]
    told = [office.told(office.member, "GET", path, params={name: value}) for value in (theirs, str(uuid4()))]
    items = [[item | {"start": ""} for item in answer.json()["items"]] for answer in told]
    assert items[0] == items[1]


def test_106_ids_in_bodies_are_those_of_ones_own(office: Office) -> None:
    for resource, field, value in (
        ("keys", "team_id", office.theirs["teams"]),
        ("keys", "organization_id", office.theirs["organizations"]),
        ("teams", "organization_id", office.theirs["organizations"]),
    ):
        refused = office.told(office.member, "POST", f"/{resource}", json={"name": "x", field: value})
        absent = office.told(office.member, "POST", f"/{resource}", json={"name": "x", field: str(uuid4())})
        assert refused.status_code == 400
        assert refused.json() | {"request_id": ""} == absent.json() | {"request_id": ""}
    moved = office.told(
        office.member, "PATCH", f"/keys/{office.ours['keys']}", json={"team_id": office.theirs["teams"]}
    )
    assert moved.status_code == 400


def test_106_a_cursor_opens_no_list_of_others(office: Office) -> None:
    for number in range(3):
        office.gateway.admin("POST", "/teams", json={"name": f"t{number}"})
    cursor = office.told(office.owner, "GET", "/teams", params={"limit": 1}).json()["cursor"]
    page = office.told(office.member, "GET", "/teams", params={"cursor": cursor, "limit": 200})
    assert {team["organization_id"] for team in page.json()["items"]} <= {office.ours["organizations"]}


# -- 107 to 113: values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sort", "order_by", "filter", "fields"])
@pytest.mark.parametrize("path", ["/keys", "/usage", "/usage/events", "/audit", "/fanouts"])
def test_107_108_no_list_takes_an_order(office: Office, path: str, name: str) -> None:
    refused = office.told(office.member, "GET", path, params={name: "1;DROP TABLE keys"})
    assert code_of(refused) == (400, "unknown_parameter")


@pytest.mark.parametrize("limit", ["-1", "0", "201", str(2**63), str(2**64), "1e3", "0x10", ""])
def test_109_a_page_has_its_bounds(office: Office, limit: str) -> None:
    refused = office.told(office.member, "GET", "/keys", params={"limit": limit})
    assert code_of(refused)[0] == 400


@pytest.mark.parametrize(
    "params",
    [
        {"from": "2024-01-01", "to": "2026-01-01"},
        {"from": "2026-02-01", "to": "2026-01-01"},
        {"from": "0000-01-01"},
        {"from": "9999-12-31T23:59:59.999999-14:00"},
        {"from": "0001-01-01T00:00:00+14:00"},
        {"to": "99999-01-01"},
        {"to": "2026-02-30"},
        {"from": "1e400"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/usage", "/usage/events", "/fanouts", "/cache"])
def test_110_a_range_is_one_and_not_too_long(office: Office, path: str, params: dict[str, str]) -> None:
    assert code_of(office.told(office.member, "GET", path, params=params))[0] == 400


TEXTS: list[tuple[str, str, Any]] = [
    ("/organizations", "name", None),
    ("/teams", "name", None),
    ("/keys", "name", None),
    ("/keys", "models", [None]),
    ("/keys", "tags", {"a": None}),
    ("/admin-keys", "name", None),
    ("/grants", "value", None),
    ("/providers", "name", None),
    ("/providers", "api_key", None),
    ("/providers", "headers", {"x-a": None}),
    ("/models", "name", None),
    ("/prices", "model", None),
    ("/ensembles", "name", None),
    ("/ensembles", "members", [None]),
    ("/cache/purge", "model", None),
    ("/cache/purge", "tag", None),
]
NEEDED: dict[str, dict[str, Any]] = {
    "/admin-keys": {"role": "viewer"},
    "/grants": {"matches": "subject", "role": "viewer"},
    "/providers": {"adapter": "echo"},
    "/models": {"targets": [{"provider": "echo", "model": "echo"}]},
    "/prices": {"input": "1"},
    "/ensembles": {"strategy": "race", "members": ["echo"]},
}


def within(shape: Any, text: str) -> Any:
    """Return the shape with the text in its one place."""
    if isinstance(shape, list):
        return [within(shape[0], text)]
    if isinstance(shape, dict):
        return {name: within(value, text) for name, value in shape.items()}
    return text


@pytest.mark.parametrize("text", [NUL, SURROGATE], ids=["nul", "surrogate"])
@pytest.mark.parametrize(("path", "field", "shape"), TEXTS, ids=str)
def test_111_no_text_holds_what_a_database_cannot(office: Office, path: str, field: str, shape: Any, text: str) -> None:
    name = {} if field == "name" or path in {"/grants", "/prices", "/cache/purge"} else {"name": "x" + uuid4().hex[:8]}
    body = NEEDED.get(path, {}) | name | {field: within(shape, text)}
    content = _json(body)
    refused = office.told(office.owner, "POST", path, content=content, headers={"content-type": "application/json"})
    assert code_of(refused)[0] == 400, refused.text


def _json(body: Any) -> bytes:
    import json  # noqa: PLC0415 - httpx would refuse to write an unpaired surrogate

    return json.dumps(body).encode()


@pytest.mark.parametrize("amount", ["-1", "1e9", "0.0000000001", "9" * 40, "NaN", ""])
def test_112_an_amount_is_one(office: Office, amount: str) -> None:
    path = f"/budgets/key/{office.ours['keys']}"
    assert code_of(office.told(office.member, "PUT", path, json={"amount": amount}))[0] == 400


@pytest.mark.parametrize("period", ["every full moon", "", "DAY", None, 1, "day\u0000"])
def test_113_a_period_is_one_of_the_known(office: Office, period: Any) -> None:
    path = f"/budgets/key/{office.ours['keys']}"
    refused = office.told(office.member, "PUT", path, json={"amount": "1", "period": period})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["path"] == "period"


# -- 114 to 116: credentials -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def provider(office: Office) -> Iterator[dict[str, Any]]:
    spec = {"name": "p" + uuid4().hex[:8], "adapter": "openai", "base_url": "https://example.com/v1"}
    made = office.told(office.owner, "POST", "/providers", json=spec | {"api_key": "sk-never-shown"})
    assert made.status_code == 201, made.text
    yield made.json()
    office.told(office.owner, "DELETE", f"/providers/{made.json()['id']}")


@pytest.mark.parametrize(
    "url",
    [
        "https://169.254.169.254/latest",
        "https://[::ffff:10.0.0.1]/v1",
        "https://0x7f.1/v1",
        "https://2130706433/v1",
        "https://user:pw@example.com/v1",
        "https://example.com/v1#x",
        "https://example.com:22/v1",
        "ftp://example.com/",
        "https://example.com\u0000.evil/",
    ],
)
def test_114_a_provider_is_no_way_into_our_network(office: Office, url: str) -> None:
    spec = {"name": "p" + uuid4().hex[:8], "adapter": "openai", "api_key": "sk-x", "base_url": url}
    assert code_of(office.told(office.owner, "POST", "/providers", json=spec))[0] == 400


def test_115_another_address_needs_the_credential_again(office: Office, provider: dict[str, Any]) -> None:
    path = f"/providers/{provider['id']}"
    refused = office.told(office.owner, "PATCH", path, json={"base_url": "https://example.org/v1"})
    assert code_of(refused) == (400, "credential_required")
    assert office.told(office.owner, "GET", path).json()["base_url"] == "https://example.com/v1"


def test_116_a_credential_is_only_said_to_be_there(office: Office, provider: dict[str, Any]) -> None:
    for path in (f"/providers/{provider['id']}", "/providers", "/audit", "/config"):
        told = office.told(office.owner, "GET", path)
        assert told.status_code == 200
        assert "sk-never-shown" not in told.text
    assert '"set":true' in office.told(office.owner, "GET", f"/providers/{provider['id']}").text


# -- 117 to 122: requests ----------------------------------------------------------------------------------------------


def test_117_of_two_changes_of_one_version_one_is_made(office: Office) -> None:
    path = f"/keys/{office.ours['keys']}"
    tag = office.told(office.member, "GET", path).headers["etag"]

    def change(number: int) -> int:
        with closing(sign_in(office.gateway, ADMIN_KEY)) as client:
            body = {"tags": {"n": str(number), "of": tag.strip('"')}}
            return office.told(client, "PATCH", path, json=body, headers={"if-match": tag}).status_code

    with ThreadPoolExecutor(6) as threads:
        statuses = sorted(threads.map(change, range(6)))
    assert statuses == [200, 412, 412, 412, 412, 412]


CROSS = [
    ({"x-csrf-token": ""}, "application/json"),
    ({"x-csrf-token": "A" * 43}, "application/json"),
    ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, "application/json"),
    ({"origin": "null"}, "application/json"),
    ({"x-csrf-token": "", "origin": "https://evil.example"}, "text/plain"),
    ({"x-csrf-token": "", "sec-fetch-site": "cross-site"}, "application/x-www-form-urlencoded"),
]


@pytest.mark.parametrize(("headers", "media_type"), CROSS, ids=str)
def test_118_a_cookie_alone_changes_nothing(office: Office, headers: dict[str, str], media_type: str) -> None:
    before = office.told(office.member, "GET", "/teams").json()
    sent = {name: value for name, value in headers.items() if value} | {"content-type": media_type}
    with httpx.Client(base_url=office.gateway.admin_url, cookies=office.member.cookies, timeout=20) as thief:
        thief.headers.update({k: v for k, v in office.member.headers.items() if k in {"origin", "x-csrf-token"}})
        if headers.get("x-csrf-token") == "":
            del thief.headers["x-csrf-token"]
        refused = office.told(thief, "POST", "/teams", content=b'{"name": "forged"}', headers=sent)
    assert refused.status_code == 403
    assert office.told(office.member, "GET", "/teams").json() == before


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"tags":' * 50_000, 400),
        (b"[" * 500_000, 400),
        (b'{"name": "' + b"x" * (1 << 20) + b'"}', 413),
        (b'{"name": "x", "expires_at": "99999-01-01T00:00:00Z"}', 400),
        (b'{"name": "x", "expires_at": "9999-12-31T23:59:59-14:00"}', 400),
        (b'{"name": "x", "limits": {"concurrency": 9223372036854775808}}', 400),
        (b'{"name": "x", "limits": {"concurrency": ' + b"9" * 10_000 + b"}}", 400),
        (b'{"name": "x", "name": "\\u0000"}', 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_119_no_body_is_too_deep_too_long_or_too_large(office: Office, content: bytes, status: int) -> None:
    headers = {"content-type": "application/json"}
    assert code_of(office.told(office.member, "POST", "/keys", content=content, headers=headers))[0] == status


def test_120_an_idempotency_key_is_ones_own(office: Office) -> None:
    headers = {"idempotency-key": uuid4().hex}
    first = office.told(office.member, "POST", "/keys", json={"name": "x"}, headers=headers)
    other = office.told(office.head, "POST", "/keys", json={"name": "x"}, headers=headers)
    again = office.told(office.member, "POST", "/keys", json={"name": "x"}, headers=headers)
    assert first.json()["secret"] not in other.text
    assert again.json() == first.json()
    assert first.json()["id"] != other.json()["id"]


@pytest.mark.parametrize("tag", [f'"{"9" * 400}"', '"-1"', '"1e3"', "1", 'W/"1"', '"\\u0000"', ","])
def test_121_no_tag_but_ours_fits(office: Office, tag: str) -> None:
    path = f"/keys/{office.ours['keys']}"
    refused = office.told(office.member, "PATCH", path, json={"name": "new"}, headers={"if-match": tag})
    assert code_of(refused) == (412, "precondition_failed")


def test_122_a_session_of_somebody_elses_choice_is_not_taken_up(office: Office) -> None:
    chosen = "A" * 43
    origin = {"origin": office.gateway.admin_url}
    with httpx.Client(base_url=office.gateway.admin_url, cookies={"sid": chosen}, headers=origin) as victim:
        assert victim.get(f"{API}/session").status_code == 401
        made = victim.post(f"{API}/session", json={"key": ADMIN_KEY})
        assert made.status_code == 201
        assert chosen not in made.headers["set-cookie"]
    with httpx.Client(base_url=office.gateway.admin_url, cookies={"sid": chosen}) as attacker:
        assert attacker.get(f"{API}/session").status_code == 401


# -- 123, 124: what is not there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/debug", "/admin/v1/keys", "/admin/v1/session", "/admin", "/keys", "/sign-in"])
def test_123_the_gateway_plane_has_nothing_of_this_one(office: Office, path: str) -> None:
    for client in (office.owner, office.member):
        assert office.told(client, "GET", f"{office.gateway.base_url}{path}").status_code == 404


@pytest.mark.parametrize("text", ["{{7*7}}", "{% for x in ().__class__ %}", "${7*7}", "<script>alert(1)</script>"])
def test_124_no_name_is_run(office: Office, text: str) -> None:
    made = office.told(office.member, "POST", "/teams", json={"name": text})
    assert made.json()["name"] == text
    page = office.told(office.member, "GET", f"{office.gateway.admin_url}/organizations").text
    assert "49" not in made.json()["name"]
    assert "<script>alert(1)</script>" not in page
    office.told(office.member, "DELETE", f"/teams/{made.json()['id']}")
