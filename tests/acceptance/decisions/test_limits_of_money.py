"""Limits of money: what a request would hold is told in USD, alike to its client, in its trace and beforehand."""

from decimal import Decimal
from typing import Any

import pytest
from outside.caller import CHAT, Caller, user
from outside.told import of
from servers.configs import PRICE
from servers.gateway import GatewayProcess

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
        assert message.endswith(f"it takes about {limit['asked']} of 0.001000000 USD per minute")
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
        message, _, wait = denied.json()["error"]["message"].partition("; try again in ")
        assert message == (
            f"the key's limit is exhausted: 0.000030000 USD per minute, used {limit['used']}, what is "
            "held by requests in flight included"
        )
        assert wait.endswith(" s")
        assert before["refusal"]["message"].startswith(message)
        assert shown(before) == shown(told)
