"""What became of a request, told over sockets by every worker of both modes: each decision, and what it cost."""

import contextlib
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import redis
from outside.caller import Caller, user
from outside.ledger import Ledger
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.process import wait_until
from servers.redis import Redis

from providers.testing import FakeProvider, Script

_DATABASE = 5
_KEPT_WITHIN_S = 5.0
_NANO = Decimal("0.000000001")
_SECOND_PRICE = {"input": "3.333", "output": "7.777", "cache_read": "0.101"}
_SYSTEM = "CANARY-OPERATOR-PREFIX"


def tree(fake_url: str, **more: Any) -> dict[str, Any]:
    """Return a file with a model for every way that a request can go."""
    made = configs.config(fake_url=fake_url, **more)

    def at(*names: str) -> list[dict[str, str]]:
        return [{"provider": "fake", "model": name} for name in names]

    price = dict(configs.PRICE)
    made["models"] |= {
        "falls": {
            "targets": at("fake-500"),
            "price": price,
            "retries": 1,
            "breaker": False,
            "fallbacks": ["fake-model"],
        },
        "hedged": {
            "targets": [*at("fake-slow-head"), {"provider": "local", "model": "fake-local"}],
            "price": price,
            "balance": "priority",
            "hedge": {"after_s": 0.1, "budget": 1.0},
        },
        "ordered": {
            "targets": [*at("fake-model"), {"provider": "local", "model": "fake-local", "weight": 0}],
            "price": _SECOND_PRICE,
            "balance": "priority",
        },
        "prefixed": {"targets": at("fake-model"), "price": price, "transform": {"system_prefix": _SYSTEM}},
        "locked": {"targets": [{"provider": "strict", "model": "fake-401"}, *at("fake-model")], "balance": "priority"},
    }
    made["providers"]["strict"] = dict(made["providers"]["fake"])
    return made


@pytest.fixture(scope="module")
def traced_redis(redis_server: Redis) -> str:
    return redis_server.url_of(database=_DATABASE)


@pytest.fixture(scope="module", params=["embedded", "scaled"])
def gateway(
    request: pytest.FixtureRequest, session_provider: FakeProvider, postgres_server: Postgres, traced_redis: str
) -> Iterator[GatewayProcess]:
    more: dict[str, Any] = {}
    if request.param == "scaled":
        more = {"database": postgres_server.new_database(), "state": traced_redis, "workers": 2}
    environ = {
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_MASTER_SECRET": MASTER_SECRET,
        configs.FAKE_KEY_NAME: configs.FAKE_KEY,
    }
    launched = GatewayProcess.launch(tree(session_provider.url, **more), environ=environ, migrates=bool(more))
    with contextlib.closing(launched):
        yield launched
        launched.stop()


@pytest.fixture
def caller(gateway: GatewayProcess) -> Iterator[Caller]:
    with Caller(gateway) as made:
        yield made


def traced(caller: Caller, request_id: str) -> dict[str, Any]:
    """Return what became of a request, as soon as any worker tells."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        answer = caller.http.get(f"/v1/llm/requests/{request_id}")
        if answer.status_code == 200:
            found.append(answer.json())
        return answer.status_code == 200

    assert wait_until(look, within_s=_KEPT_WITHIN_S)
    return found[0]


def of(caller: Caller, answer: Any) -> dict[str, Any]:
    return traced(caller, answer.headers["x-request-id"])


def listed(caller: Caller, count: int, **params: str) -> list[dict[str, Any]]:
    """Return a key's requests from the admin plane, as soon as there are so many."""
    query = "&".join(f"{name}={value}" for name, value in params.items())
    deadline = time.monotonic() + _KEPT_WITHIN_S
    while True:
        page = caller.gateway.admin("GET", f"/requests?limit=200&key_id={caller.key_id}&{query}")
        if len(page["items"]) >= count or time.monotonic() > deadline:
            items: list[dict[str, Any]] = page["items"]
            return items
        time.sleep(0.05)


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
    assert gateway.admin("GET", f"/requests/{request_id}") == told
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


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_limit_that_refuses_says_how_close_it_was(gateway: GatewayProcess):
    with Caller(gateway, limits={"requests_per_minute": 2, "tokens_per_minute": 10_000}) as caller:
        granted = of(caller, caller.chat("fake-model", max_tokens=20))
        limits = {limit["dimension"]: limit for limit in granted["limits"]}
        assert (limits["requests"]["limit"], limits["requests"]["used"], limits["requests"]["remaining"]) == (2, 0, 1)
        assert limits["requests"]["share"] == 0.5
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
            within_s=5,
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
        assert wait_until(lambda: gateway.admin("GET", f"/requests/{made['id']}")["cache"]["kept"] is True, within_s=5)


def test_without_a_cache_it_says_so(caller: Caller):
    told = of(caller, caller.chat("echo"))
    assert (told["cache"]["status"], told["cache"]["reason"], told["cache"]["set_by"]) == ("off", "off", "config")


