"""Providers, models and ensembles, made, tried, changed and taken away on their pages."""

import json
import time
from uuid import uuid4

import httpx


def status_of(visit, secret, model):
    """Return the status of a request for this model, once every worker knows of it."""
    body = {"model": model, "messages": [{"role": "user", "content": "one two"}]}
    url = f"{visit.gateway.base_url}/v1/chat/completions"
    return httpx.post(url, json=body, headers={"authorization": f"Bearer {secret}"}, timeout=20).status_code


def first_request_of(gateway, *, provider):
    """Return the id of the first request that reached a provider, as soon as the ledger has it."""
    deadline = time.monotonic() + 10
    while not (events := gateway.admin("GET", f"/usage/events?provider={provider}")["items"]):
        assert time.monotonic() < deadline
    return events[-1]["request_id"]


def add(visit, path, what, **fields):
    """Fill the form of a page that adds something, send it, and wait for what was made."""
    visit.open(path)
    visit.page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    form = f"form[hx-post='{path}']"
    for name, value in fields.items():
        visit.page.fill(f"{form} [name={name}]", value)
    visit.page.click(f"button:has-text('Add {what}')")
    visit.page.wait_for_url(f"**{path}/*")


def test_a_provider_and_its_model_from_their_making_to_their_end(visit):
    page, name = visit.page, f"p{uuid4().hex[:8]}"
    page.on("dialog", lambda dialog: dialog.accept())
    add(visit, "/providers", "the provider", name=name, adapter="echo", api_key="sk-secret-of-a-provider")
    provider = page.url
    assert "sk-secret-of-a-provider" not in page.content()
    page.click(f"button[aria-label='Test {name}']")
    page.wait_for_selector(".status.ok:has-text('works')")

    spec = {"targets": [{"provider": name, "model": "echo"}], "price": {"input": "1.25", "output": "2.50"}}
    add(visit, "/models", "the model", name=f"{name} model", spec=json.dumps(spec))
    assert f"{name}/echo" in page.inner_text("section[aria-labelledby=targets]")
    secret = visit.gateway.create_key()
    assert 200 in (status_of(visit, secret, f"{name} model") for _ in range(100))
    assert "$1.25 in, $2.50 out" in page.inner_text("section[aria-labelledby=targets]")
    visit.open(f"/requests/{first_request_of(visit.gateway, provider=name)}")
    assert "$1.25 per million tokens" in page.inner_text("main")
    page.go_back()

    with page.expect_navigation():
        page.fill("textarea[name=spec]", json.dumps(spec | {"retries": 1}))
        page.click("button:has-text('Save')")
    assert '"retries": 1' in page.input_value("textarea[name=spec]")
    page.click("button:has-text('Delete the model')")
    page.wait_for_url("**/models")

    page.goto(provider)
    page.click("button:has-text('Delete the provider')")
    page.wait_for_url("**/providers")
    visit.settle()
    assert page.locator(f"tr:has-text('{name}')").count() == 0


def test_what_is_wrong_is_said_beside_the_settings(visit):
    visit.expected = ("Failed to load resource",)
    visit.open("/models")
    visit.page.eval_on_selector("details", "each => { each.open = true; }")
    visit.page.fill("form[hx-post='/models'] [name=name]", "faulty")
    for spec, said in (
        ('{"targets": [{"provider": "nobody", "model": "m"}]}', "targets[0].provider"),
        ('{"targets": [}', "line 1"),
        ('{"targets": [{"provider": "echo", "model": "m"}], "retires": 1}', "retires"),
    ):
        visit.page.fill("form[hx-post='/models'] [name=spec]", spec)
        visit.page.click("button:has-text('Add the model')")
        visit.page.wait_for_selector(f"#fault-new:has-text('{said}')")
        assert visit.page.inner_text("#notice") == ""
    field = visit.page.get_attribute("#spec-new", "aria-describedby")
    assert field == "fault-new"


def test_an_ensemble_and_who_won_in_it(visit):
    page, name = visit.page, f"e{uuid4().hex[:8]}"
    page.on("dialog", lambda dialog: dialog.accept())
    add(visit, "/ensembles", "the ensemble", name=name, spec='{"strategy": "race", "members": ["echo", "fake-model"]}')
    ensemble, secret = page.url, visit.gateway.create_key()
    assert 200 in (status_of(visit, secret, name) for _ in range(100))
    for _ in range(50):
        visit.open("/fanouts")
        if page.locator(f"tr:has-text('{name}')").count() == 2:
            break
    rates = [item for item in visit.gateway.admin("GET", "/fanouts")["items"] if item["fanout"] == name]
    assert sum(item["won"] for item in rates) == 1
    for item in rates:
        row = page.locator(f"tr:has-text('{name}'):has-text('{item['model']}')")
        assert float(row.locator("meter").get_attribute("value")) == item["win_rate"]
    page.goto(ensemble)
    page.click("button:has-text('Delete the ensemble')")
    page.wait_for_url("**/ensembles")


def test_what_the_file_owns_has_no_form(visit):
    for path in ("/providers", "/models"):
        listed = visit.gateway.admin("GET", f"{path}?limit=200")["items"]
        owned = next(each for each in listed if each["source"] == "config")
        visit.open(f"{path}/{owned['id']}")
        assert "gateway.yaml:" in visit.page.inner_text("main")
        assert visit.page.locator("main textarea").count() == 0


def test_a_page_that_is_left_open_asks_nothing_by_itself(visit):
    """Or it would keep a session alive that nobody uses."""
    page = visit.page
    page.clock.install()
    visit.open("/providers")
    with page.expect_response("**/providers/health"):
        page.clock.run_for(6_000)
    page.wait_for_selector("#health:not(.htmx-request)")
    page.clock.fast_forward(6 * 60 * 1000)
    page.wait_for_selector("#health:not(.htmx-request)")
    before = len(visit.asked)
    page.clock.run_for(30_000)
    assert len(visit.asked) == before
    page.mouse.move(200, 200)
    with page.expect_response("**/providers/health"):
        page.clock.run_for(6_000)
