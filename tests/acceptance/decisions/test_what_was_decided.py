"""What was decided of a request, told over sockets by every worker of both modes."""

import json
from decimal import Decimal
from typing import Any

import pytest
import redis
from outside.caller import Caller, user
from outside.told import listed, of, traced
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.process import wait_until

# -- one's own, and nobody else's --------------------------------------------------------------------------------------


def test_a_request_is_told_to_its_key_and_to_administrators_and_to_nobody_else(caller: Caller, gateway: GatewayProcess):
    answer = caller.chat("fake-model")
    request_id = answer.headers["x-request-id"]
    told = traced(caller, request_id)
    assert (told["id"], told["outcome"], told["status"], told["dry_run"]) == (request_id, "answered", 200, False)
    assert told["key"] == {"id": caller.key_id, "organization_id": str(caller.organization_id), "team_id": None}
    assert (told["request"]["model"], told["request"]["operation"], told["request"]["dialect"]) == (
        "fake-model",
        "chat",
        "openai",
    )
    assert [layer["layer"] for layer in told["layers"]] == ["authentication", "body", "upstream", "settlement"]
    assert all(layer["took_ms"] >= 0 for layer in told["layers"])
    assert told["time"]["duration_ms"] >= told["time"]["upstream_ms"] > 0
    assert gateway.admin("GET", f"/requests/{request_id}") == told | {"bodies": None}
    assert [each["id"] for each in listed(caller, 1)] == [request_id]
    with Caller(gateway) as other:
        refused = other.http.get(f"/v1/llm/requests/{request_id}")
        nothing = other.http.get("/v1/llm/requests/01890a5d-ac96-774b-bcce-b302099a8057")
        assert refused.status_code == nothing.status_code == 404
        assert refused.json() == nothing.json()
    assert caller.http.get("/v1/llm/requests/index").status_code == 404
    assert caller.http.get(f"/v1/llm/requests/{request_id}", headers={"authorization": ""}).status_code == 401


def test_every_worker_tells_of_every_request(caller: Caller):
    ids = set()
    for _ in range(12):
        answer = caller.post({"model": "echo", "messages": user("hi")}, connection="close")
        ids.add(answer.headers["x-request-id"])
    for request_id in ids:
        assert traced(caller, request_id)["status"] == 200
    assert {each["id"] for each in listed(caller, 12)} == ids


_HUGE = 10**30
"""More than any number of 64 bits."""


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"limits": {"requests_per_minute": 1_000, "tokens_per_minute": 100_000}},
        {"budget": {"amount": "1", "period": "total"}},
    ],
    ids=["free", "limited", "budgeted"],
)
def test_a_cap_beyond_all_numbers_takes_no_record_with_it(gateway: GatewayProcess, fields: dict[str, Any]):
    with Caller(gateway, **fields) as caller, Caller(gateway) as other:
        for model, asked in (
            ("fake-model", {"max_tokens": _HUGE}),
            ("fake-model", {"max_completion_tokens": 2**64}),
            ("echo", {"max_tokens": _HUGE, "n": _HUGE}),
        ):
            first, last = caller.chat(model, **asked), other.chat("fake-model")
            told = of(caller, first)
            assert first.status_code == told["status"] < 500, first.text
            assert 0 < told["request"]["output_tokens"] < 2**64
            assert of(other, last)["status"] == 200


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_limit_that_refuses_says_how_close_it_was(gateway: GatewayProcess):
    with Caller(gateway, limits={"requests_per_minute": 2, "tokens_per_minute": 10_000}) as caller:
        granted = of(caller, caller.chat("fake-model", max_tokens=20))
        limits = {limit["dimension"]: limit for limit in granted["limits"]}
        assert (limits["requests"]["limit"], limits["requests"]["used"], limits["requests"]["remaining"]) == (2, 0, 1)
        assert limits["requests"]["share"] == 0.5
        assert granted["request"]["output_tokens"] == 20, "as its client asked"
        assert limits["tokens"]["asked"] > 0
        assert 0 < limits["tokens"]["resets_in_s"] <= 61
        caller.chat("fake-model", max_tokens=20)
        denied = caller.chat("fake-model", max_tokens=20)
        told = of(caller, denied)
        assert (denied.status_code, told["outcome"], told["status"]) == (429, "refused", 429)
        assert told["refusal"]["code"] == "rate_limit_exceeded"
        assert told["refusal"]["message"] == denied.json()["error"]["message"]
        (refused,) = [limit for limit in told["limits"] if limit["refused"]]
        assert (refused["dimension"], refused["used"], refused["remaining"]) == ("requests", 2, 0)
        assert told["layers"][-1]["layer"] == "limits"
        assert told["layers"][-1]["verdict"] == "refused"
        assert told["attempts"] == []
        assert [each["id"] for each in listed(caller, 1, status="429")] == [told["id"]]


def test_a_budget_says_what_is_used_held_and_reserved(gateway: GatewayProcess):
    with Caller(gateway, budget={"amount": "0.00005", "period": "total"}) as caller:
        granted = of(caller, caller.chat("fake-model", max_tokens=20))
        (budget,) = granted["budgets"]
        assert (budget["amount"], budget["used"], budget["held"]) == ("0.000050000", "0.000000000", "0.000000000")
        assert Decimal(budget["reserved"]) >= Decimal(granted["cost"]) > 0
        while (denied := caller.chat("fake-model", max_tokens=20)).status_code == 200:
            pass
        told = of(caller, denied)
        (budget,) = told["budgets"]
        assert (told["refusal"]["code"], budget["refused"]) == ("insufficient_quota", True)
        assert Decimal(budget["used"]) > 0


