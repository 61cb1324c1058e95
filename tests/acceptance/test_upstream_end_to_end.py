"""Providers and models made through the admin API, as callers meet them: on every worker, in both modes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from outside.caller import CHAT, Caller, user
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider

CONNECTIONS = 16
"""At once and each new, so that every worker of two is asked."""
EFFECTIVE_WITHIN_S = 5.0
REDIS_DATABASE = 11
FIRST, SECOND = "sk-first-canary-90ab12cd", "sk-second-canary-34ef56ab"
ENVIRON = {
    "GATEWAY_ADMIN_KEY": ADMIN_KEY,
    "GATEWAY_MASTER_SECRET": MASTER_SECRET,
    configs.FAKE_KEY_NAME: configs.FAKE_KEY,
}
NEW_SECRET = "another-master-secret-for-tests-0123456789"


@pytest.fixture(scope="module", params=["embedded", "scaled"])
def opened(request: pytest.FixtureRequest, session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    """A gateway in each mode, whose operator has opened this machine's own addresses to providers of the API."""
    stores: dict[str, Any] = {}
    if request.param == "scaled":
        stores = {
            "database": request.getfixturevalue("postgres_server").new_database(),
            "state": request.getfixturevalue("redis_server").url_of(database=REDIS_DATABASE),
            "workers": 2,
        }
    tree = configs.config(fake_url=session_provider.url, **stores)
    tree["network"] = {"allowed_private_cidrs": ["127.0.0.0/8"]}
    gateway = GatewayProcess.launch(tree, environ=ENVIRON, migrates=bool(stores))
    try:
        yield gateway
        gateway.stop()
    finally:
        gateway.close()


def statuses(caller: Caller, model: str) -> set[int]:
    """Return how every worker answers the same request."""
    headers = {"authorization": f"Bearer {caller.key}", "connection": "close"}
    body = {"model": model, "messages": user("one two three")}

    def once(_: int) -> int:
        url = caller.gateway.base_url + CHAT
        return httpx.post(url, json=body, headers=headers, timeout=20, verify=False).status_code

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return set(threads.map(once, range(CONNECTIONS)))


