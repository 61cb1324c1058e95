"""`llm-gateway explain` says beforehand what a request then meets, in both modes."""

import json
from typing import Any

import pytest
from outside.caller import Caller
from servers.gateway import GatewayProcess

from providers.testing import FakeProvider


def explained(gateway: GatewayProcess, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gateway.run("explain", "--json", *words).stdout)
    return found


def test_the_operator_sees_the_route_and_its_price(gateway: GatewayProcess, fake_provider: FakeProvider):
    found = explained(gateway, "--model", "fake-model", "--input-tokens", "1000", "--max-tokens", "500")
    assert (found["outcome"], found["refusal"], found["key"]) == ("admitted", None, None)
    assert found["limits"] == found["budgets"] == found["concurrency"] == []
    (target,) = found["route"]["targets"]
    assert (target["target"], target["credentials"], target["breaker"]) == ("fake/fake-model", 1, None)
    assert (target["price"]["input"], target["price"]["output"]) == ("0.150000000", "0.600000000")
    assert target["likely_cost"] == "0.000450000"
    assert target["cost_bound"] == found["request"]["cost_bound"] == "0.000900000"
    assert fake_provider.journal.entries == [], "it calls nobody"


def test_it_foresees_what_a_key_meets(gateway: GatewayProcess):
    limits = {"requests_per_minute": 2, "tokens_per_minute": 100_000}
    with Caller(gateway, models=["fake-model"], limits=limits, budget={"amount": "1.00", "period": "total"}) as caller:
        assert caller.chat("fake-model", max_tokens=20).status_code == 200
        found = explained(gateway, "--model", "fake-model", "--key", caller.key_id, "--max-tokens", "20")
        assert found["outcome"] == "admitted"
        assert found["key"]["id"] == caller.key_id
        assert {limit["dimension"]: limit["limit"] for limit in found["limits"]} == {"requests": 2, "tokens": 100_000}
        assert [budget["amount"] for budget in found["budgets"]] == ["1.000000000"]

        other = explained(gateway, "--model", "echo", "--key", caller.key)
        assert (other["outcome"], other["refusal"]["code"]) == ("refused", "model_not_allowed")
        assert caller.chat("echo").json()["error"]["code"] == "model_not_allowed"

        large = explained(gateway, "--model", "fake-model", "--key", caller.key_id, "--input-tokens", "200000")
        assert large["refusal"]["code"] == "request_too_large"
        assert caller.key not in gateway.run("explain", "--model", "fake-model", "--key", caller.key).stdout


def test_with_shared_state_it_knows_what_is_used(scaled_gateway: GatewayProcess):
    with Caller(scaled_gateway, limits={"requests_per_minute": 1}) as caller:
        assert caller.chat("fake-model").status_code == 200
        found = explained(scaled_gateway, "--model", "fake-model", "--key", caller.key_id)
        assert [limit["used"] for limit in found["limits"]] == [1]
        met = caller.chat("fake-model")
        assert (found["refusal"]["status"], found["refusal"]["code"]) == (429, "rate_limit_exceeded")
        assert (met.status_code, met.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_with_state_of_another_process_it_says_that_it_does_not_know(embedded_gateway: GatewayProcess):
    with Caller(embedded_gateway, limits={"requests_per_minute": 1}) as caller:
        assert caller.chat("fake-model").status_code == 200
        found = explained(embedded_gateway, "--model", "fake-model", "--key", caller.key_id)
        assert [limit["used"] for limit in found["limits"]] == [None]
        assert any("only the running gateway knows" in each for each in found["unknown"])


def test_a_key_that_is_revoked_is_told_so(embedded_gateway: GatewayProcess):
    with Caller(embedded_gateway) as caller:
        embedded_gateway.admin("POST", f"/keys/{caller.key_id}/revoke")
        found = explained(embedded_gateway, "--model", "echo", "--key", caller.key_id)
        assert (found["refusal"]["status"], found["refusal"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "fake-modle"), "did you mean `fake-model`?"),
        (("--model", "echo", "--key", "0123456789"), "there is no inference key '0123456789'"),
        (("--model", "echo", "--key", "env:NOT_THERE"), "the environment has no NOT_THERE"),
    ],
)
def test_what_is_not_there_is_an_error_that_helps(embedded_gateway: GatewayProcess, words: tuple[str, ...], said: str):
    assert said in embedded_gateway.run("explain", *words, expects=1).stderr


def test_the_text_for_people_has_it_all(embedded_gateway: GatewayProcess):
    text = embedded_gateway.run("explain", "--model", "fake-model", "--no-stream").stdout
    for part in ("fake/fake-model", "admitted", "not streamed", "drawn by weight 1 of 1", "0.15", "not known here"):
        assert part in text
