"""One gateway in front of every wire, all of them spoken by one scripted provider."""

from collections.abc import Iterator
from typing import Any

import pytest
from faults.dialects.every_wire import WIRES
from faults.dialects.hall import Hall
from faults.dialects.wires import CREDENTIAL
from outside.caller import Caller
from outside.ledger import Ledger
from servers.configs import PRICE
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider

_KEY_NAME = "CANARY_API_KEY"
_QUICK = {"connect_s": 3, "first_token_s": 1.5, "idle_s": 1.5, "total_s": 20}


def _config(origin: str) -> dict[str, Any]:
    providers, models = {}, {}
    for wire in WIRES:
        key = f"env:{_KEY_NAME}"
        address = origin + wire.settings["base_url"]
        # Here it is tried that all are let go of; calls that are drained instead have tests of their own.
        providers[wire.name] = {**wire.settings, "base_url": address, "api_key": key, "bills_after_disconnect": False}
        target = {"provider": wire.name, "model": wire.model}
        model = {"targets": [target], "price": dict(PRICE), "retries": 0, "breaker": False}
        models[wire.name] = model
        models[f"{wire.name}-quick"] = {**model, "timeouts": _QUICK}
    return {"providers": providers, "models": models}


@pytest.fixture(scope="session")
def all_wires(session_provider: FakeProvider) -> Iterator[GatewayProcess]:
    """A gateway in one process that has a provider for every wire."""
    environ = {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        _KEY_NAME: CREDENTIAL,
    }
    running = GatewayProcess.launch(_config(session_provider.origin), environ=environ)
    try:
        yield running
        running.stop()
        assert [record for record in running.log_records() if record["level"] in {"error", "critical"}] == []
        assert CREDENTIAL not in "\n".join(running.log_lines())
    finally:
        running.close()


@pytest.fixture
def hall(all_wires: GatewayProcess, fake_provider: FakeProvider) -> Iterator[Hall]:
    """The gateway, the provider behind it, and a key whose events are those of the test."""
    with Caller(all_wires) as caller:
        yield Hall(gateway=all_wires, provider=fake_provider, caller=caller, ledger=Ledger(all_wires))