# -- calls -------------------------------------------------------------------------------------------------------------


def test_a_retry_and_a_fallback_say_why_they_were_made(caller: Caller):
    answer = caller.chat("falls")
    assert answer.status_code == 200
    told = of(caller, answer)
    first, retry, fallback = told["attempts"]
    assert (first["reason"], first["status"], first["outcome"]) == ("first", 500, "error")
    assert (retry["reason"], retry["after"]) == ("retry", first["error_code"])
    assert retry["waited_ms"] > 0
    assert (fallback["reason"], fallback["model"], fallback["after"]) == ("fallback", "fake-model", retry["error_code"])
    assert (told["route"]["name"], [route["name"] for route in told["other_routes"]]) == ("falls", ["fake-model"])
    assert told["route"]["fallbacks"]["any"][0]["model"] == "fake-model"


def test_a_hedge_says_that_it_is_one(caller: Caller):
    told = of(caller, caller.chat("hedged", stream=True))
    slow, quick = told["attempts"]
    assert (slow["reason"], slow["outcome"], slow["target"]) == ("first", "cancelled", "fake/fake-slow-head")
    assert (quick["reason"], quick["outcome"], quick["target"]) == ("hedge", "ok", "local/fake-local")
    assert quick["at_ms"] >= slow["at_ms"] + 90


def test_a_fan_out_says_who_was_asked_and_who_won(caller: Caller):
    body = {
        "messages": user("hello big world"),
        "fanout": {"strategy": "first_valid", "models": ["fake-model", "echo"], "check": {"regex": "^hello"}},
    }
    told = of(caller, caller.post(body, path="/v1/llm/chat"))
    assert (told["fanout"]["strategy"], told["route"]["source"]) == ("first_valid", "fanout")
    assert {(leg["model"], leg["outcome"]) for leg in told["fanout"]["legs"]} == {
        ("fake-model", "lost"),
        ("echo", "won"),
    }
    assert {(attempt["model"], attempt["leg"]) for attempt in told["attempts"]} == {
        ("fake-model", "lost"),
        ("echo", "won"),
    }
    assert {told["route"]["name"], *(route["name"] for route in told["other_routes"])} == {"fake-model", "echo"}


def test_a_credential_that_is_out_is_a_reason_to_be_last(caller: Caller):
    for _ in range(8):
        assert caller.chat("locked").status_code == 200
    told = [each for each in listed(caller, 8) if len(each["attempts"]) == 1]
    assert told, "each worker has found out by now"
    for each in told:
        first, last = each["route"]["targets"]
        assert (first["target"], first["breaker"], first["left_alone_s"]) == ("fake/fake-model", "closed", 0.0)
        assert last["target"] == "strict/fake-401"
        assert last["reason"].startswith("left alone for")
        assert last["left_alone_s"] > 0


def test_a_stream_that_breaks_and_a_client_that_leaves_are_told_with_what_they_cost(
    caller: Caller, gateway: GatewayProcess
):
    broken = caller.post({"model": "fake-cut", "messages": user("a b c d e f"), "stream": True})
    told = of(caller, broken)
    assert (told["outcome"], told["attempts"][0]["outcome"]) == ("failed", "interrupted")
    caller.leave({"model": "fake-slow-chunks", "messages": user("a b c d e f g h"), "stream": True}, after_s=0.3)
    (left,) = listed(caller, 1, status="499")
    assert (left["outcome"], left["attempts"][0]["outcome"]) == ("left", "cancelled")
    rows = {str(row["request_id"]): row for row in Ledger(gateway).wait(2, key_id=caller.key_id)}
    for each in (told, left):
        assert _nano(each["cost"]) == rows[each["id"]]["cost_nusd"] > 0


# -- prices ------------------------------------------------------------------------------------------------------------


