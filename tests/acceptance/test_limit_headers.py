"""`x-ratelimit-*`: whoever is limited is told what is left, whatever his answer is; who is not is told nothing."""

from typing import Any

import httpx
import pytest
from outside.caller import CHAT, Caller, user
from servers.gateway import GatewayProcess

_REQUESTS, _TOKENS = 50, 100_000
_LIMITS = {"requests_per_minute": _REQUESTS, "tokens_per_minute": _TOKENS}
_OF_ONE = 9
"""The tokens of a request here: six are in its prompt, three in its answer."""


def told(answer: httpx.Response) -> dict[str, str]:
    prefix = "x-ratelimit-"
    return {name.removeprefix(prefix): value for name, value in answer.headers.items() if name.startswith(prefix)}


def left(answer: httpx.Response) -> tuple[int, int]:
    """Return how many requests and tokens are left, as an answer says; all six headers must be there."""
    found = told(answer)
    kinds = ("requests", "tokens")
    assert found.keys() == {f"{what}-{kind}" for what in ("limit", "remaining", "reset") for kind in kinds}
    assert (found["limit-requests"], found["limit-tokens"]) == (str(_REQUESTS), str(_TOKENS))
    assert all(found[f"reset-{kind}"].endswith("s") for kind in kinds)
    return int(found["remaining-requests"]), int(found["remaining-tokens"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_replay_says_what_is_left_and_takes_nothing_of_it(gateway: GatewayProcess, stream: bool):
    body = {"model": "fake-model", "messages": user("hello big world"), "max_tokens": 50, "stream": stream}
    with Caller(gateway, limits=_LIMITS) as caller:
        first = caller.post(body, idempotency_key="k")
        assert left(first)[0] == _REQUESTS - 1
        for _ in range(3):
            again = caller.post(body, idempotency_key="k")
            assert again.headers["idempotent-replayed"] == "true"
            assert left(again) == (_REQUESTS - 1, _TOKENS - _OF_ONE)


def test_a_replay_says_nothing_where_nothing_is_limited(caller: Caller):
    body = {"model": "fake-model", "messages": user("hello big world")}
    answers = [caller.post(body, idempotency_key="k") for _ in range(2)]
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert [told(answer) for answer in answers] == [{}, {}]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"limits": {"rules": [{"dimension": "cost", "limit": "0.00002", "window_s": 60}]}}, "request_too_large"),
        ({"limits": {"rules": [{"dimension": "input_tokens", "limit": 200, "window_s": 60}]}}, "request_too_large"),
        ({"budget": {"amount": "0.00001", "period": "total"}}, "insufficient_quota"),
    ],
    ids=["cost", "input tokens", "budget"],
)
def test_a_refusal_of_another_rule_says_what_is_left(gateway: GatewayProcess, fields: dict[str, Any], code: str):
    limits = _LIMITS | fields.get("limits", {})
    with Caller(gateway, **(fields | {"limits": limits})) as caller:
        assert caller.chat("echo", "hi", max_tokens=1).status_code == 200
        before = caller.chat("echo", "hi", max_tokens=1)
        assert before.status_code == 200
        denied = caller.chat("fake-model", "word " * 300, max_tokens=100)
        assert (denied.status_code, denied.json()["error"]["code"]) == (429, code), denied.text
        requests, tokens = left(denied)
        assert requests == _REQUESTS - 2
        assert left(before)[1] <= tokens < _TOKENS


def test_a_refusal_for_too_many_at_once_says_what_is_left(gateway: GatewayProcess):
    # Most of a minute: it is left long before its end.
    slow = {"model": "fake-slow-chunks", "messages": user("word " * 1_000), "stream": True}
    with Caller(gateway, limits=_LIMITS | {"concurrency": 1}) as caller:
        with caller.http.stream("POST", CHAT, json=slow) as under_way:
            assert under_way.status_code == 200, under_way.read()
            next(under_way.iter_bytes())
            denied = caller.chat("fake-model")
        assert denied.status_code == 429
        assert "limit 1, used 1, held 1" in denied.json()["error"]["message"]
        requests, tokens = left(denied)
        assert requests == _REQUESTS - 1
        assert tokens < _TOKENS


_ALMOST_RIGHT = {"model": "fake-model", "messages": user("x")}


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"json": _ALMOST_RIGHT, "headers": {"x-gateway-max-cost": "0.000000001"}}, 400, "max_cost_exceeded"),
        ({"json": _ALMOST_RIGHT | {"model": "no-such-model"}}, 404, "model_not_found"),
        ({"json": _ALMOST_RIGHT | {"model": "fake-embedding", "messages": "odd"}}, 400, "invalid_request"),
        ({"json": _ALMOST_RIGHT | {"api_base": "http://elsewhere"}}, 400, "unknown_parameter"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "invalid_json"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
    ],
    ids=["max cost", "model", "body", "option", "json", "type"],
)
def test_a_refusal_before_any_limit_was_asked_says_what_is_left_and_takes_nothing(
    gateway: GatewayProcess, asked: dict[str, Any], status: int, code: str
):
    with Caller(gateway, limits=_LIMITS, budget={"amount": "9", "period": "day"}) as caller:
        assert caller.chat("fake-model").status_code == 200
        for _ in range(2):
            refused = caller.http.post(CHAT, **asked)
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code), refused.text
            assert left(refused)[0] == _REQUESTS - 1
            names = [name for name, _ in refused.headers.multi_items() if name.startswith("x-ratelimit-")]
            assert len(names) == len(set(names))
        assert told(httpx.post(f"{gateway.base_url}{CHAT}", json=_ALMOST_RIGHT)) == {}
