"""Signing in and out, and what a session's cookie alone does not do."""

import httpx
import pytest
from servers.gateway import ADMIN_KEY


@pytest.fixture
def session(dashboard):
    """A client with a session, and what its pages send beside the cookie."""
    with httpx.Client(base_url=dashboard.admin_url) as client:
        made = client.post("/admin/v1/session", json={"key": ADMIN_KEY})
        assert made.status_code == 201
        client.csrf_token = made.json()["csrf_token"]
        yield client


def own(session, **other):
    """The headers that a page of ours sends; None leaves one out."""
    mine = {
        "origin": str(session.base_url).rstrip("/"),
        "sec-fetch-site": "same-origin",
        "hx-request": "true",
        "x-csrf-token": session.csrf_token,
    }
    merged = mine | {name.replace("_", "-"): value for name, value in other.items()}
    return {name: value for name, value in merged.items() if value is not None}


def test_a_page_of_ours_may_write(session):
    answer = session.post("/keys", data={"name": "by a session"}, headers=own(session))
    assert answer.status_code == 200
    assert "sk-gw-" in answer.text


@pytest.mark.parametrize(
    "other",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": None, "origin": None},
        {"hx_request": None},
        {"x_csrf_token": None},
        {"x_csrf_token": "another"},
    ],
)
def test_a_write_that_no_page_of_ours_sent_is_refused(session, other):
    before = session.get("/audit").text.count("<tr>")
    answer = session.post("/keys", data={"name": "forged"}, headers=own(session, **other))
    assert answer.status_code == 403
    assert session.get("/audit").text.count("<tr>") == before


def test_signing_in_with_a_wrong_key_is_refused_and_with_the_right_one_goes_on(browser, dashboard):
    page = browser.new_page()
    browser.clear_cookies()
    page.goto(f"{dashboard.admin_url}/keys")
    page.fill("input[name=key]", "sk-gw-admin-wrong")
    page.click("button:has-text('Sign in')")
    page.wait_for_selector("#notice .refusal")
    page.fill("input[name=key]", ADMIN_KEY)
    page.click("button:has-text('Sign in')")
    page.wait_for_url(f"{dashboard.admin_url}/keys")
    assert page.inner_text("h1") == "Keys"
    page.click("#sign-out")
    page.wait_for_url("**/sign-in")
    page.goto(f"{dashboard.admin_url}/keys")
    assert page.inner_text("h1") == "Sign in"
    page.close()


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "https://evil.example/", "javascript:alert(1)"])
def test_signing_in_leads_to_no_other_host(dashboard, path):
    answer = httpx.get(f"{dashboard.admin_url}/sign-in", params={"next": path})
    assert 'data-next="/"' in answer.text


def test_a_viewer_sees_no_form_and_may_not_send_one(dashboard):
    made = dashboard.admin("POST", "/admin-keys", json={"name": "viewer", "role": "viewer"})
    with httpx.Client(base_url=dashboard.admin_url) as client:
        signed_in = client.post("/admin/v1/session", json={"key": made["secret"]})
        client.csrf_token = signed_in.json()["csrf_token"]
        assert "hx-post" not in client.get("/keys").text
        assert client.post("/keys", data={"name": "x"}, headers=own(client)).status_code == 403


def test_another_organizations_key_is_not_there(dashboard):
    organization = dashboard.admin("POST", "/organizations", json={"name": "theirs"})
    spec = {"name": "theirs", "role": "admin", "organization_id": organization["id"]}
    theirs = dashboard.admin("POST", "/admin-keys", json=spec)
    ours = dashboard.admin("POST", "/keys", json={"name": "ours"})
    with httpx.Client(base_url=dashboard.admin_url, headers={"authorization": f"Bearer {theirs['secret']}"}) as client:
        assert client.get(f"/keys/{ours['id']}").status_code == 404
        assert client.get("/providers").status_code == 403
        assert "ours" not in client.get("/keys").text