def test_what_is_refused_before_it_is_understood_is_told_too(gateway: GatewayProcess):
    with Caller(gateway, models=["echo"]) as caller:
        for body, status, code in (
            ({"model": "fake-model", "messages": user("x")}, 403, "model_not_allowed"),
            ({"model": "none-such", "messages": user("x")}, 404, "model_not_found"),
        ):
            answer = caller.post(body)
            told = of(caller, answer)
            assert (answer.status_code, told["status"], told["refusal"]["code"]) == (status, status, code)
            assert (told["outcome"], told["request"]["model"], told["route"]) == ("refused", body["model"], None)


# -- the cache ---------------------------------------------------------------------------------------------------------


def test_the_cache_says_what_it_did_and_why(gateway: GatewayProcess):
    with Caller(gateway, cache={"mode": "semantic", "scope": "key"}) as caller:
        made = of(caller, caller.chat("fake-model", "How do I sort a list in Python?"))
        assert (made["cache"]["status"], made["cache"]["reason"], made["cache"]["set_by"]) == (
            "miss",
            "nothing_kept",
            "key",
        )
        assert len(made["cache"]["key"]) == 64
        assert wait_until(
            lambda: caller.chat("fake-model", "How do I sort a list in Python?").headers["x-gateway-cache"] == "exact",
            within_s=20,
        )
        (hit, *_) = listed(caller, 1, cache="exact")
        assert (hit["cache"]["status"], hit["cache"]["reason"], hit["attempts"]) == ("exact", None, [])
        assert hit["cache"]["entry_id"]
        assert hit["cost"] == "0.000000000"
        assert {"cache": "answered"}.items() <= {each["layer"]: each["verdict"] for each in hit["layers"]}.items()

        apart = of(caller, caller.chat("fake-model", "How do I not sort a list in Python?"))
        assert (apart["cache"]["status"], apart["cache"]["reason"]) == ("miss", "guard")
        (candidate, *_) = apart["cache"]["candidates"]
        assert (candidate["guard"], candidate["entry_id"]) == ("negation", hit["cache"]["entry_id"])
        assert apart["cache"]["threshold"] <= candidate["similarity"] < 1

        warm = of(caller, caller.chat("fake-model", "Say something new", temperature=1.5))
        assert (warm["cache"]["status"], warm["cache"]["reason"]) == ("bypass", "temperature")
        assert wait_until(lambda: gateway.admin("GET", f"/requests/{made['id']}")["cache"]["kept"] is True, within_s=20)


def test_without_a_cache_it_says_so(caller: Caller):
    told = of(caller, caller.chat("echo"))
    assert (told["cache"]["status"], told["cache"]["reason"], told["cache"]["set_by"]) == ("off", "off", "config")


# -- what is in none of them -------------------------------------------------------------------------------------------


def test_no_prompt_no_answer_and_no_secret_is_in_any(gateway: GatewayProcess, traced_redis: str, operators_prefix: str):
    canaries = [
        f"CANARY-{word}" for word in ("PROMPT", "SYSTEM", "TOOL", "USER", "SESSION", "TAG", "IDEMPOTENCY", "ID")
    ]
    prompt, system, tool, who, session, tag, once, _ = canaries
    with Caller(gateway, cache={"mode": "semantic"}, limits={"requests_per_minute": 4}) as caller:
        body = {
            "messages": [{"role": "system", "content": system}, *user(prompt)],
            "tools": [{"type": "function", "function": {"name": tool, "parameters": {"type": "object"}}}],
            "tool_choice": "none",
            "user": who,
        }
        headers = {"x_gateway_session": session, "x_gateway_tags": f"name={tag}", "idempotency_key": once}
        for model in ("prefixed", "falls", "fake-cut", "fake-400", "fake-model", "fake-model"):
            caller.post({"model": model, **body}, **(headers | {"idempotency_key": f"{once}-{model}"}))
        told = json.dumps(listed(caller, 6))
        for secret in (*canaries, operators_prefix, caller.key, configs.FAKE_KEY, ADMIN_KEY, MASTER_SECRET):
            assert secret not in told
        if gateway.config is not None and "redis" in gateway.config.read_text():
            with redis.Redis.from_url(traced_redis) as store:
                values = b"".join(store.get(key) for key in store.scan_iter("{traces}:0*"))
            assert len(values) > 1_000
            for secret in (*canaries, operators_prefix, caller.key, configs.FAKE_KEY):
                assert secret.encode() not in values


def test_a_request_that_is_replayed_says_so(caller: Caller):
    body = {"model": "fake-model", "messages": user("once")}
    first, again = (caller.post(body, idempotency_key="once-only") for _ in range(2))
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json() == again.json()
    told = of(caller, again)
    assert ("idempotency", "replayed") in {(layer["layer"], layer["verdict"]) for layer in told["layers"]}
    assert (told["attempts"], told["cost"]) == ([], "0.000000000")
