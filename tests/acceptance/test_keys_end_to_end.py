"""Keys from their making to their end, as clients feel it: on every worker, in both modes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from outside.caller import CHAT, Caller, user
from outside.issuer import AUDIENCE, KEY_CLAIM, Issuer, issuer_in_thread
from outside.wire import Reply, request, talk
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider

BODY = {"model": "echo", "messages": user("x")}
CONNECTIONS = 16
"""At once and each new, so that every worker of two is asked; the odds that one is not are 1 in 32,768."""
EFFECTIVE_WITHIN_S = 1.0


def ask(gateway: GatewayProcess, key: str) -> list[Reply]:
    """Ask every worker for the models, with this key, on new connections."""
    data = request("GET", "/v1/models", [("Authorization", f"Bearer {key}"), ("Connection", "close")])

    def once(_: int) -> Reply:
        return talk(gateway.port, data).replies[0]

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return list(threads.map(once, range(CONNECTIONS)))


def assert_takes_effect(
    gateway: GatewayProcess, key: str, change: Callable[[], Any], *, status: int, code: str | None = None
) -> None:
    """After `change`, every worker answers `status` within a second, and none goes back."""
    before = {reply.status for reply in ask(gateway, key)}
    assert len(before) == 1
    change()
    changed_at = time.monotonic()
    while {reply.status for reply in ask(gateway, key)} != {status}:
        assert time.monotonic() - changed_at < EFFECTIVE_WITHIN_S, "it has not taken effect everywhere"
    replies = ask(gateway, key) + ask(gateway, key)
    assert {reply.status for reply in replies} == {status}
    if code is not None:
        assert {reply.json["error"]["code"] for reply in replies} == {code}


def patch(caller: Caller, **fields: Any) -> Callable[[], Any]:
    return lambda: caller.gateway.admin("PATCH", f"/keys/{caller.key_id}", json=fields)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_new_key_works_at_once_everywhere(gateway: GatewayProcess, caller: Caller):
    assert {reply.status for reply in ask(gateway, caller.key)} == {200}


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-goog-api-key"])
def test_a_key_is_taken_from_each_header(gateway: GatewayProcess, caller: Caller, header: str):
    value = f"bearer {caller.key}" if header == "authorization" else caller.key
    answer = httpx.post(gateway.base_url + CHAT, json=BODY, headers={header: value}, timeout=20)
    assert answer.status_code == 200


def test_revoking(gateway: GatewayProcess, caller: Caller):
    def revoke() -> None:
        gateway.admin("POST", f"/keys/{caller.key_id}/revoke")

    assert_takes_effect(gateway, caller.key, revoke, status=401, code="invalid_api_key")
    assert refusal(caller.post(BODY)) == (401, "invalid_api_key")


def test_revoking_on_the_command_line(gateway: GatewayProcess, caller: Caller):
    """Another process than the servers': its signal must reach them too."""
    assert caller.post(BODY).status_code == 200
    gateway.run("keys", "revoke", caller.key_id)
    deadline = time.monotonic() + 5
    while {reply.status for reply in ask(gateway, caller.key)} != {401}:
        assert time.monotonic() < deadline


def test_suspending_and_back(gateway: GatewayProcess, caller: Caller):
    assert_takes_effect(gateway, caller.key, patch(caller, status="suspended"), status=403, code="suspended")
    assert_takes_effect(gateway, caller.key, patch(caller, status="active"), status=200)


@pytest.mark.parametrize("kind", ["team", "organization"])
def test_suspending_a_team_or_an_organisation(gateway: GatewayProcess, kind: str):
    made = gateway.admin("POST", f"/{kind}s", json={"name": f"{kind} {uuid4()}"})
    path = f"/{kind}s/{made['id']}"
    with Caller(gateway, **{f"{kind}_id": made["id"]}) as caller, Caller(gateway) as other:
        for status, expected in (("suspended", 403), ("active", 200)):
            assert_takes_effect(
                gateway,
                caller.key,
                lambda said=status: gateway.admin("PATCH", path, json={"status": said}),
                status=expected,
            )
            assert other.post(BODY).status_code == 200


def test_rotating_at_once(gateway: GatewayProcess, caller: Caller):
    fresh: list[str] = []

    def rotate() -> None:
        fresh.append(gateway.admin("POST", f"/keys/{caller.key_id}/rotate", json={"grace_s": 0})["secret"])

    assert_takes_effect(gateway, caller.key, rotate, status=401)
    assert {reply.status for reply in ask(gateway, fresh[0])} == {200}


