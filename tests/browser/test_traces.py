"""A request's trace, from a request of one's own to the page that says why: retried, kept, and refused."""

from typing import Any

import httpx
import pytest
import yaml

from providers.testing import Script

HOSTILE = "<img src=x onerror=window.harmed=1>"
ALL_OF_IT = ("Why", "Where its time went", "Limits", "Budgets", "Candidates for fake-model")


@pytest.fixture(scope="module")
def secret(dashboard):
    """A key with limits of every kind, which a request is held against."""
    limits = {"requests_per_minute": 6, "tokens_per_minute": 100_000, "concurrency": 5}
    budget = {"amount": "1.00", "period": "total"}
    return dashboard.admin("POST", "/keys", json={"name": "traced", "limits": limits, "budget": budget})["secret"]


def ask(visit, secret: str, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"} | more.pop("headers", {})
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "x"}]} | more
    return httpx.post(f"{visit.gateway.base_url}/v1/chat/completions", json=body, headers=headers, timeout=20)


def open_trace(visit, answer: httpx.Response, *, has_ledger: bool) -> str:
    """Wait until a request is told of, go to it through the list, and return its text."""
    request_id = answer.headers["x-request-id"]
    row = f"a[href='/requests/{request_id}']"
    for _ in range(60):
        visit.open("/requests")
        if visit.page.locator(row).count():
            break
        visit.page.wait_for_timeout(50)
    visit.page.click(row)
    for _ in range(60):
        if not has_ledger or visit.page.locator("#ledger").count():
            break
        visit.page.wait_for_timeout(50)
        visit.page.reload()
    return str(visit.page.inner_text("main"))


def has_no_violation(visit, axe: str) -> None:
    visit.page.evaluate(axe)
    for scheme in ("light", "dark"):
        visit.page.emulate_media(color_scheme=scheme)
        found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found["violations"]] == [], scheme


def test_a_retried_request_says_why_it_was_answered_and_what_it_cost(visit, secret, axe, session_provider):
    session_provider.script(Script(status=503, times=1), Script(), model="once-away")
    messages = [{"role": "user", "content": "[[script once-away]] x"}]
    answer = ask(visit, secret, messages=messages, headers={"x-gateway-cache": "exact"}, logit_bias={})
    assert answer.headers["x-gateway-attempts"] == "2"
    text = open_trace(visit, answer, has_ledger=True)
    assert [title for title in ALL_OF_IT if title not in text] == []
    assert "fake/fake-model answered: asked as a retry after" in text
    assert "nothing fit is kept" in text
    assert visit.page.locator("section[aria-labelledby^=attempt-]").count() == 2
    cost = visit.gateway.admin("GET", f"/requests/{answer.headers['x-request-id']}")["cost"]
    assert f"${cost.rstrip('0')}" in visit.page.inner_text("section[aria-labelledby=attempt-2]")
    assert f"${cost.rstrip('0')}" in visit.page.inner_text("section[aria-labelledby=ledger]")
    bars = visit.page.eval_on_selector_all(
        ".timeline rect:not(.whole)", "all => all.map(each => each.getBoundingClientRect().width)"
    )
    assert len(bars) >= 2 + 5
    assert min(bars) > 0
    has_no_violation(visit, axe)

    again = ask(visit, secret, messages=messages, headers={"x-gateway-cache": "exact"}, logit_bias={})
    assert again.headers["x-gateway-cache"] == "exact"
    text = open_trace(visit, again, has_ledger=True)
    assert "answered from the cache: no provider was asked" in text
    assert f"${cost.rstrip('0')}" in visit.page.inner_text("section[aria-labelledby=ledger]")
    has_no_violation(visit, axe)


def test_refused_requests_say_by_what_and_how_close_it_was(visit, secret, axe):
    absent = ask(visit, secret, model=HOSTILE)
    assert absent.status_code == 404
    assert HOSTILE in open_trace(visit, absent, has_ledger=False)
    assert visit.page.evaluate("window.harmed") is None
    assert visit.page.locator("main img").count() == 0

    refused = next(answer for answer in (ask(visit, secret) for _ in range(8)) if answer.status_code == 429)
    text = open_trace(visit, refused, has_ledger=False)
    assert "refused before any provider was asked" in text
    assert "rate_limit_exceeded" in text
    row = visit.page.locator("section[aria-labelledby=limits] tr", has_text="requests in 60 s")
    assert "refused" in row.inner_text()
    assert float(row.locator("meter").get_attribute("value")) >= 1
    has_no_violation(visit, axe)
    visit.open("/requests?error_code=rate_limit_exceeded&status=429")
    assert visit.page.locator(f"a[href='/requests/{refused.headers['x-request-id']}']").count() == 1
    has_no_violation(visit, axe)


@pytest.fixture
def without_traces(dashboard):
    """The gateway keeps no more traces, as if an hour had passed after each."""
    written = dashboard.config.read_text()
    dashboard.write_config(yaml.safe_load(written) | {"request_traces": {"enabled": False}})
    dashboard.admin("POST", "/config/reload")
    yield
    dashboard.config.write_text(written)
    dashboard.admin("POST", "/config/reload")


@pytest.mark.usefixtures("without_traces")
def test_a_request_whose_trace_is_not_kept_is_told_from_the_ledger(visit, axe):
    answer = ask(visit, visit.gateway.create_key())
    row = f"a[href='/requests/{answer.headers['x-request-id']}']"
    for _ in range(60):
        visit.open("/requests/ledger")
        if visit.page.locator(row).count():
            break
        visit.page.wait_for_timeout(50)
    has_no_violation(visit, axe)
    visit.page.click(row)
    text = visit.page.inner_text("main")
    assert "no longer kept" in text
    assert "$0.15 per million tokens" in text
    has_no_violation(visit, axe)
