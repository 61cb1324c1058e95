"""A target breaks: every worker leaves it alone, the admin plane and the metrics say so, and all of them recover."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest
from outside.caller import CHAT, Caller, user
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.process import wait_until
from servers.redis import RedisProcess

from providers.testing import FakeProvider, Script

FRAIL = "frail-model"
FAILURES = 5


@pytest.fixture(scope="module")
def guarded(session_provider: FakeProvider, postgres_server: Postgres) -> Iterator[GatewayProcess]:
    """Two workers and an admin plane of its own, on a Redis of their own."""
    with closing(RedisProcess.launch()) as redis:
        tree = configs.config(
            fake_url=session_provider.url, database=postgres_server.new_database(), state=redis.url, workers=2
        )
        tree["providers"]["frail"] = {**tree["providers"]["fake"]}
        tree["models"]["guarded"] = {
            "targets": [{"provider": "frail", "model": FRAIL}, {"provider": "fake", "model": "fake-model"}],
            "balance": "priority",
            "price": dict(configs.PRICE),
        }
        environ = {
            "GATEWAY_ADMIN_KEY": ADMIN_KEY,
            "GATEWAY_MASTER_SECRET": MASTER_SECRET,
            configs.FAKE_KEY_NAME: configs.FAKE_KEY,
        }
        with closing(GatewayProcess.launch(tree, environ=environ, migrates=True)) as running:
            assert wait_until(lambda: len(running.pids()) == 2, within_s=15)
            yield running
            running.stop()


def frail(gateway: GatewayProcess) -> dict[str, Any]:
    """Return the provider that breaks, as the admin plane sees it."""
    providers = gateway.admin("GET", "/health")["providers"]
    found: dict[str, Any] = next(provider for provider in providers if provider["name"] == "frail")
    return found


def breaker(gateway: GatewayProcess) -> str:
    (lane,) = frail(gateway)["lanes"]
    state: str = lane["breaker"]
    return state


def metric(url: str) -> float | None:
    lines = httpx.get(f"{url}/metrics", timeout=20).text.splitlines()
    name = f'gateway_breaker_state{{credential="1",model="{FRAIL}",provider="frail"}} '
    return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), None)


def scatter(gateway: GatewayProcess, key: str, count: int) -> list[httpx.Response]:
    """Ask on new connections, so that both workers are asked."""

    def once(_: int) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        body = {"model": "guarded", "messages": user("x")}
        return httpx.post(gateway.base_url + CHAT, json=body, headers=headers, timeout=20, verify=False)

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(once, range(count)))


def test_what_one_worker_finds_out_all_know(guarded: GatewayProcess, fake_provider: FakeProvider):
    def calls() -> int:
        return len(fake_provider.journal.for_model(FRAIL))

    assert (frail(guarded)["status"], breaker(guarded)) == ("ok", "closed")
    fake_provider.script(Script(status=503), model=FRAIL)
    with Caller(guarded) as caller:
        for _ in range(FAILURES):  # one connection, so one worker
            answer = caller.chat("guarded")
            assert (answer.status_code, answer.headers["x-gateway-provider"]) == (200, "fake")
        assert calls() == FAILURES
        assert wait_until(lambda: breaker(guarded) == "open", within_s=15)
        provider = frail(guarded)
        (lane,) = provider["lanes"]
        assert (provider["status"], lane["status"], lane["models"]) == ("down", "down", ["guarded"])
        assert 0 <= lane["retry_s"] <= 5.25, "the others try a quarter of a second later than whoever found it out"

        answers = scatter(guarded, caller.key, 24)
        assert {answer.status_code for answer in answers} == {200}
        # A slow machine may come to where one call tries again; a worker that had not heard would fail five times.
        assert calls() - FAILURES <= 1
        assert wait_until(lambda: metric(guarded.base_url) == metric(guarded.admin_url) == 2.0, within_s=20)

        fake_provider.reset()
        recovers_until = time.monotonic() + 40
        while breaker(guarded) != "closed":
            assert time.monotonic() < recovers_until
            assert caller.chat("guarded").status_code == 200
            time.sleep(0.1)
        assert frail(guarded)["status"] == "ok"
        assert wait_until(lambda: metric(guarded.base_url) == metric(guarded.admin_url) == 0.0, within_s=20)
        served = {answer.headers["x-gateway-provider"] for answer in scatter(guarded, caller.key, 24)}
        assert served == {"frail"}, "both workers call it again"
