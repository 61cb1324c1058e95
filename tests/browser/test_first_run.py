"""From the first look to the first answer, on a gateway that nobody has used."""

import re
import subprocess

import pytest
from servers.gateway import GatewayProcess


@pytest.fixture
def fresh():
    """A gateway without a file, as `serve` alone starts it."""
    running = GatewayProcess.launch()
    try:
        yield running
    finally:
        running.close()


def test_a_first_visit_leads_to_a_curl_that_works(browser, fresh):
    page = browser.new_page()
    browser.clear_cookies()
    page.goto(fresh.admin_url)
    page.fill("input[name=key]", fresh.admin_key)
    page.click("button:has-text('Sign in')")
    page.fill("form input[name=name]", "my first key")
    page.click("button:has-text('Make it')")
    page.wait_for_selector("#secret")
    command = f"{page.inner_text('#curl code')} -sS"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=30)
    assert '"Hello"' in done.stdout
    for _ in range(50):
        page.goto(fresh.admin_url)
        page.wait_for_selector(".waiting", state="detached")
        shown = page.inner_text("#panel-totals")
        if "Make the first request" not in shown:
            break
    assert re.search(r"Requests\s+1\b", shown)
    page.close()
