"""The playground: an answer as it comes, and nothing that it could do to the page."""

import time

import httpx
import pytest

HOSTILE = "<img src=x onerror=window.harmed=1> <script>window.harmed=1</script> **end**"


@pytest.fixture(scope="session")
def secret(dashboard):
    return dashboard.create_key()


def send(visit, secret, message, model="echo"):
    visit.open("/playground")
    visit.page.fill("input[name=key]", secret)
    visit.page.select_option("select[name=model]", model)
    visit.page.fill("textarea[name=message]", message)
    visit.page.click("button:has-text('Send')")


def test_a_streamed_answer_and_its_trace(visit, secret):
    send(visit, secret, "one two three")
    visit.page.wait_for_selector("#facts a")
    assert visit.page.inner_text("#answer") == "one two three"
    assert "tokens in" in visit.page.inner_text("#facts")
    deadline = time.monotonic() + 5
    visit.expected = ("Failed to load resource",)
    href = visit.page.get_attribute("#facts a", "href")
    while visit.page.goto(visit.gateway.admin_url + href).status != 200:
        assert time.monotonic() < deadline
    assert "echo/echo" in visit.page.inner_text("main")


def test_an_answer_is_shown_while_it_is_made(visit, secret):
    words = " ".join(f"word{number}" for number in range(12))
    visit.open("/playground")
    visit.page.evaluate(
        "window.sizes = []; new MutationObserver(() => "
        "sizes.push(document.getElementById('answer').textContent.length))"
        ".observe(document.getElementById('answer'), {childList: true})"
    )
    visit.page.fill("input[name=key]", secret)
    visit.page.select_option("select[name=model]", "fake-slow-chunks")
    visit.page.fill("textarea[name=message]", words)
    visit.page.click("button:has-text('Send')")
    visit.page.wait_for_selector("#facts a")
    sizes = visit.page.evaluate("sizes")
    assert len({size for size in sizes if 0 < size < len(words)}) > 2
    assert visit.page.inner_text("#answer") == words


def test_a_hostile_answer_is_text(visit, secret):
    send(visit, secret, HOSTILE)
    visit.page.wait_for_selector("#facts a")
    assert visit.page.inner_text("#answer") == HOSTILE
    assert visit.page.locator("#answer *").count() == 0
    assert visit.page.evaluate("window.harmed") is None


def test_a_key_made_for_an_hour_answers_and_reaches_the_gateway_only(visit):
    posted = []
    visit.page.on("request", lambda request: posted.append((request.url, request.post_data or "")))
    visit.open("/playground")
    visit.page.click("button:has-text('for an hour')")
    visit.page.wait_for_selector("#key-field a[href^='/keys/']")
    secret = visit.page.input_value("input[name=key]")
    made = visit.gateway.admin("GET", f"/keys/{visit.page.get_attribute('#key-field a', 'href').rpartition('/')[2]}")
    assert made["public_id"] in secret
    assert made["expires_at"] is not None
    visit.page.fill("input[name=other]", "echo")
    visit.page.fill("textarea[name=message]", "by a short key")
    visit.page.click("button:has-text('Send')")
    visit.page.wait_for_selector("#facts a")
    assert visit.page.inner_text("#answer") == "by a short key"
    visit.page.click("button:has-text('for an hour')")
    visit.page.wait_for_selector(f"#key-field a:not([href$='{made['id']}'])")
    assert not [url for url, data in posted if url.startswith(visit.gateway.admin_url) and secret in data]


def test_models_of_the_file_and_made_here_and_ensembles_can_be_picked(visit):
    visit.gateway.admin("POST", "/models", json={"name": "picked", "targets": [{"provider": "echo", "model": "echo"}]})
    spec = {"name": "picked ensemble", "strategy": "race", "members": ["echo"]}
    visit.gateway.admin("POST", "/ensembles", json=spec)
    choices: dict[str, list[str]] = {}
    for _ in range(50):
        visit.open("/playground")
        choices = visit.page.eval_on_selector_all(
            "optgroup",
            "all => Object.fromEntries(all.map(each => [each.label, [...each.children].map(one => one.value)]))",
        )
        if "picked" in choices.get("Models made here", []):
            break
    assert "fake-model" in choices["Models of the file"]
    assert "picked" in choices["Models made here"]
    assert "picked ensemble" in choices["Ensembles"]


def test_a_refusal_is_said(visit):
    visit.expected = ("Failed to load resource",)
    send(visit, "sk-gw-nobody", "x")
    visit.page.wait_for_selector("#facts:not(:empty)")
    assert "key" in visit.page.inner_text("#facts").lower()


def test_the_page_may_reach_the_gateway_and_no_other_host(visit, dashboard, secret):
    visit.expected = ("Connecting to", "Refused to connect", "Fetch API cannot load")
    visit.open("/playground")
    url = f"{dashboard.base_url}/v1/models"
    head = f"{{headers: {{authorization: 'Bearer {secret}'}}}}"
    assert visit.page.evaluate(f"fetch('{url}', {head}).then(reply => reply.status)") == 200
    assert visit.page.evaluate("fetch('http://127.0.0.1:9/').catch(error => error.name)") == "TypeError"
    visit.open("/keys")
    assert visit.page.evaluate(f"fetch('{url}', {head}).catch(error => error.name)") == "TypeError"
    assert "http://127.0.0.1:9/" not in visit.asked


def test_a_page_of_another_origin_must_bring_a_key(dashboard):
    url = f"{dashboard.base_url}/v1/chat/completions"
    origin = {"origin": "http://other.example"}
    asks = {**origin, "access-control-request-method": "POST"}
    before = httpx.options(url, headers=asks)
    refused = httpx.post(url, json={}, headers=origin)
    assert before.status_code == 204
    assert refused.status_code == 401
    for answer in (before, refused):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
    assert "access-control-allow-origin" not in httpx.get(f"{dashboard.base_url}/v1/models").headers
    assert "access-control-allow-origin" not in httpx.get(f"{dashboard.base_url}/metrics", headers=origin).headers
    assert "access-control-allow-origin" not in httpx.get(f"{dashboard.admin_url}/keys", headers=asks).headers