def test_rotating_with_grace(gateway: GatewayProcess, caller: Caller):
    rotated_at = time.monotonic()
    fresh = gateway.admin("POST", f"/keys/{caller.key_id}/rotate", json={"grace_s": 6})["secret"]
    for key in (caller.key, fresh):
        assert {reply.status for reply in ask(gateway, key)} == {200}
    assert time.monotonic() - rotated_at < 6, "the machine is too slow for this test to say anything"
    time.sleep(max(0.0, rotated_at + 6.2 - time.monotonic()))
    assert {reply.status for reply in ask(gateway, caller.key)} == {401}
    assert {reply.status for reply in ask(gateway, fresh)} == {200}


def test_expiring(gateway: GatewayProcess):
    """50: a warm key ends at its time, without anyone saying so."""
    ends = datetime.now(UTC) + timedelta(seconds=4)
    with Caller(gateway, expires_at=ends.isoformat()) as caller:
        assert {reply.status for reply in ask(gateway, caller.key)} == {200}
        time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 0.05)
        replies = ask(gateway, caller.key)
    assert {(reply.status, reply.json["error"]["code"]) for reply in replies} == {(401, "key_expired")}


def test_model_lists_intersect(gateway: GatewayProcess, fake_provider: FakeProvider):
    team = gateway.admin("POST", "/teams", json={"name": f"t {uuid4()}", "models": ["echo", "fake-model"]})
    with Caller(gateway, team_id=team["id"], models=["fake-model", "fake-embedding"]) as caller:
        listed = [model["id"] for model in caller.http.get("/v1/models").json()["data"]]
        assert listed == ["fake-model"]
        assert caller.chat("fake-model").status_code == 200
        assert refusal(caller.chat("echo")) == (403, "model_not_allowed")
        embedded = caller.post({"model": "fake-embedding", "input": "x"}, path="/v1/embeddings")
        assert refusal(embedded) == (403, "model_not_allowed")
        assert refusal(caller.chat("no-such-model")) == (404, "model_not_found")
        assert caller.http.get("/v1/models/fake-model").status_code == 200
        assert caller.http.get("/v1/models/echo").status_code == 404
    assert {entry.model for entry in fake_provider.journal.entries} == {"fake-model"}


def test_no_models_is_none_and_null_is_all(gateway: GatewayProcess):
    with Caller(gateway, models=[]) as caller:
        assert caller.http.get("/v1/models").json()["data"] == []
        assert refusal(caller.post(BODY)) == (403, "model_not_allowed")
        patch(caller, models=None)()
        deadline = time.monotonic() + EFFECTIVE_WITHIN_S
        while caller.post(BODY).status_code != 200:
            assert time.monotonic() < deadline


def test_a_key_that_may_only_list(gateway: GatewayProcess):
    with Caller(gateway, scopes=["models"]) as caller:
        assert caller.http.get("/v1/models").status_code == 200
        assert refusal(caller.post(BODY)) == (403, "insufficient_scope")
        assert refusal(caller.post(BODY, path="/v1/llm/chat")) == (403, "insufficient_scope")


def test_leave_to_route_comes_and_goes(gateway: GatewayProcess, caller: Caller):
    def status() -> int:
        return caller.post(BODY, x_gateway_route="echo/echo").status_code

    assert status() == 403
    for may, expected in ((True, 200), (False, 403)):
        patch(caller, may_route=may)()
        deadline = time.monotonic() + EFFECTIVE_WITHIN_S
        while status() != expected:
            assert time.monotonic() < deadline


def test_admin_keys_do_not_serve_here(gateway: GatewayProcess):
    made = gateway.admin("POST", "/admin-keys", json={"name": "a", "role": "viewer"})
    for secret in (made["secret"], gateway.admin_key):
        headers = [{"x-api-key": secret}, {"authorization": f"Bearer {secret}"}]
        for answer in (
            httpx.post(gateway.base_url + CHAT, json=BODY, headers=headers[0], timeout=20),
            httpx.get(f"{gateway.base_url}/v1/models", headers=headers[1], timeout=20),
        ):
            assert refusal(answer) == (403, "wrong_credential_type")


# -- JSON Web Tokens


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuer_in_thread() as running:
        yield running


