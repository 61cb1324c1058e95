"""The life of a key, as an administrator sees it."""

from uuid import uuid4

import httpx


def answers(visit, secret):
    """Return the status of a request with this secret."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "one two"}]}
    url = f"{visit.gateway.base_url}/v1/chat/completions"
    return httpx.post(url, json=body, headers={"authorization": f"Bearer {secret}"}, timeout=20).status_code


def make(visit, name):
    """Make a key on the page, and return its secret."""
    visit.open("/keys")
    if visit.page.locator("details.card[open]").count() == 0:
        visit.page.click("summary:has-text('Make a key')")
    visit.page.fill("form input[name=name]", name)
    visit.page.fill("form input[name=budget_amount]", "2.50")
    visit.page.fill("form input[name=requests_per_minute]", "60")
    visit.page.click("button:has-text('Make the key')")
    return visit.page.inner_text("#secret code").strip()


def test_a_key_from_its_making_to_its_end(visit):
    page, name = visit.page, f"browser {uuid4()}"
    first = make(visit, name)
    assert answers(visit, first) == 200
    visit.open("/keys")
    assert first not in page.content()
    assert page.locator(f"tr:has-text('{name}') meter").count() == 1
    page.click(f"a:has-text('{name}')")
    page.wait_for_selector("#limits")
    assert "of $2.50" in page.inner_text("section[aria-labelledby=budget]")

    page.select_option("select[name=grace_s]", "0")
    page.click("button:has-text('Make a new secret')")
    second = page.inner_text("#secret code").strip()
    assert second != first
    assert (answers(visit, first), answers(visit, second)) == (401, 200)

    page.reload()
    page.select_option("select[name=status]", "suspended")
    with page.expect_navigation():
        page.click("button:has-text('Save')")
    assert page.inner_text(".status").lower() == "suspended"
    assert answers(visit, second) == 403

    page.on("dialog", lambda dialog: dialog.accept())
    with page.expect_navigation():
        page.click("button:has-text('Revoke the key')")
    assert page.inner_text(".status").lower() == "revoked"
    assert page.locator("form").count() == 0
    assert answers(visit, second) == 401


def test_a_change_of_what_somebody_else_changed_is_refused(visit):
    page, made = visit.page, visit.gateway.admin("POST", "/keys", json={"name": "two hands"})
    visit.expected = ("Failed to load resource",)
    visit.open(f"/keys/{made['id']}")
    visit.gateway.admin("PATCH", f"/keys/{made['id']}", json={"name": "the other hand"})
    page.fill("input[name=name]", "mine")
    page.click("button:has-text('Save')")
    page.wait_for_selector("#notice .refusal")
    assert visit.gateway.admin("GET", f"/keys/{made['id']}")["name"] == "the other hand"


def test_what_is_wrong_with_a_field_is_said(visit):
    visit.expected = ("Failed to load resource",)
    visit.open("/keys")
    visit.page.eval_on_selector("details", "each => { each.open = true; }")
    visit.page.eval_on_selector("input[name=budget_amount]", "each => each.removeAttribute('pattern')")
    visit.page.fill("form input[name=name]", "x")
    visit.page.fill("input[name=budget_amount]", "much")
    visit.page.click("button:has-text('Make the key')")
    assert "budget.amount" in visit.page.inner_text("#notice .refusal")
