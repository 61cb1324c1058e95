"""Every page: readable by everybody, and the same whatever names and answers hold."""

from typing import Any

import httpx
import pytest
from servers.gateway import GatewayProcess

HOSTILE = '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>\'"{{7*7}}'
PAGES = [
    "/",
    "/?range=30d",
    "/keys",
    "/keys/{key}",
    "/organizations",
    "/organizations/{organization}",
    "/teams/{team}",
    "/providers",
    "/requests",
    "/requests/{request}",
    "/usage",
    "/usage?group_by=key&interval=hour&tag=colour",
    "/cache",
    "/audit",
    "/playground",
    "/sign-in",
    "/keys/00000000-0000-7000-8000-00000000dead",
]


@pytest.fixture(scope="session")
def things(dashboard: GatewayProcess) -> dict[str, str]:
    """One of everything, each with a hostile name, and a request that went wrong and then well."""
    organization = dashboard.admin("POST", "/organizations", json={"name": HOSTILE})
    team = dashboard.admin("POST", "/teams", json={"name": HOSTILE, "organization_id": organization["id"]})
    budget = {"amount": "1.00", "period": "total"}
    fields = {"name": HOSTILE, "team_id": team["id"], "tags": {"colour": HOSTILE}, "budget": budget}
    limits = {"requests_per_minute": 50, "concurrency": 5}
    key = dashboard.admin("POST", "/keys", json={**fields, "limits": limits})
    answer = ask(dashboard, key["secret"], "fake-model")
    ask(dashboard, key["secret"], "echo")
    return {
        "organization": organization["id"],
        "team": team["id"],
        "key": key["id"],
        "request": answer.headers["x-request-id"],
    }


def ask(gateway: GatewayProcess, secret: str, model: str) -> httpx.Response:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    url = f"{gateway.base_url}/v1/chat/completions"
    answer = httpx.post(url, json=body, headers={"authorization": f"Bearer {secret}"}, timeout=20)
    assert answer.status_code == 200
    return answer


def wait_for_ledger(gateway: GatewayProcess, request_id: str) -> None:
    for _ in range(100):
        if gateway.admin("GET", f"/usage/events?request_id={request_id}")["items"]:
            return
    raise AssertionError("the ledger is late")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_everybody_can_read_a_page(visit, things, axe, path, scheme):
    visit.expected = ("Failed to load resource",) if "dead" in path else ()
    wait_for_ledger(visit.gateway, things["request"])
    visit.page.emulate_media(color_scheme=scheme)
    visit.open(path.format(**things))
    assert (visit.page.inner_text("h1") == "Sign in") == (path == "/sign-in")
    visit.page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    visit.page.evaluate(axe)
    found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    told = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found["violations"]]
    assert told == []
    assert visit.page.evaluate("window.harmed") is None
    assert "49" not in visit.page.inner_text("h1")


@pytest.mark.parametrize("path", ["/keys/{key}", "/teams/{team}", "/organizations/{organization}"])
def test_a_hostile_name_is_shown_as_it_is(visit, things, path):
    visit.open(path.format(**things))
    assert visit.page.inner_text("h1") == HOSTILE


def test_the_overview_draws_what_its_tables_say(visit, things):
    wait_for_ledger(visit.gateway, things["request"])
    visit.open("/")
    visit.page.wait_for_selector("#chart-ttft canvas")
    assert visit.page.locator("figure.chart canvas").count() == 6
    column = "#chart-traffic tbody tr td:first-of-type"
    shown = visit.page.eval_on_selector_all(column, "cells => cells.map(cell => Number(cell.dataset.value))")
    asked = [url for url in visit.asked if "/panels/" in url]
    assert len(shown) == 24
    assert sum(shown) >= 2
    assert len(asked) == len(set(asked)) == 4


def test_a_request_shows_how_its_price_came_about(visit, things):
    wait_for_ledger(visit.gateway, things["request"])
    visit.open("/requests")
    visit.page.click(f"a[href='/requests/{things['request']}']")
    text = visit.page.inner_text("main")
    event = visit.gateway.admin("GET", f"/usage/events?request_id={things['request']}")["items"][0]
    assert "fake/fake-model" in text
    assert "$0.15 per million tokens" in text
    assert f"${event['cost'].rstrip('0')}" in text


def test_the_policy_is_the_one_that_was_written_down(dashboard):
    answer = httpx.get(f"{dashboard.admin_url}/sign-in")
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_nobody_is_led_to_the_sign_in_page(dashboard):
    answer = httpx.get(f"{dashboard.admin_url}/keys")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/keys")
