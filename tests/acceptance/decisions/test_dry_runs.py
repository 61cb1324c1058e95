"""Requests that are not made: the same is told of them beforehand as of those that are."""

from typing import Any

import pytest
from outside.caller import Caller, user
from outside.told import of
from servers.gateway import GatewayProcess

from providers.testing import FakeProvider


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


_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
_ODD_TYPE = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}}
_REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/messages", {"model": "fake-model", "messages": user("x"), "max_tokens": 5, "foo": 1}),
    (
        "/v1/messages",
        {
            "model": "echo",
            "messages": user("x"),
            "max_tokens": 5,
            "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        },
    ),
    ("/v1/messages", {"model": "fake-model", "messages": user([{"type": "odd"}]), "max_tokens": 5}),
    ("/v1beta/models/fake-model:generateContent", {"contents": [{"parts": [{"odd": {}}]}]}),
    ("/v1/chat/completions", {"model": "echo", "messages": user("x"), "logit_bias": {"1": 2}}),
    ("/v1/chat/completions", {"model": "echo", "messages": user("x"), "response_format": {"type": "json_object"}}),
    ("/v1/chat/completions", {"model": "echo", "messages": user("x"), "max_tokens": -1}),
    (
        "/v1/chat/completions",
        {
            "model": "echo",
            "messages": user("x"),
            "tools": [_TOOL],
            "tool_choice": {"type": "function", "function": {"name": "g"}},
        },
    ),
    ("/v1/chat/completions", {"model": "deaf-first", "messages": user("x"), "logit_bias": {"1": 2}}),
    ("/v1/responses", {"model": "fake-model", "input": [{"type": "odd"}]}),
    ("/v1/responses", {"model": "fake-model", "input": "x", "previous_response_id": "resp_of_nobody"}),
    ("/v1/completions", {"model": "echo", "prompt": "x", "logprobs": 1}),
    ("/v1/embeddings", {"model": "echo", "input": "x", "dimensions": 0}),
    ("/v1/llm/chat", {"model": "echo", "messages": user("x"), "response_format": {"type": "json_object"}}),
    (
        "/v1/llm/chat",
        {
            "messages": user("x"),
            "response_format": {"type": "json_object"},
            "fanout": {"strategy": "race", "models": ["echo", "deaf-first"]},
        },
    ),
]


@pytest.mark.parametrize(("path", "body"), _REFUSED)
def test_what_no_target_can_be_told_is_refused_beforehand_in_the_same_words(
    caller: Caller, path: str, body: dict[str, Any]
):
    answer = caller.post(body, path=path)
    said = answer.json()["error"]
    told = caller.http.post("/v1/llm/explain", json={"path": path, "body": body}).json()
    assert 400 <= answer.status_code < 500, "the example is refused"
    assert (told["outcome"], told["refusal"]["status"]) == ("refused", answer.status_code)
    assert told["refusal"]["message"] == said["message"]
    if "param" in said:
        assert (told["refusal"]["code"], told["refusal"]["param"]) == (said["code"], said["param"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "deaf-last", "messages": user("x"), "logit_bias": {"1": 2}}),
        ("/v1/messages", {"model": "fake-model", "messages": user("x"), "max_tokens": 5, "tools": [_ODD_TYPE]}),
        (
            "/v1/llm/chat",
            {
                "messages": user("x"),
                "response_format": {"type": "json_object"},
                "fanout": {"strategy": "race", "models": ["echo", "fake-model"]},
            },
        ),
    ],
)
def test_what_somebody_who_is_called_can_be_told_is_admitted(caller: Caller, path: str, body: dict[str, Any]):
    assert caller.post(body, path=path).status_code == 200
    assert caller.http.post("/v1/llm/explain", json={"path": path, "body": body}).json()["outcome"] == "admitted"


def test_a_target_that_cannot_be_told_the_request_says_so(caller: Caller):
    body = {"model": "deaf-last", "messages": user("x"), "logit_bias": {"1": 2}}
    told = caller.http.post("/v1/llm/explain", json={"path": "/v1/chat/completions", "body": body}).json()
    first, last = told["route"]["targets"]
    assert first["reason"] == "place 1 in the file's order"
    assert last["reason"] == (
        "place 2 in the file's order; refuses the request: logit_bias cannot be sent to this provider"
    )
    assert told["unknown"] == []


def test_a_type_that_is_no_text_is_measured_all_the_same(gateway: GatewayProcess):
    """An odd `type` beside parts once broke what measures prompts, where money is counted."""
    body = {"model": "fake-model", "messages": user([{"type": "text", "text": "x"}]), "extra": {"type": ["image"]}}
    with Caller(gateway, budget={"amount": "1", "period": "day"}) as caller:
        told = caller.http.post("/v1/llm/explain", json={"path": "/v1/chat/completions", "body": body})
        assert (told.status_code, told.json()["refusal"]) == (200, None)
        assert caller.post(body).status_code == 200