def test_the_sum_of_the_charges_is_what_the_ledger_says(
    caller: Caller, gateway: GatewayProcess, session_provider: FakeProvider
):
    session_provider.script(Script(cached_tokens=2), model="fake-model")
    try:
        answers = [caller.chat("ordered", f"some {'more ' * n}words") for n in range(5)]
    finally:
        session_provider.reset()
    told = [of(caller, answer) for answer in answers]
    rows = {str(row["request_id"]): row for row in Ledger(gateway).wait(5, key_id=caller.key_id)}
    for each in told:
        (attempt,) = each["attempts"]
        exact = sum(Decimal(charge["amount"]) for charge in attempt["charges"])
        rounded = -(-exact // _NANO)
        row = rows[each["id"]]
        assert rounded == _nano(attempt["cost"]) == _nano(each["cost"]) == row["cost_nusd"]
        assert attempt["price_version"] == row["price_version"]
        assert attempt["price_source"] == "file"
        assert {charge["kind"] for charge in attempt["charges"]} == {"input", "cache_read", "output"}
        for charge in attempt["charges"]:
            assert Decimal(charge["amount"]) == Decimal(charge["price"]) * charge["number"] / 1_000_000


def _nano(usd: str) -> int:
    return int(Decimal(usd) / _NANO)


# -- the dry run -------------------------------------------------------------------------------------------------------


def test_what_is_explained_is_what_then_happens(gateway: GatewayProcess):
    with Caller(gateway, limits={"requests_per_minute": 5}, budget={"amount": "1", "period": "day"}) as caller:
        body = {"model": "ordered", "messages": user("hello big world"), "max_tokens": 30}
        before = caller.http.post("/v1/llm/explain", json={"path": "/v1/chat/completions", "body": body}).json()
        told = of(caller, caller.post(body))
        assert (before["dry_run"], before["outcome"], before["attempts"]) == (True, "admitted", [])
        assert before.keys() == told.keys()
        planned = {"likely_cost", "cost_bound"}
        for one, other in zip(before["route"]["targets"], told["route"]["targets"], strict=True):
            assert {k: v for k, v in one.items() if k not in planned} == {
                k: v for k, v in other.items() if k not in planned
            }
        assert before["route"] | {"targets": []} == told["route"] | {"targets": []}
        same = ("scope", "dimension", "limit", "asked", "used", "remaining", "share")
        assert [[limit[name] for name in same] for limit in before["limits"]] == [
            [limit[name] for name in same] for limit in told["limits"]
        ]
        assert before["request"]["cost_bound"] == told["request"]["cost_bound"] == told["budgets"][0]["reserved"]
        assert before["cache"] == told["cache"]
        assert before["key"] == told["key"]


def test_a_dry_run_of_every_dialect_calls_nobody(caller: Caller, fake_provider: FakeProvider):
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {"messages": user("x")}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/messages", {"messages": user("x"), "max_tokens": 5}),
        ("/v1beta/models/fake-model:generateContent", {"contents": [{"parts": [{"text": "x"}]}]}),
        ("/v1/llm/chat", {"messages": user("x")}),
    ]
    for path, body in asked:
        model = {} if path.startswith("/v1beta") else {"model": "fake-model"}
        answer = caller.http.post("/v1/llm/explain", json={"path": path, "body": body | model})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["outcome"], answer.json()["request"]["model"]) == ("admitted", "fake-model"), path
    fanned = {"messages": user("x"), "fanout": {"strategy": "race", "models": ["fake-model", "echo"]}}
    told = caller.http.post("/v1/llm/explain", json={"path": "/v1/llm/chat", "body": fanned}).json()
    assert [told["route"]["name"], *(route["name"] for route in told["other_routes"])] == ["fake-model", "echo"]
    assert fake_provider.journal.entries == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"body": {}}, "path"),
        ({"path": "/v1/chat/completions"}, "body"),
        ({"path": "/v1/none", "body": {}}, "path"),
        ({"path": "/v1/chat/completions", "body": {}, "more": 1}, "more"),
    ],
)
def test_a_dry_run_of_nothing_is_refused_by_name(caller: Caller, body: dict[str, Any], param: str):
    answer = caller.http.post("/v1/llm/explain", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_dry_run_says_why_a_request_would_be_refused(gateway: GatewayProcess):
    with Caller(gateway, models=["echo"]) as caller:
        for model, status, code in (
            ("fake-model", 403, "model_not_allowed"),
            ("none-such", 404, "model_not_found"),
        ):
            body = {"model": model, "messages": user("x")}
            told = caller.http.post("/v1/llm/explain", json={"path": "/v1/chat/completions", "body": body}).json()
            assert (told["outcome"], told["refusal"]["status"], told["refusal"]["code"]) == ("refused", status, code)


# -- what is in none of them -------------------------------------------------------------------------------------------


def test_no_prompt_no_answer_and_no_secret_is_in_any(gateway: GatewayProcess, traced_redis: str):
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
        for secret in (*canaries, _SYSTEM, caller.key, configs.FAKE_KEY, ADMIN_KEY, MASTER_SECRET):
            assert secret not in told
        if gateway.config is not None and "redis" in gateway.config.read_text():
            with redis.Redis.from_url(traced_redis) as store:
                values = b"".join(store.get(key) for key in store.scan_iter("{traces}:0*"))
            assert len(values) > 1_000
            for secret in (*canaries, _SYSTEM, caller.key, configs.FAKE_KEY):
                assert secret.encode() not in values


def test_a_request_that_is_replayed_says_so(caller: Caller):
    body = {"model": "fake-model", "messages": user("once")}
    first, again = (caller.post(body, idempotency_key="once-only") for _ in range(2))
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json() == again.json()
    told = of(caller, again)
    assert ("idempotency", "replayed") in {(layer["layer"], layer["verdict"]) for layer in told["layers"]}
    assert (told["attempts"], told["cost"]) == ([], "0.000000000")