@pytest.fixture(scope="module")
def jwt_gateway(issuer: Issuer, session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    tree = configs.config(fake_url=session_provider.url)
    tree["gateway"]["jwt"] = {"issuer": issuer.origin, "audience": AUDIENCE, "key_claim": KEY_CLAIM}
    environ = {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        configs.FAKE_KEY_NAME: configs.FAKE_KEY,
    }
    with closing(GatewayProcess.launch(tree, environ=environ)) as running:
        yield running


def present(gateway: GatewayProcess, token: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.post(gateway.base_url + CHAT, json=BODY, headers=headers, timeout=20)


@pytest.fixture
def mapped(jwt_gateway: GatewayProcess) -> Iterator[tuple[Caller, str]]:
    """A key and the public id that a token names it by."""
    with Caller(jwt_gateway, models=["echo"]) as caller:
        yield caller, jwt_gateway.admin("GET", f"/keys/{caller.key_id}")["public_id"]


def test_a_token_stands_for_its_key(jwt_gateway: GatewayProcess, issuer: Issuer, mapped: tuple[Caller, str]):
    caller, public_id = mapped
    token = issuer.token(issuer.claims(public_id))
    assert present(jwt_gateway, token).status_code == 200
    assert caller.post(BODY).status_code == 200, "keys go on working beside tokens"
    refused = httpx.post(
        jwt_gateway.base_url + CHAT, json={**BODY, "model": "fake-model"}, headers={"x-api-key": token}, timeout=20
    )
    assert refusal(refused) == (403, "model_not_allowed")
    jwt_gateway.admin("POST", f"/keys/{caller.key_id}/revoke")
    deadline = time.monotonic() + EFFECTIVE_WITHIN_S
    while present(jwt_gateway, token).status_code != 401:
        assert time.monotonic() < deadline


FORGERIES: dict[str, Callable[[Issuer, str], str]] = {
    "56-none": lambda issuer, who: issuer.unsigned(issuer.claims(who)),
    "56-confused": lambda issuer, who: issuer.confused(issuer.claims(who)),
    "56-unknown-kid": lambda issuer, who: issuer.token(issuer.claims(who), header={"kid": "another"}),
    "56-strangers-key": lambda issuer, who: issuer.token(issuer.claims(who), key=issuer.stranger),
    "56-jku": lambda issuer, who: issuer.token(
        issuer.claims(who), key=issuer.stranger, header={"jku": f"{issuer.origin}/attacker"}
    ),
    "56-x5u": lambda issuer, who: issuer.token(
        issuer.claims(who), key=issuer.stranger, header={"x5u": f"{issuer.origin}/attacker"}
    ),
    "56-jwk": lambda issuer, who: issuer.token(
        issuer.claims(who), key=issuer.stranger, header={"jwk": issuer.stranger.as_dict(private=False)}
    ),
    "57-cut": lambda issuer, who: issuer.token(issuer.claims(who))[:-20],
    "57-dots": lambda _issuer, _who: "ey.ey.ey",
    "58-audience": lambda issuer, who: issuer.token(issuer.claims(who, aud="somebody-else")),
    "58-no-audience": lambda issuer, who: issuer.token(issuer.claims(who, aud=...)),
    "58-issuer": lambda issuer, who: issuer.token(issuer.claims(who, iss="https://evil.example.com")),
    "58-expired": lambda issuer, who: issuer.token(issuer.claims(who, exp=int(time.time()) - 120)),
    "58-no-expiry": lambda issuer, who: issuer.token(issuer.claims(who, exp=...)),
    "58-not-yet": lambda issuer, who: issuer.token(issuer.claims(who, nbf=int(time.time()) + 120)),
    "59-no-key": lambda issuer, _who: issuer.token(issuer.claims("0123456789")),
    "59-list": lambda issuer, who: issuer.token(issuer.claims(who, **{KEY_CLAIM: [who]})),
    "59-secret": lambda issuer, who: issuer.token(issuer.claims(who, **{KEY_CLAIM: ...})),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_refused(jwt_gateway: GatewayProcess, issuer: Issuer, mapped: tuple[Caller, str], name: str):
    _, public_id = mapped
    assert present(jwt_gateway, issuer.token(issuer.claims(public_id))).status_code == 200
    fetched = len(issuer.fetched)
    answer = present(jwt_gateway, FORGERIES[name](issuer, public_id))
    assert refusal(answer) == (401, "invalid_api_key")
    assert "www-authenticate" in answer.headers
    # An unknown id may make the gateway ask the issuer again, and nobody else.
    assert "/attacker" not in issuer.fetched
    assert len(issuer.fetched) <= fetched + 2