def wait_for(holds: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < EFFECTIVE_WITHIN_S, "the change has not reached every worker"
        time.sleep(0.05)
    assert holds()


def keys_sent(caller: Caller, provider: FakeProvider, model: str) -> set[str]:
    """Return the credentials with which every worker calls the provider."""
    before = len(provider.journal.entries)
    assert statuses(caller, model) == {200}
    return {entry.headers["authorization"] for entry in provider.journal.entries[before:]}


def test_a_provider_and_a_model_live_and_end_on_every_worker(
    opened: GatewayProcess, fake_provider: FakeProvider
) -> None:
    with Caller(opened) as caller:
        assert statuses(caller, "made") == {404}
        spec = {"name": "acme", "adapter": "openai", "base_url": fake_provider.url, "api_key": FIRST}
        provider = opened.admin("POST", "/providers", json=spec)
        target = {"provider": "acme", "model": "fake-model"}
        model = opened.admin("POST", "/models", json={"name": "made", "targets": [target], "retries": 0})
        wait_for(lambda: statuses(caller, "made") == {200})
        assert keys_sent(caller, fake_provider, "made") == {f"Bearer {FIRST}"}

        tested = opened.admin("POST", f"/providers/{provider['id']}/test")
        assert (tested["ok"], tested["call"], tested["error"]) == (True, "models", None)
        assert tested["models"] >= 1
        health = {each["name"] for each in opened.admin("GET", "/health")["providers"]}
        assert "acme" in health

        opened.admin("PATCH", f"/providers/{provider['id']}", json={"api_key": SECOND})
        wait_for(lambda: keys_sent(caller, fake_provider, "made") == {f"Bearer {SECOND}"})

        opened.admin("DELETE", f"/models/{model['id']}")
        opened.admin("DELETE", f"/providers/{provider['id']}")
        wait_for(lambda: statuses(caller, "made") == {404})
        shown = str([opened.admin("GET", path) for path in ("/audit", "/providers", "/models", "/health")])
        metrics = httpx.get(f"{opened.base_url}/metrics").text + httpx.get(f"{opened.admin_url}/metrics").text
        log = (opened.folder / "gateway.log").read_text()
        for secret in (FIRST, SECOND, configs.FAKE_KEY):
            assert secret not in shown + metrics + log


def test_a_provider_that_fails_its_test_says_why_and_quotes_no_secret(opened: GatewayProcess) -> None:
    spec = {"name": "dead", "adapter": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": FIRST}
    provider = opened.admin("POST", "/providers", json=spec)
    tested = opened.admin("POST", f"/providers/{provider['id']}/test")
    opened.admin("DELETE", f"/providers/{provider['id']}")
    assert (tested["ok"], tested["error"]["status"]) == (False, 502)
    assert tested["error"]["code"] == "upstream_unreachable"
    assert tested["duration_ms"] < 10_000
    assert FIRST not in str(tested)


def test_plain_http_does_not_leave_the_opened_networks(opened: GatewayProcess) -> None:
    """The name is judged when it is resolved: nothing that is public, or merely private, will do."""
    spec = {"name": "outside", "adapter": "openai", "base_url": "http://ip6-localhost:9/v1", "api_key": FIRST}
    provider = opened.admin("POST", "/providers", json=spec)
    tested = opened.admin("POST", f"/providers/{provider['id']}/test")
    opened.admin("DELETE", f"/providers/{provider['id']}")
    assert tested["error"]["code"] in {"upstream_address_blocked", "upstream_unreachable"}


def test_a_provider_of_the_file_is_shown_with_its_line_and_can_be_tested(opened: GatewayProcess) -> None:
    fake = next(each for each in opened.admin("GET", "/providers")["items"] if each["name"] == "fake")
    assert fake["source"] == "config"
    assert fake["origin"].startswith("gateway.yaml:")
    assert opened.admin("POST", f"/providers/{fake['id']}/test")["ok"]


def test_credentials_are_put_under_a_new_master_secret_while_gateways_run(
    tmp_path: Path, session_provider: FakeProvider, fake_provider: FakeProvider
) -> None:
    tree = configs.config(fake_url=session_provider.url, database=f"sqlite+aiosqlite:///{tmp_path}/gateway.db")
    tree["network"] = {"allowed_private_cidrs": ["127.0.0.0/8"]}
    old = GatewayProcess.launch(tree, environ=ENVIRON)
    try:
        spec = {"name": "acme", "adapter": "openai", "base_url": fake_provider.url, "api_key": FIRST}
        old.admin("POST", "/providers", json=spec)
        target = {"provider": "acme", "model": "fake-model"}
        old.admin("POST", "/models", json={"name": "made", "targets": [target], "retries": 0})
        old.stop()
    finally:
        old.close()

    renewed = ENVIRON | {"GATEWAY_MASTER_SECRET": NEW_SECRET}
    both = GatewayProcess.launch(tree, environ=renewed | {"GATEWAY_OLD_MASTER_SECRET": MASTER_SECRET})
    try:
        with Caller(both) as caller:
            assert statuses(caller, "made") == {200}
            said = both.run("rotate-kek").stdout
            assert "1 of 1 credentials are under the new secret" in said
            assert "1 of 1" in both.run("rotate-kek").stdout
            assert keys_sent(caller, fake_provider, "made") == {f"Bearer {FIRST}"}
        both.stop()
    finally:
        both.close()

    new = GatewayProcess.launch(tree, environ=renewed)
    try:
        with Caller(new) as caller:
            assert keys_sent(caller, fake_provider, "made") == {f"Bearer {FIRST}"}
        assert "GATEWAY_OLD_MASTER_SECRET is not set" in new.run("rotate-kek", expects=1).stderr
        new.stop()
    finally:
        new.close()
