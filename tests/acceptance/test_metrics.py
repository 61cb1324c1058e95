"""`/metrics` as Prometheus reads it: well formed, whole, and no larger for all that strangers can say."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import httpx
import pytest
from outside.caller import CHAT, Caller, user
from prometheus_client.parser import text_string_to_metric_families
from servers.gateway import GatewayProcess
from servers.process import wait_until
from servers.promtool import promtool

from app.observability.metrics import FAMILIES

JUNK = 10_000
AT_ONCE = 8
CONTRACT = {
    "gateway_requests_total": {"plane", "route", "model", "provider", "status"},
    "gateway_request_seconds": set(),
    "gateway_overhead_seconds": set(),
    "gateway_ttft_seconds": set(),
    "gateway_tokens_total": {"kind"},
    "gateway_cost_usd_total": set(),
    "gateway_upstream_attempts_total": {"outcome"},
    "gateway_cache_total": {"result"},
    "gateway_limit_denials_total": {"scope", "dimension"},
    "gateway_inflight": set(),
    "gateway_breaker_state": set(),
    "gateway_ledger_lag_seconds": set(),
    "gateway_ledger_drift_nusd": set(),
    "gateway_store_up": {"store"},
    "gateway_loop_lag_seconds": set(),
}


def scraped(url: str) -> str:
    answer = httpx.get(f"{url}/metrics", timeout=30)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


def series(text: str) -> set[str]:
    return {line.rpartition(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}


def breakers(gateway: GatewayProcess) -> str:
    return "\n".join(each for each in series(scraped(gateway.base_url)) if each.startswith("gateway_breaker_state"))


def use(gateway: GatewayProcess) -> None:
    """Have every kind of number made: streams, refusals, failures, hits, limits."""
    limits = {"requests_per_minute": 3}
    with Caller(gateway) as caller, Caller(gateway, limits=limits) as limited:
        for stream in (False, True):
            assert caller.chat("fake-model", stream=stream).status_code == 200
        caller.chat("fake-500")
        assert {limited.chat("echo").status_code for _ in range(5)} == {200, 429}
        for _ in range(2):
            caller.post({"model": "echo", "messages": user("the same")}, x_gateway_cache="exact")


def test_a_scrape_is_as_prometheus_wants_it(gateway: GatewayProcess):
    use(gateway)
    for url in (gateway.base_url, gateway.admin_url):
        text = scraped(url)
        families = {family.name: family for family in text_string_to_metric_families(text)}
        for family in FAMILIES:
            found = families[family.name.removesuffix("_total")]
            assert (found.type, found.documentation) == (family.kind, family.help)
            for sample in found.samples:
                assert set(sample.labels) - {"le"} == set(family.labels)
        assert len(series(text)) == len([line for line in text.splitlines() if line and line[0] != "#"])


def test_promtool_finds_no_fault(gateway: GatewayProcess):
    use(gateway)
    for url in (gateway.base_url, gateway.admin_url):
        done = promtool(["check", "metrics"], stdin=scraped(url).encode())
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_everything_that_was_promised_is_counted(gateway: GatewayProcess):
    use(gateway)
    families = {family.name: family for family in FAMILIES}
    for name, labels in CONTRACT.items():
        assert labels <= set(families[name].labels)

    def missing() -> list[str]:
        text = scraped(gateway.base_url)
        return [name for name in CONTRACT if not re.search(rf"^{name}(_count)?(\{{| )", text, flags=re.MULTILINE)]

    # Breakers are shown of targets that were called since the last look.
    assert wait_until(lambda: not missing(), within_s=20), missing()


@pytest.mark.timeout(400)
def test_ten_thousand_names_of_strangers_add_no_series(embedded_gateway: GatewayProcess):
    use(embedded_gateway)
    # Breakers are shown at the next look after a call, so that this one would be taken for a stranger's.
    assert wait_until(lambda: 'model="fake-500"' in breakers(embedded_gateway), within_s=20)
    with Caller(embedded_gateway) as caller:
        headers = {"authorization": f"Bearer {caller.key}", "content-type": "application/json"}

        def ask(connection: HTTPConnection, number: int) -> int:
            name = f"junk-{number}"
            body = json.dumps({"model": name, "messages": user("x"), "user": name, "metadata": {name: name}})
            more = {"x-gateway-tags": f"{name}={name}", "x-gateway-session": name, "user-agent": name}
            path, method = (f"/{name}/{name}?{name}=1", "GET") if number % 10 == 0 else (CHAT, "POST")
            connection.request(method, path, body=body if method == "POST" else None, headers={**headers, **more})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        def ask_all(start: int) -> set[int]:
            with closing(HTTPConnection("127.0.0.1", embedded_gateway.port, timeout=60)) as connection:
                return {ask(connection, number) for number in range(start, JUNK, AT_ONCE)}

        with closing(HTTPConnection("127.0.0.1", embedded_gateway.port, timeout=60)) as connection:
            assert {ask(connection, number) for number in range(20)} == {404}
        before = scraped(embedded_gateway.base_url)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            assert set().union(*threads.map(ask_all, range(AT_ONCE))) == {404}
    after = scraped(embedded_gateway.base_url)
    assert "junk" not in after
    assert series(after) - series(before) == set()
    assert len(after) < len(before) + 2_000
