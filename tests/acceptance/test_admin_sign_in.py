"""People and browsers on the admin plane of a running gateway, in both modes, and with an issuer on a socket."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest
from outside.issuer import AUDIENCE, Issuer, issuer_in_thread
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.process import free_port

ADMIN_AUDIENCE, CLIENT, CLIENT_SECRET = "llm-gateway-admin", "dashboard", "the client's secret: +/&"
API = "/admin/v1"


def browser(gateway: GatewayProcess) -> httpx.Client:
    """A browser on a page of the gateway's; its cookies are those of plain http on a loopback address."""
    headers = {"origin": gateway.admin_url, "sec-fetch-site": "same-origin"}
    return httpx.Client(base_url=gateway.admin_url, headers=headers, timeout=20)


def test_a_browser_signs_in_and_out(gateway: GatewayProcess):
    key = gateway.admin("POST", "/admin-keys", json={"name": "browser", "role": "admin"})
    with browser(gateway) as page, browser(gateway) as thief:
        made = page.post(f"{API}/session", json={"key": key["secret"]})
        assert made.status_code == 201
        assert made.headers["set-cookie"].startswith("sid=")
        assert {"HttpOnly", "SameSite=strict"} <= set(made.headers["set-cookie"].split("; "))
        thief.cookies.update(page.cookies)
        assert thief.get(f"{API}/session").json()["name"] == "browser"
        refused = page.post(f"{API}/teams", json={"name": "x"})
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf_token")
        page.headers["x-csrf-token"] = made.json()["csrf_token"]
        assert page.post(f"{API}/teams", json={"name": "signed in"}).status_code == 201
        assert page.delete(f"{API}/session").status_code == 204
        assert thief.get(f"{API}/session").status_code == 401
    gateway.admin("POST", f"/admin-keys/{key['id']}/revoke")


def test_a_session_ends_with_its_key(gateway: GatewayProcess):
    key = gateway.admin("POST", "/admin-keys", json={"name": "browser", "role": "viewer"})
    with browser(gateway) as page:
        page.post(f"{API}/session", json={"key": key["secret"]})
        assert page.get(f"{API}/keys").status_code == 200
        gateway.admin("POST", f"/admin-keys/{key['id']}/revoke")
        assert page.get(f"{API}/keys").status_code == 401


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuer_in_thread() as running:
        running.client_secret = "the%20client%27s%20secret%3A%20%2B%2F%26"
        yield running


@pytest.fixture(scope="module")
def oidc_gateway(issuer: Issuer) -> Iterator[GatewayProcess]:
    tree = {
        "providers": {"echo": {"adapter": "echo"}},
        "models": {"echo": {"targets": [{"provider": "echo", "model": "echo"}]}},
    }
    tree["gateway"] = {"jwt": {"issuer": issuer.origin, "audience": AUDIENCE, "key_claim": "gateway_key"}}
    port = free_port()
    tree["admin"] = {
        "url": f"http://127.0.0.1:{port}",
        "jwt": {
            "issuer": issuer.origin,
            "audience": ADMIN_AUDIENCE,
            "role_claim": "realm.roles",
            "roles": {"platform": "owner"},
            "client_id": CLIENT,
            "client_secret": "env:OIDC_SECRET",
        },
    }
    environ = {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        "GATEWAY_ADMIN__PORT": str(port),
        "OIDC_SECRET": CLIENT_SECRET,
    }
    with closing(GatewayProcess.launch(tree, environ=environ)) as running:
        yield running


def whoami(gateway: GatewayProcess, token: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.get(f"{gateway.admin_url}{API}/session", headers=headers, timeout=20)


def admin_claims(issuer: Issuer, **changed: object) -> dict[str, object]:
    return issuer.claims("unused", **{"aud": ADMIN_AUDIENCE, "sub": "ada", **changed})


def test_a_token_acts_by_claim_and_by_grant(oidc_gateway: GatewayProcess, issuer: Issuer):
    token = issuer.token(admin_claims(issuer))
    assert whoami(oidc_gateway, token).status_code == 403
    grant = oidc_gateway.admin("POST", "/grants", json={"matches": "subject", "value": "ada", "role": "viewer"})
    assert whoami(oidc_gateway, token).json()["role"] == "viewer"
    owner = issuer.token(admin_claims(issuer, realm={"roles": ["platform"]}))
    assert whoami(oidc_gateway, owner).json()["role"] == "owner"
    oidc_gateway.admin("DELETE", f"/grants/{grant['id']}")
    assert whoami(oidc_gateway, token).status_code == 403


FORGERIES: dict[str, Callable[[Issuer], str]] = {
    "none": lambda issuer: issuer.unsigned(admin_claims(issuer)),
    "confused": lambda issuer: issuer.confused(admin_claims(issuer)),
    "unknown kid": lambda issuer: issuer.token(admin_claims(issuer), header={"kid": "another"}),
    "a stranger's key": lambda issuer: issuer.token(admin_claims(issuer), key=issuer.stranger),
    "the other plane's audience": lambda issuer: issuer.token(admin_claims(issuer, aud=AUDIENCE)),
    "the browser's audience": lambda issuer: issuer.token(admin_claims(issuer, aud=CLIENT)),
    "expired": lambda issuer: issuer.token(admin_claims(issuer, exp=int(time.time()) - 120)),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_refused(oidc_gateway: GatewayProcess, issuer: Issuer, name: str):
    refused = whoami(oidc_gateway, FORGERIES[name](issuer))
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_api_key")


def test_a_person_signs_in_at_the_issuer(oidc_gateway: GatewayProcess, issuer: Issuer):
    issuer.signs_in = {"sub": "grace", "name": "Grace H.", "realm": {"roles": ["platform"]}}
    with browser(oidc_gateway) as page:
        begun = page.get(f"{API}/session/oidc/start", params={"return_to": "/keys"})
        assert begun.status_code == 302
        assert "SameSite=lax" in begun.headers["set-cookie"]
        at_issuer = httpx.get(begun.headers["location"], timeout=20)
        back = at_issuer.headers["location"]
        assert back.startswith(f"{oidc_gateway.admin_url}{API}/session/oidc/callback?")
        done = page.get(back)
        assert done.status_code == 200, done.text
        assert "url=/keys" in done.text
        said = page.get(f"{API}/session").json()
        assert (said["name"], said["role"], said["is_recent"]) == ("Grace H.", "owner", True)
        made = page.post(f"{API}/teams", json={"name": "x"}, headers={"x-csrf-token": said["csrf_token"]})
        assert made.status_code == 201
        again = page.get(back)
        assert (again.status_code, again.json()["code"]) == (401, "invalid_sign_in")


def test_the_secret_of_the_client_is_shown_nowhere(oidc_gateway: GatewayProcess):
    log = (oidc_gateway.folder / "gateway.log").read_text()
    assert CLIENT_SECRET not in log
    assert CLIENT_SECRET not in oidc_gateway.run("check").stdout
