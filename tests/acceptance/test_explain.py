"""`llm-gateway explain` says beforehand what a request then meets, in both modes."""

import json
from typing import Any

import pytest
from outside.caller import Caller, user
from servers.gateway import GatewayProcess
from servers.process import wait_until

from providers.testing import FakeProvider


def explained(gateway: GatewayProcess, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gateway.run("explain", "--json", *words).stdout)
    return found


def cached(gateway: GatewayProcess, caller: Caller, *words: str) -> dict[str, Any]:
    """Return what is explained of the cache for a key."""
    found: dict[str, Any] = explained(gateway, "--model", "fake-model", "--key", caller.key_id, *words)["cache"]
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


# --- The cache


def test_it_says_which_setting_switches_the_cache_and_what_cannot_be_told(embedded_gateway: GatewayProcess):
    with Caller(embedded_gateway, cache={"mode": "exact"}) as caller:
        told = cached(embedded_gateway, caller)
        assert (told["mode"], told["set_by"], told["status"], told["reason"]) == (
            "exact",
            "key",
            "unknown",
            "no_text",
        )
        told = cached(embedded_gateway, caller, "--prompt", "what is kept in another process?")
        assert (told["status"], told["reason"]) == ("unknown", "elsewhere")
    operator = explained(embedded_gateway, "--model", "fake-model")["cache"]
    assert (operator["mode"], operator["set_by"], operator["status"]) == ("off", "config", "off")
    text = embedded_gateway.run("explain", "--model", "fake-model").stdout
    assert "off by the settings: off (no setting switches the cache on" in text


def test_with_shared_state_it_finds_what_is_kept(scaled_gateway: GatewayProcess, fake_provider: FakeProvider):
    question, like, unlike = (
        "How do I sort a list in Python?",
        "What is the best way to sort a list in Python?",
        "How do I not sort a list in Python?",
    )
    with Caller(scaled_gateway, cache={"mode": "semantic", "scope": "key"}) as caller:
        assert cached(scaled_gateway, caller, "--prompt", question)["reason"] == "nothing_kept"
        assert fake_provider.journal.entries == []
        made = caller.chat("fake-model", question)
        assert made.headers["x-gateway-cache"] == "miss", "whoever explains does not make it"
        kept = wait_for_hit(caller, question)
        told = cached(scaled_gateway, caller, "--prompt", question)
        assert (told["status"], told["entry_id"], told["reason"]) == ("exact", kept, None)
        near = cached(scaled_gateway, caller, "--prompt", like)
        assert (near["status"], near["entry_id"]) == ("semantic", kept)
        assert near["threshold"] <= near["similarity"] < 1
        apart = cached(scaled_gateway, caller, "--prompt", unlike)
        assert (apart["status"], apart["reason"], apart["guard"]) == ("miss", "guard", "negation")
        words = ("--model", "fake-model", "--key", caller.key_id, "--prompt", unlike)
        assert "told apart by the guard `negation`" in scaled_gateway.run("explain", *words).stdout
    assert len(fake_provider.journal.entries) == 1, "it calls nobody"


def wait_for_hit(caller: Caller, question: str) -> str:
    """Ask until the answer is kept, which happens behind its last byte; return its id."""
    found: list[str] = []

    def look() -> bool:
        answer = caller.chat("fake-model", question, gateway={"cache": "exact"})
        found[:] = [answer.headers.get("x-gateway-cache-id", "")]
        return bool(found[0])

    assert wait_until(look, within_s=20)
    return found[0]


def test_a_whole_request_is_explained_as_it_would_be_sent(embedded_gateway: GatewayProcess):
    with Caller(embedded_gateway, cache={"mode": "exact"}) as caller:
        file = embedded_gateway.folder / "request.json"
        body: dict[str, Any] = {"messages": user("x" * 8_000), "temperature": 1.9, "stream": True}
        file.write_text(json.dumps(body))
        found = explained(
            embedded_gateway, "--model", "fake-model", "--key", caller.key_id, "--body", str(file), "--max-tokens", "7"
        )
        assert (found["cache"]["status"], found["cache"]["reason"]) == ("bypass", "temperature")
        assert found["request"]["input_tokens"] > 2_000
        assert (found["request"]["output_tokens"], found["request"]["stream"]) == (7, True)
        file.write_text(json.dumps({**body, "temperature": 0, "gateway": {"cache": "off"}}))
        assert cached(embedded_gateway, caller, "--body", str(file))["reason"] == "asked_off"
        for text, said in (("[]", "--body holds no JSON object"), ('{"messages": 1}', "messages")):
            file.write_text(text)
            words = ("explain", "--model", "fake-model", "--body", str(file))
            assert said in embedded_gateway.run(*words, expects=1).stderr
