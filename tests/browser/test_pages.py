"""Every page: readable by everybody, and the same whatever names and answers hold."""

import time
from typing import Any

import httpx
import pytest
from servers.gateway import GatewayProcess

HOSTILE = '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>\'"{{7777*7777}}'
HOSTILE_PROVIDER = "\"'><svg&onload=window.harmed=1>{{7777*7777}}"
HOSTILE_MODEL = "race-<img src=x onerror=window.harmed=1>"
SECRET = "sk-that-nobody-may-see-again"
STOPS = "main :is(a[href], button, input, select, textarea, summary, [tabindex='0']):not([type=hidden], :disabled)"
COUNT = "stops => [...document.querySelectorAll(stops)].filter(each => each.checkVisibility()).length"
STOP = """(() => {
  const at = document.activeElement, labels = [...(at.labels || [])].map(each => each.textContent).join(" ");
  return {
    within: document.querySelector("main").contains(at), place: [...document.all].indexOf(at),
    outline: getComputedStyle(at).outlineStyle,
    name: (at.ariaLabel || labels || at.textContent).trim(), html: at.outerHTML.slice(0, 200),
  };
})()"""
PAGES = [
    "/",
    "/?range=30d",
    "/keys",
    "/keys/{key}",
    "/organizations",
    "/organizations/{organization}",
    "/teams/{team}",
    "/providers",
    "/providers/{provider}",
    "/providers/{file_provider}",
    "/models",
    "/models/{model}",
    "/ensembles",
    "/ensembles/{ensemble}",
    "/requests",
    "/requests/{request}",
    "/requests/{fanout}",
    "/requests/ledger",
    "/usage",
    "/usage?group_by=key&interval=hour&tag=colour",
    "/fanouts?group_by=key",
    "/cache",
    "/audit",
    "/playground",
    "/admin-keys",
    "/admin-keys/{admin_key}",
    "/grants",
    "/sessions",
    "/config?q=gateway",
    "/sign-in",
    "/keys/00000000-0000-7000-8000-00000000dead",
]


@pytest.fixture(scope="session")
def things(dashboard: GatewayProcess) -> dict[str, str]:
    """One of everything, each with a hostile name, and requests that went well, one of them to several models."""
    organization = dashboard.admin("POST", "/organizations", json={"name": HOSTILE})
    team = dashboard.admin("POST", "/teams", json={"name": HOSTILE, "organization_id": organization["id"]})
    budget = {"amount": "1.00", "period": "total"}
    fields = {"name": HOSTILE, "team_id": team["id"], "tags": {"colour": HOSTILE}, "budget": budget}
    limits = {"requests_per_minute": 50, "concurrency": 5}
    key = dashboard.admin("POST", "/keys", json={**fields, "limits": limits})
    made = upstream(dashboard) | administrators(dashboard, organization["id"])
    answer = ask(dashboard, key["secret"], "fake-model")
    ask(dashboard, key["secret"], "echo")
    fanout = ask(dashboard, key["secret"], HOSTILE_MODEL)
    return made | {
        "organization": organization["id"],
        "team": team["id"],
        "key": key["id"],
        "request": answer.headers["x-request-id"],
        "fanout": fanout.headers["x-request-id"],
    }


def upstream(gateway: GatewayProcess) -> dict[str, str]:
    spec = {"name": HOSTILE_PROVIDER, "adapter": "openai", "api_key": SECRET, "headers": {"x-secret": SECRET}}
    provider = gateway.admin("POST", "/providers", json=spec)
    targets = [{"provider": "echo", "model": HOSTILE}, {"provider": HOSTILE_PROVIDER, "model": HOSTILE}]
    model = gateway.admin("POST", "/models", json={"name": HOSTILE, "targets": targets})
    members = {"strategy": "race", "members": ["echo", "fake-model"], "rubric": HOSTILE}
    ensemble = gateway.admin("POST", "/ensembles", json={"name": HOSTILE_MODEL, **members})
    listed = gateway.admin("GET", "/providers?limit=200")["items"]
    return {
        "provider": provider["id"],
        "file_provider": next(each["id"] for each in listed if each["source"] == "config"),
        "model": model["id"],
        "ensemble": ensemble["id"],
    }


def administrators(gateway: GatewayProcess, organization_id: str) -> dict[str, str]:
    spec = {"name": HOSTILE, "role": "viewer", "organization_id": organization_id}
    admin_key = gateway.admin("POST", "/admin-keys", json=spec)
    gateway.admin("POST", "/grants", json={"matches": "subject", "value": HOSTILE, "role": "viewer"})
    url = f"{gateway.admin_url}/admin/v1/session"
    assert httpx.post(url, json={"key": admin_key["secret"]}).status_code == 201
    return {"admin_key": admin_key["id"]}


def ask(gateway: GatewayProcess, secret: str, model: str) -> httpx.Response:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    url = f"{gateway.base_url}/v1/chat/completions"
    answer = httpx.post(url, json=body, headers={"authorization": f"Bearer {secret}"}, timeout=20)
    assert answer.status_code == 200
    return answer


def wait_for_ledger(gateway: GatewayProcess, request_id: str) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if gateway.admin("GET", f"/usage/events?request_id={request_id}")["items"]:
            return
    raise AssertionError("the ledger is late")


@pytest.mark.parametrize("path", PAGES)
def test_everybody_can_read_a_page(visit, things, axe, path):
    visit.expected = ("Failed to load resource",) if "dead" in path else ()
    for name in ("request", "fanout"):
        wait_for_ledger(visit.gateway, things[name])
    visit.page.emulate_media(color_scheme="light")
    visit.open(path.format(**things))
    assert (visit.page.inner_text("h1") == "Sign in") == (path == "/sign-in")
    visit.page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    visit.page.evaluate(axe)
    for scheme in ("light", "dark"):
        visit.page.emulate_media(color_scheme=scheme)
        found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        told = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found["violations"]]
        assert told == [], scheme
    assert visit.page.evaluate("window.harmed") is None
    assert "60481729" not in visit.page.content(), "a name was run as a template"
    assert SECRET not in visit.page.content()


@pytest.mark.parametrize(
    "path",
    ["/providers/{provider}", "/models", "/config", "/admin-keys/{admin_key}", "/fanouts", "/requests/{request}"],
)
def test_a_page_is_used_without_a_mouse(visit, things, path):
    """The first stop skips what all pages have; all that can be done is a stop, each with a name and seen."""
    wait_for_ledger(visit.gateway, things["request"])
    visit.open(path.format(**things))
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    visit.page.keyboard.press("Enter")
    wanted = visit.page.evaluate(COUNT, STOPS)
    seen = set()
    for _ in range(3 * wanted):  # some fields have stops within
        visit.page.keyboard.press("Tab")
        stop = visit.page.evaluate(STOP)
        if not stop["within"]:
            break
        assert stop["outline"] != "none", stop
        assert stop["name"], stop
        seen.add(stop["place"])
    assert wanted > 3
    assert len(seen) == wanted


@pytest.mark.parametrize(
    "path",
    ["/keys/{key}", "/teams/{team}", "/organizations/{organization}", "/models/{model}", "/admin-keys/{admin_key}"],
)
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
