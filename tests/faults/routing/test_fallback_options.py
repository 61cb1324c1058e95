"""What may be said of fallbacks, and what bounds them: keys, budgets, deadlines, pinned targets, stored state."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from faults.routing.stage import Stage, Told, model, staged
from outside.caller import Caller
from outside.ledger import Ledger

from providers.testing import Script

DEAR = {"input": "150", "output": "600"}
DEADLINE_S = 1.0
FALLS = {"retries": 0}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    unpriced = model("spare", **FALLS)
    del unpriced["price"]
    models = {
        "down": model("down", **FALLS),
        "slow": model("slow", **FALLS, fallbacks=["slower", "up"]),
        "slower": model("slow", **FALLS),
        "up": model("up", **FALLS),
        "secret": model("secret", **FALLS),
        "falls-secretly": model("down", **FALLS, fallbacks=["secret", "up"]),
        "nests": model("down", **FALLS, fallbacks=["nested"]),
        "nested": model("down-too", **FALLS, fallbacks=["up"]),
        "dear": model("spare", **FALLS, price=DEAR),
        "falls-dearly": model("down", **FALLS, fallbacks=["dear"]),
        "unpriced": unpriced,
        "falls-unpriced": model("down", **FALLS, fallbacks=["unpriced", "up"]),
        "pinned": model("up", "down", **FALLS, fallbacks=["up"]),
        "falls": model("down", **FALLS, fallbacks=["up"]),
    }
    with staged(models) as found:
        for name in ("down", "down-too"):
            found.providers[name].script(Script(status=503))
        found.providers["slow"].script(Script(head_delay_ms=60_000))
        yield found


async def ask(stage: Stage, name: str, *, key: dict[str, Any] | None = None, **headers: str) -> Told:
    with Caller(stage.gateway, **(key or {})) as caller:
        return await stage.ask(
            caller.key, name, headers={f"x-gateway-{k.replace('_', '-')}": headers[k] for k in headers}
        )


def served(told: Told) -> tuple[int, str, str, int]:
    return told.status, told.provider, told.said.headers["x-gateway-model"], told.attempts


async def test_a_caller_names_its_own_fallbacks(stage: Stage):
    assert served(await ask(stage, "down", fallbacks="up")) == (200, "up", "up", 2)
    assert served(await ask(stage, "down")) == (502, "down", "down", 1)
    instead = await ask(stage, "falls", fallbacks="secret")
    assert served(instead) == (200, "secret", "secret", 2), "in place of the operator's"


@pytest.mark.parametrize(
    ("named", "status", "code"), [("nothing", 404, "model_not_found"), ("secret", 403, "model_not_allowed")]
)
async def test_a_fallback_must_exist_and_be_the_callers_to_use(stage: Stage, named: str, status: int, code: str):
    told = await ask(stage, "up", key={"models": ["up", "down"]}, fallbacks=named)
    assert (told.status, told.error["code"], told.error["param"]) == (status, code, "x-gateway-fallbacks")


async def test_an_operators_fallback_that_the_key_may_not_use_is_passed_over(stage: Stage):
    told = await ask(stage, "falls-secretly", key={"models": ["falls-secretly", "up"]})
    assert served(told) == (200, "up", "up", 2)
    assert served(await ask(stage, "falls-secretly")) == (200, "secret", "secret", 2)


async def test_fallbacks_nest(stage: Stage):
    assert served(await ask(stage, "nests")) == (200, "up", "up", 3)


async def test_a_dear_fallback_is_reserved_for(stage: Stage):
    """A budget pays for the model many times, and not once for its fallback."""
    budget = {"amount": "0.0004", "period": "total"}
    for name, status in (("up", 200), ("falls-dearly", 429)):
        told = await ask(stage, name, key={"budget": budget})
        assert told.status == status, told.said
    assert told.error["code"] == "insufficient_quota"


async def test_a_hard_budget_holds_whoever_serves(stage: Stage):
    amount_nusd = 40_000_000
    key = {"budget": {"amount": "0.04", "period": "total"}}
    with Caller(stage.gateway, **key) as caller:
        told = await asyncio.gather(*(stage.ask(caller.key, "falls-dearly") for _ in range(40)))
        events = Ledger(stage.gateway).wait(sum(each.attempts for each in told), key_id=caller.key_id, within_s=20)
    assert {each.status for each in told} == {200, 429}
    assert 0 < sum(event["cost_nusd"] for event in events) <= amount_nusd


async def test_a_fallback_without_a_price_is_passed_over_where_money_is_counted(stage: Stage):
    assert served(await ask(stage, "falls-unpriced")) == (200, "spare", "unpriced", 2)
    told = await ask(stage, "falls-unpriced", key={"budget": {"amount": "1", "period": "total"}})
    assert served(told) == (200, "up", "up", 2)


async def test_the_callers_deadline_bounds_fallbacks_too(stage: Stage):
    began_s = time.monotonic()
    told = await ask(stage, "slow", timeout_s=str(DEADLINE_S))
    assert DEADLINE_S * 0.9 < time.monotonic() - began_s < DEADLINE_S + 2
    assert (told.status, told.error["code"], told.attempts) == (504, "upstream_timeout", 1)


async def test_who_chooses_a_target_gets_that_or_nothing(stage: Stage):
    key = {"may_route": True}
    assert served(await ask(stage, "pinned", key=key, route="down/up")) == (502, "down", "pinned", 1)
    assert served(await ask(stage, "pinned", key=key, route="up/up")) == (200, "up", "pinned", 1)
    assert served(await ask(stage, "pinned", key=key, route="down/up", fallbacks="up")) == (200, "up", "up", 2)


async def test_what_a_provider_keeps_is_asked_of_nobody_else():
    """A response that one provider's store has is gone on from there, or not at all."""
    made = {"id": "resp_kept", "object": "response", "status": "completed", "model": "up", "output": [], "usage": None}
    keeper = {"targets": [{"provider": "keeper", "model": "up"}], "retries": 0, "fallbacks": ["other"]}
    models = {"kept": keeper, "other": {"targets": [{"provider": "other", "model": "up"}], "retries": 0}}
    with staged(models, options={"serves": ["responses"]}) as stage, Caller(stage.gateway) as caller:
        stage.providers["keeper"].script(Script(body=json.dumps(made)))
        stage.providers["other"].script(Script(body=json.dumps(made)))
        first = caller.post({"model": "kept", "input": "hello"}, path="/v1/responses")
        assert first.status_code == 200, first.text
        stage.providers["keeper"].script(Script(status=503))
        plain = caller.post({"model": "kept", "input": "hello"}, path="/v1/responses")
        assert (plain.status_code, plain.headers["x-gateway-provider"]) == (200, "other")
        going_on = {"model": "kept", "input": "and?", "previous_response_id": "resp_kept"}
        after = caller.post(going_on, path="/v1/responses")
        assert (after.status_code, after.headers["x-gateway-attempts"]) == (502, "1")
        assert len(stage.calls("other")) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_what_is_asked_again_is_answered_as_it_was(stage: Stage, stream: bool):
    """A repeated request gets the fallback's answer, and all that was said of who served it; nobody is asked again."""
    headers = {"idempotency-key": f"again-{stream}"}
    with Caller(stage.gateway) as caller:
        first = await stage.ask(caller.key, "falls", stream=stream, headers=headers)
        asked = [len(stage.calls(name)) for name in ("down", "up")]
        again = await stage.ask(caller.key, "falls", stream=stream, headers=headers)
        events = Ledger(stage.gateway).wait(2, key_id=caller.key_id)
    assert served(first) == served(again) == (200, "up", "up", 2)
    assert again.said.body == first.said.body
    assert again.said.headers.get("x-gateway-cost") == first.said.headers.get("x-gateway-cost")
    assert [len(stage.calls(name)) for name in ("down", "up")] == asked
    assert [event["outcome"] for event in events] == ["error", "ok"]
    assert {UUID(str(event["request_id"])) for event in events} == {UUID(first.said.request_id)}
