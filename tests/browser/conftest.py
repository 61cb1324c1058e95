"""A browser at the dashboard of a gateway of its own. What it asks of other hosts, or complains of, fails the test."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_WITHIN_MS = 15_000


def find_browser(own: str) -> str | None:
    """Return the system's Chromium, else the one that Playwright has downloaded, if it has."""
    return next(filter(None, map(shutil.which, (*_NAMES, own))), None)


@dataclass
class Visit:
    """A page of the browser, where it may go, and what it did besides."""

    page: "Page"
    gateway: GatewayProcess
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """What a test makes the browser complain of."""

    def open(self, path: str) -> None:
        """Go to a page of the dashboard, and wait until all its panels are there."""
        self.page.goto(self.gateway.admin_url + path)
        self.settle()

    def settle(self) -> None:
        """Wait until no panel is loading."""
        self.page.wait_for_selector(".waiting", state="detached")

    @property
    def strangers(self) -> list[str]:
        """What was asked of other hosts."""
        ours = (self.gateway.admin_url + "/", self.gateway.base_url + "/", "data:")
        return [url for url in self.asked if not url.startswith(ours)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["BrowserContext"]:
    """Debian's Chromium, or another that is there, with a folder of its own and nothing remembered.

    Not for the session: while Playwright runs, no test of another module in this process can have a loop of its own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        path = find_browser(driver.chromium.executable_path)
        if path is None:
            pytest.skip(f"no browser: none of {', '.join(_NAMES)} is on the path, and Playwright has not installed one")
        context = driver.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("chromium")),
            executable_path=path,
            args=_ARGUMENTS,
        )
        context.set_default_timeout(_WITHIN_MS)
        yield context
        context.close()


@pytest.fixture(scope="session")
def dashboard(session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    """A gateway whose dashboard the tests here have for themselves."""
    secrets = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    fake_key = {configs.FAKE_KEY_NAME: configs.FAKE_KEY}
    running = GatewayProcess.launch(configs.config(fake_url=session_provider.url), environ={**secrets, **fake_key})
    try:
        yield running
        running.stop()
    finally:
        running.close()


def sign_in(browser: "BrowserContext", url: str, key: str) -> None:
    """Sign the browser in, as a person does."""
    page = browser.new_page()
    page.goto(url)
    page.fill("input[name=key]", key)
    page.click("button:has-text('Sign in')")
    page.wait_for_selector("nav[aria-label=Pages]")
    page.close()


@pytest.fixture
def visit(browser: "BrowserContext", dashboard: GatewayProcess) -> Iterator[Visit]:
    """A new page, signed in as the owner."""
    # A cookie is of a host whatever the port, so another gateway's may have taken the place of ours.
    if not browser.request.get(f"{dashboard.admin_url}/admin/v1/session").ok:
        browser.clear_cookies()
        sign_in(browser, dashboard.admin_url, ADMIN_KEY)
    page = browser.new_page()
    made = Visit(page, dashboard)

    page.on("request", lambda request: made.asked.append(request.url))
    page.on("pageerror", lambda error: made.complaints.append(str(error)))
    page.on(
        "console",
        lambda said: made.complaints.append(said.text) if said.type in {"error", "warning"} else None,
    )
    yield made
    page.close()
    assert not made.strangers
    assert not [text for text in made.complaints if not text.startswith(made.expected or ("\0",))]


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    package = pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    return (Path(package.__path__[0]) / "axe.min.js").read_text(encoding="utf-8")
