"""Settings in force, trying others and taking them again; and who may administer, signing in again where it matters."""

import sqlite3
from uuid import uuid4

import httpx
import yaml
from servers.gateway import ADMIN_KEY


def test_settings_are_shown_with_their_origins_and_found(visit):
    visit.open("/config?q=master_secret")
    text = visit.page.inner_text("main")
    assert "secret, set" in text
    assert "GATEWAY_MASTER_SECRET" in text
    visit.page.fill("input[name=q]", "providers.fake.base_url")
    with visit.page.expect_navigation():
        visit.page.click("button:has-text('Search')")
    assert visit.page.locator("tbody tr").count() == 1
    assert "gateway.yaml:" in visit.page.inner_text("tbody")


def test_settings_are_tried_and_taken(visit):
    page, written = visit.page, visit.gateway.config.read_text()
    visit.open("/config?q=log_level")
    page.fill("textarea[name=document]", "log_levle: debug\nmodels: 3\n")
    page.click("button:has-text('Validate')")
    page.wait_for_selector("#checked .status.error")
    assert "log_level" in page.inner_text("#checked")
    page.fill("textarea[name=document]", f"log_level: warning\n{written}")
    page.click("button:has-text('Validate')")
    page.wait_for_selector("#checked .status.ok")
    assert "log_level" in page.inner_text("#checked table")
    assert visit.gateway.config.read_text() == written

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("button:has-text('Reload')")
    assert page.inner_text("#reloaded") == ""
    visit.gateway.write_config(yaml.safe_load(written) | {"log_level": "warning"})
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("button:has-text('Reload')")
    page.wait_for_selector("#reloaded .status.ok")
    assert "log_level" in page.inner_text("#reloaded")
    visit.open("/config?q=log_level")
    assert "warning" in page.inner_text("tbody")
    visit.gateway.config.write_text(written)


def test_a_document_that_is_markup_is_shown_as_text(visit):
    visit.open("/config")
    visit.page.fill("textarea[name=document]", '"<img src=x onerror=window.harmed=1>": 1\n')
    visit.page.click("button:has-text('Validate')")
    visit.page.wait_for_selector("#checked:has-text('<img src=x')")
    assert visit.page.locator("#checked img").count() == 0
    assert visit.page.evaluate("window.harmed") is None


def grow_old(gateway):
    """Let all sessions be of people who signed in a quarter of an hour ago."""
    with sqlite3.connect(next(gateway.folder.rglob("*.db"))) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        name = next(name for name in tables if name.endswith("sessions"))
        (text,) = database.execute(f"SELECT signed_in_at FROM {name} LIMIT 1").fetchone()
        is_text = isinstance(text, str)
        earlier = (
            "strftime('%Y-%m-%d %H:%M:%S', signed_in_at, '-15 minutes')" if is_text else "signed_in_at - 900000000"
        )
        database.execute(f"UPDATE {name} SET signed_in_at = {earlier}")
    database.close()


def test_an_admin_key_needs_a_sign_in_just_now_and_the_page_leads_there_and_back(visit):
    page, name = visit.page, f"auditor {uuid4()}"
    visit.open("/admin-keys")
    grow_old(visit.gateway)
    visit.expected = ("Failed to load resource",)
    page.fill("form[hx-post='/admin-keys'] [name=name]", name)
    page.click("button:has-text('Make the key')")
    page.wait_for_selector("#notice a:has-text('Sign in again')")
    page.click("#notice a")
    page.fill("input[name=key]", ADMIN_KEY)
    page.click("button:has-text('Sign in')")
    page.wait_for_url("**/admin-keys")
    page.fill("form[hx-post='/admin-keys'] [name=name]", name)
    page.click("button:has-text('Make the key')")
    secret = page.inner_text("#secret code").strip()
    assert secret.startswith("sk-gw-admin-")
    visit.open("/admin-keys")
    assert secret not in page.content()
    page.click(f"a:has-text('{name}')")
    page.wait_for_selector("#revoke")
    page.on("dialog", lambda dialog: dialog.accept())
    with page.expect_navigation():
        page.click("button:has-text('Revoke the key')")
    assert page.inner_text(".status").lower() == "revoked"


def test_a_grant_is_given_changed_and_taken_away(visit):
    page, value = visit.page, f"<b>ada {uuid4()}</b>"
    page.on("dialog", lambda dialog: dialog.accept())
    visit.open("/grants")
    page.fill("input[name=value]", value)
    with page.expect_navigation():
        page.click("button:has-text('Give the role')")
    row = page.locator("tr", has_text=value)
    row.locator("select").select_option("admin")
    with page.expect_navigation():
        row.locator("button:has-text('Save')").click()
    assert (
        next(each for each in visit.gateway.admin("GET", "/grants")["items"] if each["value"] == value)["role"]
        == "admin"
    )
    with page.expect_navigation():
        row.locator("button:has-text('Take away')").click()
    assert row.count() == 0


def test_an_owner_ends_somebodys_session_but_not_by_accident_his_own(visit):
    page, name = visit.page, f"guest {uuid4()}"
    page.on("dialog", lambda dialog: dialog.accept())
    key = visit.gateway.admin("POST", "/admin-keys", json={"name": name, "role": "viewer"})
    visit.open("/sessions")
    assert page.locator("tr:has-text('this one') button").count() == 0
    with httpx.Client(base_url=visit.gateway.admin_url) as client:
        assert client.post("/admin/v1/session", json={"key": key["secret"]}).status_code == 201
        visit.open("/sessions")
        with page.expect_navigation():
            page.locator("tr", has_text=name).locator("button").click()
        assert client.get("/admin/v1/session").status_code == 401
