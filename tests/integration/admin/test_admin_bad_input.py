"""The bad-input catalogue of the admin plane: none of it is a 5xx, each names what is wrong."""

import json
from uuid import UUID

import httpx
import pytest

JSON = {"content-type": "application/json"}

before_the_database = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""These never reach the database, so one of the two is enough."""


@before_the_database
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b'{"name": "a"} {}', 400, "invalid_json"),
        (b"[1]", 400, "invalid_request"),
        (b"null", 400, "invalid_request"),
        (b'{"name": "\xff"}', 400, "invalid_json"),
        (b'{"name": "\\ud800"}', 400, "invalid_json"),
        (b'{"name": "a", "limits": {"concurrency": NaN}}', 400, "invalid_json"),
        (b'{"name": "a", "limits": {"concurrency": 1e400}}', 400, None),
        (b'{"name": "a", "limits": {"concurrency": ' + b"9" * 5000 + b"}}", 400, None),
        (b"[" * 100_000, 400, None),
        (b'{"a":' * 100_000, 400, None),
        (b'{"tags": ' + b'{"a":' * 3000, 400, None),
        (b"x" * ((1 << 20) + 1), 413, "request_too_large"),
    ],
)
async def test_a_broken_body(root: httpx.AsyncClient, content: bytes, status: int, code: str | None) -> None:
    answer = await root.post("/keys", content=content, headers=JSON)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert code is None or answer.json()["code"] == code
    assert (await root.get("/keys")).json()["items"] == []


@before_the_database
@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/msgpack", "application/json; charset=utf-16"],
)
async def test_a_body_that_is_not_json(root: httpx.AsyncClient, content_type: str) -> None:
    answer = await root.post("/keys", content=b'{"name": "a"}', headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("headers", [{}, JSON, {"content-type": "text/plain"}], ids=["no type", "json", "text"])
@pytest.mark.parametrize("kind", ["keys", "admin-keys"])
async def test_a_body_of_defaults_may_be_left_out(root: httpx.AsyncClient, kind: str, headers: dict[str, str]) -> None:
    extra = {"role": "viewer"} if kind == "admin-keys" else {}
    made = (await root.post(f"/{kind}", json={"name": "a", **extra})).json()
    answer = await root.post(f"/{kind}/{made['id']}/rotate", content=b"", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["secret"] != made["secret"]


@before_the_database
@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b'{"grace_s": 1}', "text/plain", 415),
        (b" ", "application/json", 400),
        (b'{"grace_s": -1}', "application/json", 400),
    ],
)
async def test_a_body_that_may_be_left_out_is_read_as_any(
    root: httpx.AsyncClient, content: bytes, content_type: str, status: int
) -> None:
    made = (await root.post("/keys", json={"name": "a"})).json()
    path = f"/keys/{made['id']}/rotate"
    assert (await root.post(path, content=content, headers={"content-type": content_type})).status_code == status


@before_the_database
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 200, None),
        (b"{}", 200, None),
        (b'{"grace_s": 1}', 400, "unknown_parameter"),
        (b"[1]", 400, "invalid_json"),
        (b"\xff", 400, "invalid_json"),
    ],
)
async def test_a_body_that_nobody_reads_says_nothing(
    root: httpx.AsyncClient, content: bytes, status: int, code: str | None
) -> None:
    made = (await root.post("/keys", json={"name": "a"})).json()
    answer = await root.post(f"/keys/{made['id']}/revoke", content=content)
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert ((await root.get(f"/keys/{made['id']}")).json()["status"] == "revoked") is (status == 200)


async def test_json_with_its_charset_is_fine(root: httpx.AsyncClient) -> None:
    headers = {"content-type": "Application/JSON; charset=UTF-8"}
    assert (await root.post("/keys", content=b'{"name": "a"}', headers=headers)).status_code == 201


@before_the_database
@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 201}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": " \t"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "a", "org_id": "x"}, "org_id"),
        ({"name": "a", "is_superuser": True}, "is_superuser"),
        ({"name": "a", "team_id": "x"}, "team_id"),
        ({"name": "a", "models": "echo"}, "models"),
        ({"name": "a", "models": [""]}, "models[0]"),
        ({"name": "a", "models": ["a\u0000"]}, "models[0]"),
        ({"name": "a", "models": ["m"] * 1001}, "models"),
        ({"name": "a", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "a", "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"name": "a", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"name": "a", "expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({"name": "a", "limits": {"requests": 1}}, "limits.requests"),
        ({"name": "a", "limits": {"concurrency": 0}}, "limits.concurrency"),
        ({"name": "a", "limits": {"concurrency": 1.5}}, "limits.concurrency"),
        ({"name": "a", "limits": {"concurrency": 2**63}}, "limits.concurrency"),
        ({"name": "a", "limits": {"algorithm": "leaky"}}, "limits.algorithm"),
        ({"name": "a", "limits": {"rules": [{"dimension": "cost", "limit": 1, "window_s": 1}]}}, "limits.rules[0]"),
        (
            {"name": "a", "limits": {"rules": [{"dimension": "tokens", "limit": "1", "window_s": 1}]}},
            "limits.rules[0]",
        ),
        (
            {"name": "a", "limits": {"rules": [{"dimension": "tokens", "limit": 1, "window_s": 0}]}},
            "limits.rules[0].window_s",
        ),
        ({"name": "a", "budget": {}}, "budget.amount"),
        ({"name": "a", "budget": {"amount": 0.1}}, "budget.amount"),
        ({"name": "a", "budget": {"amount": "-1"}}, "budget.amount"),
        ({"name": "a", "budget": {"amount": "1e3"}}, "budget.amount"),
        ({"name": "a", "budget": {"amount": "0.0000000001"}}, "budget.amount"),
        ({"name": "a", "budget": {"amount": "9000001"}}, "budget"),
        ({"name": "a", "budget": {"amount": "1", "period": "every full moon"}}, "budget.period"),
        ({"name": "a", "budget": {"amount": "1", "timezone": "Mars/Olympus"}}, "budget"),
        ({"name": "a", "budget": {"amount": "1", "timezone": "../../etc/passwd"}}, "budget"),
        ({"name": "a", "budget": {"amount": "1", "timezone": "America"}}, "budget"),
        ({"name": "a", "budget": {"amount": "1", "timezone": "a\u0000"}}, "budget"),
        ({"name": "a", "budget": {"amount": "1", "on_accounting_down": "allow"}}, "budget.on_accounting_down"),
        ({"name": "a", "cache": {"mode": "sometimes"}}, "cache.mode"),
        ({"name": "a", "cache": {"threshold": 2}}, "cache.threshold"),
        ({"name": "a", "cache": {"url": "redis://internal"}}, "cache.url"),
        ({"name": "a", "may_route": "yes"}, "may_route"),
        ({"name": "a", "tags": {"a": "\u0000"}}, "tags[...]"),
        ({"name": "a", "tags": {"a\u0000": "b"}}, "tags"),
        ({"name": "a", "tags": {str(number): "b" for number in range(17)}}, "tags"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["admin"]}, "scopes[0]"),
    ],
)
async def test_a_wrong_field_is_named(root: httpx.AsyncClient, body: dict[str, object], path: str) -> None:
    answer = await root.post("/keys", content=json.dumps(body).encode(), headers=JSON)
    problem = answer.json()
    assert (answer.status_code, [fault["path"] for fault in problem["errors"]]) == (400, [path]), problem
    assert problem["errors"][0]["message"]
    assert "regex" not in answer.text
    assert (await root.get("/keys")).json()["items"] == []


@before_the_database
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1e9", "limit"),
        ("limit=1&limit=2", "limit"),
        ("sort=1;DROP", "sort"),
        ("order_by=(select%201)", "order_by"),
        ("services=x", "services"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=" + "a" * 600, "cursor"),
        ("cursor=é", "cursor"),
        ("team_id=x", "team_id"),
        ("team_id=null", "team_id"),
        ("status=NULL", "status"),
        ("status=deleted", "status"),
        ("organization_id=%27%20OR%201=1", "organization_id"),
    ],
)
async def test_a_wrong_query_is_named(root: httpx.AsyncClient, query: str, name: str) -> None:
    answer = await root.get(f"/keys?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, name)


async def test_a_cursor_is_of_one_list_and_undamaged(root: httpx.AsyncClient) -> None:
    for number in range(3):
        await root.post("/teams", json={"name": f"t{number}"})
    cursor = (await root.get("/teams?limit=1")).json()["cursor"]
    assert (await root.get("/teams", params={"cursor": cursor})).status_code == 200
    damaged = ("A" if cursor[5] != "A" else "B").join((cursor[:5], cursor[6:]))
    for path, value in (("/keys", cursor), ("/audit", cursor), ("/teams", damaged), ("/teams", cursor[:-1])):
        answer = await root.get(path, params={"cursor": value})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


@before_the_database
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/keys/not-a-uuid", 404),
        ("GET", "/keys/00000000-0000-7000-8000-000000000009", 404),
        ("GET", "/keys/00000000-0000-7000-8000-000000000009/revoke/x", 404),
        ("GET", "/keys/x%2f..%2f", 404),
        ("PUT", "/keys", 405),
        ("DELETE", "/keys/00000000-0000-7000-8000-000000000009", 405),
        ("TRACE", "/keys", 405),
        ("POST", "/audit", 405),
    ],
)
async def test_no_such_path_or_method(root: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await root.request(method, path)
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == {404: "not_found", 405: "method_not_allowed"}[status]
    assert UUID(problem["request_id"]).version == 7
    assert ("allow" in answer.headers) == (status == 405)


async def test_a_database_that_is_gone_is_a_503(plane, root: httpx.AsyncClient, monkeypatch) -> None:
    class Gone:
        def connect(self) -> None:
            raise ConnectionRefusedError

    monkeypatch.setattr(plane.database, "_engine", Gone())
    for answer in (await root.get("/keys"), await root.post("/keys", json={"name": "a"})):
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"] == "1"
    assert plane.told == []
    monkeypatch.undo()
