"""Takes the screenshots of the README: a gateway of its own, a day of made-up traffic, and Chromium.

    .venv/bin/python infra/docs/screenshots.py

Law: nothing is drawn by hand; what is shown is what the dashboard answers.
"""

import asyncio
import random
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from accounting.events import make_event  # noqa: E402 - the path to it is set above
from playwright.sync_api import Page, sync_playwright  # noqa: E402 - the same
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess  # noqa: E402 - the same

from app.db.engine import Database  # noqa: E402 - the same
from app.domain.usage import repository  # noqa: E402 - the same
from app.domain.usage.schemas import UsageEvent  # noqa: E402 - the same
from app.kernel.ids import uuid7  # noqa: E402 - the same

IMAGES = Path(__file__).parent / "images"
MAX_BYTES = 120_000
SIZE = {"width": 1180, "height": 760}
CONFIG: dict[str, Any] = {
    "providers": {
        "echo": {"adapter": "echo"},
        "openai": {"adapter": "openai", "api_key": "env:OPENAI_API_KEY"},
        "anthropic": {"adapter": "anthropic", "api_key": "env:ANTHROPIC_API_KEY"},
    },
    "models": {
        "small": {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}]},
        "careful": {"targets": [{"provider": "anthropic", "model": "claude-sonnet-4-5"}]},
        "echo": {"targets": [{"provider": "echo", "model": "echo"}]},
    },
    "ensembles": {"quick": {"strategy": "race", "members": ["small", "careful"]}},
}
SECRETS = {
    "GATEWAY_ADMIN_KEY": ADMIN_KEY,
    "GATEWAY_MASTER_SECRET": MASTER_SECRET,
    "OPENAI_API_KEY": "sk-of-a-screenshot",
    "ANTHROPIC_API_KEY": "sk-of-a-screenshot",
}
SERVED = {"small": ("openai", "gpt-4o-mini"), "careful": ("anthropic", "claude-sonnet-4-5")}
OF_HITS, OF_FAILURES = 0.3, 0.03
AT_ONCE = 500
PICTURES = [
    ("overview-light", "/", "light"),
    ("fanouts-light", "/fanouts", "light"),
    ("models-dark", "/models", "dark"),
]


def traffic(key: dict[str, Any], team: dict[str, Any]) -> Iterator[UsageEvent]:
    """Yield a day of events: busy at noon, now and then an error, a third out of the cache, some races."""
    chance, now = random.Random(8), datetime.now(UTC)  # noqa: S311 - made-up traffic
    ids = {"key_id": UUID(key["id"]), "team_id": UUID(team["id"]), "organization_id": UUID(team["organization_id"])}
    for minute in range(0, 24 * 60, 5):
        at = now - timedelta(minutes=minute + 3)
        for _ in range(1 + round(8 * max(0.0, 1 - abs(at.hour - 13) / 8) * chance.random())):
            model = chance.choice(["small", "small", "careful"])
            yield _event(chance, at, model=model, **ids)
        if minute % 15 == 0:
            yield from _race(chance, at, **ids)


def _event(chance: random.Random, at: datetime, *, model: str, **more: Any) -> UsageEvent:
    provider, upstream = SERVED[model]
    is_hit, is_failed = chance.random() < OF_HITS, chance.random() < OF_FAILURES
    cost_nusd = chance.randrange(200_000, 900_000) * (12 if model == "careful" else 1)
    first_ms = chance.randrange(180, 700)
    given = {
        "request_id": uuid7(int(at.timestamp() * 1e9)),
        "occurred_at": at,
        "provider": provider,
        "model": model,
        "upstream_model": upstream,
        "stream": True,
        "is_final": True,
        "outcome": "error" if is_failed else "ok",
        "status": 502 if is_failed else 200,
        "cache_status": "exact" if is_hit else "miss",
        "cost_nusd": 0 if is_hit else cost_nusd,
        "saved_nusd": cost_nusd if is_hit else 0,
        "input_tokens": 0 if is_hit else chance.randrange(300, 2_000),
        "output_tokens": 0 if is_hit else chance.randrange(80, 600),
        "duration_ms": 4 if is_hit else first_ms * 4,
        "ttft_ms": 3 if is_hit else first_ms,
    }
    return make_event(**given | more)


def _race(chance: random.Random, at: datetime, **ids: Any) -> Iterator[UsageEvent]:
    request_id, winner = uuid7(int(at.timestamp() * 1e9)), chance.choice(["small", "small", "small", "careful"])
    for attempt, model in enumerate(SERVED, start=1):
        leg = {"fanout": "quick", "leg": "won" if model == winner else "lost", "is_final": model == winner}
        yield _event(chance, at, model=model, request_id=request_id, attempt=attempt, cache_status=None, **leg, **ids)


def seed(gateway: GatewayProcess) -> None:
    """Put a day of traffic into a gateway's ledger."""
    organization = gateway.admin("POST", "/organizations", json={"name": "Acme"})
    team = gateway.admin("POST", "/teams", json={"name": "search", "organization_id": organization["id"]})
    key = gateway.admin("POST", "/keys", json={"name": "search service", "team_id": team["id"]})
    path = next(gateway.folder.rglob("*.db"))

    async def insert() -> None:
        database = Database(f"sqlite+aiosqlite:///{path}")
        events = list(traffic(key, team))
        async with database.transaction() as connection:
            for start in range(0, len(events), AT_ONCE):
                await repository.insert_events(connection, events[start : start + AT_ONCE])
        await database.aclose()

    asyncio.run(insert())


def sign_in(page: Page, url: str) -> None:
    """Sign in as a person does."""
    page.goto(url)
    page.fill("input[name=key]", ADMIN_KEY)
    page.click("button:has-text('Sign in')")
    page.wait_for_selector("nav[aria-label=Pages]")


def take(gateway: GatewayProcess) -> None:
    """Write the pictures."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type] # a dict with these two keys
        sign_in(page, gateway.admin_url)
        for name, path, scheme in PICTURES:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # one of two words
            page.goto(gateway.admin_url + path)
            page.wait_for_selector(".waiting", state="detached")
            picture = page.screenshot(path=IMAGES / f"{name}.png")
            if len(picture) > MAX_BYTES:
                raise SystemExit(f"{name} has {len(picture)} bytes, more than {MAX_BYTES}")
            print(f"{name}: {len(picture)} bytes")
        browser.close()


def main() -> None:
    """Start, seed, take, stop."""
    gateway = GatewayProcess.launch(CONFIG, environ=SECRETS)
    try:
        seed(gateway)
        take(gateway)
        gateway.stop()
    finally:
        gateway.close()


if __name__ == "__main__":
    main()
