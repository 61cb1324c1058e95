"""`GET /admin/v1/health` of a running gateway, in both modes."""

from typing import Any

import httpx
import pytest
from outside.caller import Caller, user
from servers import configs
from servers.gateway import GatewayProcess

from providers.testing import PRESETS


def lanes_of(health: dict[str, Any]) -> dict[tuple[str, str, int], dict[str, Any]]:
    return {
        (provider["name"], lane["model"], lane["credential"]): lane
        for provider in health["providers"]
        for lane in provider["lanes"]
    }


def test_every_target_of_the_file_is_listed(gateway: GatewayProcess):
    health = gateway.admin("GET", "/health")
    providers = {provider["name"]: provider for provider in health["providers"]}
    assert list(providers) == ["echo", "fake", "local", "faulty"]
    assert [providers[name]["adapter"] for name in providers] == ["echo", "openai", "vllm", "openai"]
    assert providers["fake"]["credentials"] == 1
    lanes = lanes_of(health)
    assert {("echo", "echo", 1), ("fake", "fake-model", 1), ("fake", "fake-embedding", 1)} <= lanes.keys()
    assert {("faulty", name, 1) for name in PRESETS} <= lanes.keys()
    assert lanes["fake", "fake-model", 1]["models"] == ["fake-model"]
    assert configs.FAKE_KEY not in str(health)


def test_stores_and_ledger_are_told(gateway: GatewayProcess):
    health = gateway.admin("GET", "/health")
    is_scaled = "redis" in str(health["stores"])
    kinds = ["redis", "postgresql"] if is_scaled else ["memory", "sqlite"]
    assert health["stores"] == [
        {"name": name, "kind": kind, "up": True} for name, kind in zip(["state", "database"], kinds, strict=True)
    ]
    assert health["ledger"]["lag_s"] >= 0
    assert health["ledger"]["queue_depth"] >= 0


def test_one_process_tells_of_its_own_calls(embedded_gateway: GatewayProcess):
    with Caller(embedded_gateway) as caller:
        assert caller.post({"model": "fake-model", "messages": user("x"), "stream": True}).status_code == 200
    lane = lanes_of(embedded_gateway.admin("GET", "/health"))["fake", "fake-model", 1]
    assert (lane["status"], lane["breaker"], lane["in_flight"], lane["retry_s"]) == ("ok", "closed", 0, None)
    assert lane["samples"] >= 1
    assert 0 < lane["ttft_s"] < 60


def test_a_process_that_makes_no_calls_does_not_guess(scaled_gateway: GatewayProcess):
    with Caller(scaled_gateway) as caller:
        assert caller.post({"model": "fake-model", "messages": user("x"), "stream": True}).status_code == 200
    lane = lanes_of(scaled_gateway.admin("GET", "/health"))["fake", "fake-model", 1]
    assert (lane["in_flight"], lane["samples"], lane["ttft_s"]) == (None, None, None)


@pytest.mark.parametrize("role", ["viewer", "owner"])
def test_it_is_none_of_a_single_organization_s_business(gateway: GatewayProcess, role: str):
    organization = gateway.admin("POST", "/organizations", json={"name": f"one {role}"})

    def ask(organization_id: str | None) -> httpx.Response:
        fields = {"name": role, "role": role, "organization_id": organization_id}
        secret = gateway.admin("POST", "/admin-keys", json=fields)["secret"]
        headers = {"authorization": f"Bearer {secret}"}
        return httpx.get(f"{gateway.admin_url}/admin/v1/health", headers=headers, timeout=20)

    refused = ask(organization["id"])
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert ask(None).status_code == 200
