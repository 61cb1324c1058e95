"""Limits of money: what a request would hold is told in USD, alike to its client, in its trace and beforehand."""

from decimal import Decimal
from typing import Any

import pytest
from outside.caller import CHAT, Caller, user
from outside.told import of
from servers.configs import PRICE
from servers.gateway import GatewayProcess

from app.api.body import JSON_TYPE
from app.api.wires import WIRES

_TOKENS = 4_000
_OUTPUT = _TOKENS * Decimal(PRICE["output"]) / 1_000_000
_SAME = ("scope", "dimension", "limit", "asked", "used", "remaining", "share", "refused")


def of_money(limit: str) -> dict[str, Any]:
    return {"rules": [{"dimension": "cost", "limit": limit, "window_s": 60}]}


def body(max_tokens: int = _TOKENS) -> dict[str, Any]:
    return {"model": "fake-model", "messages": user("hello big world"), "max_tokens": max_tokens}


def dry_run(caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = caller.http.post("/v1/llm/explain", json={"path": CHAT, "body": asked}).json()
    return told


def shown(told: dict[str, Any]) -> list[list[Any]]:
    return [[limit[name] for name in _SAME] for limit in told["limits"]]


def test_what_passes_is_told_with_what_it_held(gateway: GatewayProcess):
    with Caller(gateway, limits=of_money("1")) as caller:
        before = dry_run(caller, body())
        told = of(caller, caller.post(body()))
        (limit,) = told["limits"]
        assert _OUTPUT < Decimal(limit["asked"]) < 2 * _OUTPUT
        assert Decimal(limit["asked"]) >= Decimal(told["cost"]) > 0
        assert limit["share"] > 0
        assert shown(before) == shown(told)


@pytest.mark.parametrize("budget", [None, {"amount": "0.002", "period": "total"}])
def test_what_is_too_large_is_told_with_what_it_would_hold(gateway: GatewayProcess, budget: dict[str, Any] | None):
    """A budget lets a request be smaller first, to what it pays for, and only that is too large then."""
    with Caller(gateway, limits=of_money("0.001"), budget=budget) as caller:
        before = dry_run(caller, body())
        denied = caller.post(body())
        told = of(caller, denied)
        (limit,) = told["limits"]
        assert (denied.status_code, told["refusal"]["code"]) == (429, "request_too_large")
        least, most = (_OUTPUT, 2 * _OUTPUT) if budget is None else (Decimal("0.0019"), Decimal("0.002"))
        assert least < Decimal(limit["asked"]) <= most
        message = denied.json()["error"]["message"]
        assert f"it takes about {limit['asked']}, limit 0.001000000 USD per minute, used or held 0.000" in message
        assert limit["share"] > 1
        assert before["refusal"] == told["refusal"]
        assert before["refusal"]["message"] == message
        assert shown(before) == shown(told)


def test_what_finds_too_little_left_is_told_with_what_is_used(gateway: GatewayProcess):
    with Caller(gateway, limits=of_money("0.00003")) as caller:
        while (denied := caller.post(body(10))).status_code == 200:
            pass
        before = dry_run(caller, body(10))
        told = of(caller, denied)
        (limit,) = told["limits"]
        assert (denied.status_code, told["refusal"]["code"]) == (429, "rate_limit_exceeded")
        assert Decimal(limit["asked"]) > 0
        assert Decimal(limit["used"]) > 0
        assert Decimal(limit["used"]) + Decimal(limit["asked"]) > Decimal("0.00003")
        message, _, wait = denied.json()["error"]["message"].partition("; reset in ")
        assert message == (
            f"the limit of the scope key is exhausted: limit 0.000030000 USD per minute, used or held {limit['used']}"
        )
        assert wait.endswith(" s")
        assert before["refusal"]["message"].startswith(message)
        assert shown(before) == shown(told)


_WORDS = {"messages": user("hello big world")}
_ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {**_WORDS, "n": 2},
    "/v1/completions": {"model": "fake-local", "prompt": "hello big world", "max_tokens": 9},
    "/v1/embeddings": {"model": "fake-embedding", "input": "hello big world"},
    "/v1/moderations": {"input": "hello big world"},
    "/v1/rerank": {"query": "hello", "documents": ["big", "world"]},
    "/v1/responses": {"input": "hello big world", "max_output_tokens": 20},
    "/v1/images/generations": {"prompt": "hello big world"},
    "/v1/audio/speech": {"input": "hello big world", "voice": "alloy"},
    "/v1/llm/chat": {**_WORDS, "fanout": {"strategy": "race", "models": ["fake-model", "ordered"]}},
    "/v1/messages": {**_WORDS, "max_tokens": 9},
    "/v1/messages/count_tokens": dict(_WORDS),
    "/v1beta/models/{rest:path}": {"contents": [{"parts": [{"text": "hello big world"}]}]},
}
_FREE_OF_OUTPUT = {"/v1/embeddings", "/v1/moderations", "/v1/rerank", "/v1/messages/count_tokens"}


def test_every_path_that_takes_json_has_an_example():
    assert _ASKED.keys() == {wire.route for wire in WIRES if wire.media_type == JSON_TYPE}


@pytest.mark.parametrize("route", _ASKED)
def test_what_is_told_beforehand_is_what_a_budget_holds(gateway: GatewayProcess, route: str):
    path, asked = route.replace("{rest:path}", "fake-model:generateContent"), dict(_ASKED[route])
    if "fanout" not in asked and route == path:
        asked = {"model": "fake-model"} | asked
    with Caller(gateway, budget={"amount": "5", "period": "day"}) as bound, Caller(gateway) as free:
        answer = bound.post(asked, path=path)
        assert answer.status_code == 200, answer.text
        is_free = route == "/v1/messages/count_tokens"
        held = "0.000000000" if is_free else of(bound, answer)["budgets"][0]["reserved"]
        assert (Decimal(held) == 0) is is_free
        for caller in (bound, free):
            told = caller.http.post("/v1/llm/explain", json={"path": path, "body": asked}).json()["request"]
            assert told["cost_bound"] == held
            assert (told["output_tokens"] == 0) == (route in _FREE_OF_OUTPUT)
