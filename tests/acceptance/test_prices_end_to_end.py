"""Prices made through the admin API, as callers pay them: on every worker, in both modes, also where no signal came."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest
import yaml
from outside.caller import CHAT, Caller, user
from outside.ledger import Ledger
from servers.gateway import MASTER_SECRET, GatewayProcess

from app.db.engine import Database
from app.domain.audit.principal import COMMAND_LINE
from app.domain.prices.schemas import PatchPrice
from app.domain.services import AdminServices
from app.kernel.clock import SystemClock
from providers.types import Secret

BODY = {"model": "echo", "messages": user("one two three")}
CONNECTIONS = 16
"""At once and each new, so that every worker of two is asked."""
EFFECTIVE_WITHIN_S = 5.0
FREE = "0.000000000"


def costs(caller: Caller) -> set[str]:
    """Return what the same request costs on every worker."""
    headers = {"authorization": f"Bearer {caller.key}", "connection": "close"}

    def once(_: int) -> str:
        answer = httpx.post(caller.gateway.base_url + CHAT, json=BODY, headers=headers, timeout=20, verify=False)
        assert answer.status_code == 200
        return answer.headers["x-gateway-cost"]

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return set(threads.map(once, range(CONNECTIONS)))


def wait_for(caller: Caller, cost: str, *, within_s: float = EFFECTIVE_WITHIN_S) -> None:
    """Return when the request costs that much on every worker."""
    began = time.monotonic()
    while costs(caller) != {cost}:
        assert time.monotonic() - began < within_s, "the price has not reached every worker"
    assert costs(caller) == {cost}


@pytest.fixture
def price(gateway: GatewayProcess, caller: Caller) -> Iterator[dict[str, Any]]:
    """A price of the echo, which is free without: its output costs 1 USD per million, so a word 1,000 nano-USD."""
    assert costs(caller) == {FREE}
    made = gateway.admin("POST", "/prices", json={"provider": "echo", "model": "echo", "input": "0", "output": "1"})
    yield made
    gateway.admin("DELETE", f"/prices/{made['id']}")
    wait_for(caller, FREE)


def test_a_price_reaches_every_worker_and_history_keeps_its_own(
    gateway: GatewayProcess, caller: Caller, ledger: Ledger, price: dict[str, Any]
):
    wait_for(caller, "0.000003000")
    first = caller.post(BODY)
    gateway.admin("PATCH", f"/prices/{price['id']}", json={"output": "2"})
    wait_for(caller, "0.000006000")
    second = caller.post(BODY)
    name = f"api:{price['id'][-8:]}"
    for answer, expected in ((first, (3_000, f"{name}@1")), (second, (6_000, f"{name}@2"))):
        (event,) = ledger.wait(1, request_id=UUID(answer.headers["x-request-id"]))
        assert (event["cost_nusd"], event["price_version"]) == expected


def test_a_change_that_nobody_signals_is_found_in_the_change_log(
    gateway: GatewayProcess, caller: Caller, price: dict[str, Any]
):
    wait_for(caller, "0.000003000")
    asyncio.run(_patch_silently(_database_of(gateway), UUID(price["id"]), PatchPrice(output="7")))
    wait_for(caller, "0.000021000")


def test_the_files_price_wins(gateway: GatewayProcess, caller: Caller, ledger: Ledger):
    made = gateway.admin("POST", "/prices", json={"provider": "fake", "model": "fake-model", "input": "9000"})
    try:
        listed = gateway.admin("GET", "/prices?limit=200")["items"]
        assert {"api", "config"} == {item["source"] for item in listed}
        answer = caller.chat("fake-model")
        (event,) = ledger.wait(1, request_id=UUID(answer.headers["x-request-id"]))
        assert event["price_version"].startswith("config:")
    finally:
        gateway.admin("DELETE", f"/prices/{made['id']}")


def test_a_price_survives_a_reload(gateway: GatewayProcess, caller: Caller, price: dict[str, Any]):
    wait_for(caller, "0.000003000")
    gateway.reload()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert costs(caller) == {"0.000003000"}


def _database_of(gateway: GatewayProcess) -> str:
    assert gateway.config is not None
    url = yaml.safe_load(gateway.config.read_text()).get("database")
    return url or f"sqlite+aiosqlite:///{gateway.folder}/.gateway/gateway.db"


async def _patch_silently(url: str, price_id: UUID, patch: PatchPrice) -> None:
    """Change a price as a process does that reaches no other."""
    database = Database(url)
    services = AdminServices.over(database, clock=SystemClock(), master_secret=Secret(MASTER_SECRET))
    try:
        async with services.auditor.transaction(COMMAND_LINE, request_id="silent") as transaction:
            await services.prices.patch(transaction, price_id, patch)
    finally:
        await database.aclose()
