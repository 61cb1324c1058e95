"""The gateway plane's document: whole in itself, and true of what the code takes and says."""

import json
from typing import Any

import msgspec
import pytest
from documents import check_answer, check_document, check_request

from app.api.errors import TABLE, headers_of, openai_body, status_of
from app.api.inference_openapi import inference_document
from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.shapes import check_chat, check_common, check_embeddings
from app.api.understanding import Call
from app.kernel import errors
from app.kernel.errors import Conflict, GatewayError, InvalidRequest
from app.pipeline.exchange import Exchange
from app.pipeline.options import read_options
from providers.openai.render import render_embeddings
from providers.types import (
    Choice,
    Completion,
    Embeddings,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    Usage,
)

CHAT, LLM, EMBEDDINGS = "/v1/chat/completions", "/v1/llm/chat", "/v1/embeddings"
NOT_IN_THIS_PLANE = {405, 412}
"""Another method is another operation; conflicts and preconditions are the admin plane's."""


def test_the_document_holds_together(document):
    assert check_document(document) == []
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"


def test_the_document_is_the_same_each_time():
    assert inference_document(version="1") == inference_document(version="1")


def test_every_path_is_there(document):
    found = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    posted = {(method, path) for method, path in found if method == "POST"}
    assert {path for _, path in posted} == {
        *(CHAT, LLM, EMBEDDINGS, "/v1/completions", "/v1/responses", "/v1/moderations", "/v1/rerank"),
        *("/v1/images/generations", "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations"),
        "/v1/llm/explain",
        *("/v1/messages", "/v1/messages/count_tokens"),
        *("/v1beta/models/{model}:generateContent", "/v1beta/models/{model}:streamGenerateContent"),
    }
    assert found - posted == {
        ("GET", "/v1/responses/{id}"),
        ("DELETE", "/v1/responses/{id}"),
        ("GET", "/v1/llm/requests/{id}"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/{id}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    }


@pytest.mark.parametrize(
    "error",
    [
        errors.Unauthenticated(),
        errors.QuotaExceeded(),
        errors.RateLimited(retry_after_s=1.5),
        errors.UpstreamRateLimited(retry_after_s=1),
        errors.Unavailable(retry_after_s=1),
    ],
    ids=repr,
)
def test_the_headers_of_an_error_are_described(document, error):
    said = {name.decode(): value.decode() for name, value in headers_of(error)}
    assert check_answer(document, CHAT, "POST", status_of(error), openai_body(error), headers=said) == []
    described = document["components"]["responses"][f"Error{status_of(error)}"]["headers"].keys()
    assert said.keys() <= described


def test_every_credential_opens_the_inference_paths_and_none_is_asked_for_by_probes(document):
    assert {next(iter(choice)) for choice in document["security"]} == {"bearer", "x-api-key", "x-goog-api-key"}
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert [schemes[name]["name"] for name in ("x-api-key", "x-goog-api-key")] == ["x-api-key", "x-goog-api-key"]
    for path, item in document["paths"].items():
        for operation in item.values():
            is_probe = path in {"/healthz", "/readyz", "/metrics"}
            assert operation.get("security") == ([] if is_probe else None), path


def test_every_option_is_a_header_and_a_field(document):
    headers = set(document["components"]["parameters"])
    fields = document["components"]["schemas"]["GatewayOptions"]["properties"].keys()
    assert headers == {"x-gateway-" + name.replace("_", "-") for name in fields} | {"idempotency-key"}
    assert fields == {"timeout_s", "max_cost", "tags", "route", "include"}


# -- requests: what the gateway takes is what the document allows ------------------------------------------------------

_USER = {"role": "user", "content": "hi"}
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_GOOD = [
    {},
    {"stream": True, "stream_options": {"include_usage": True}},
    {"messages": [{"role": "system", "content": "s"}, _USER, {"role": "assistant", "content": None}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "new", "x": 1}]}]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}
        ]
    },
    {"tools": [_TOOL], "tool_choice": "required", "parallel_tool_calls": False},
    {"tools": [_TOOL, {"type": "web_search"}], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
    {"temperature": 0, "top_p": 1.5, "stop": ["a"], "seed": 7, "logit_bias": {"1": -100}, "user": "u"},
    {"temperature": None, "stop": None, "tools": None, "stream": None, "metadata": None, "user": None},
    {"n": 2, "logprobs": True, "top_logprobs": 3, "max_completion_tokens": 5, "metadata": {"a": "b"}},
    {"a_new_field": {"of": "the vendor's"}},
    {"gateway": {"timeout_s": 5, "max_cost": "0.05", "tags": {"team": "blue"}, "include": "cost"}},
    {"gateway": {"timeout_s": 0.5, "tags": "team=blue", "route": "a/b", "include": ["cost"]}},
]
_BAD = [
    {"model": ""},
    {"model": None},
    {"model": "m" * 513},
    {"messages": []},
    {"messages": None},
    {"messages": [{"role": "nobody", "content": "x"}]},
    {"messages": [{"role": "user", "content": 7}]},
    {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
    {"stream": "yes"},
    {"temperature": "hot"},
    {"temperature": True},
    {"max_tokens": 1.5},
    {"stop": 7},
    {"tools": {}},
    {"tools": [{"type": 7}]},
    {"tool_choice": "sometimes"},
    {"response_format": {}},
    {"logit_bias": []},
    {"user": "u" * 513},
    {"metadata": {str(number): "x" for number in range(17)}},
    {"metadata": {"a": 7}},
    {"gateway": []},
    {"gateway": {"timeout_s": 0}},
    {"gateway": {"timeout_s": 100_000}},
    {"gateway": {"tiemout_s": 5}},
]


def _is_taken(body: dict[str, Any]) -> bool:
    """Whether the gateway's own checks take a chat request."""
    try:
        check_common(body)
        check_chat(body)
        read_options({}, body.get("gateway"))
    except InvalidRequest:
        return False
    return True


@pytest.mark.parametrize("path", [CHAT, LLM])
@pytest.mark.parametrize("changed", _GOOD, ids=str)
def test_what_the_gateway_takes_is_described(document, path, changed):
    body = {"model": "m", "messages": [_USER], **changed}
    assert _is_taken(body)
    assert check_request(document, path, "POST", body) == []


@pytest.mark.parametrize("path", [CHAT, LLM])
@pytest.mark.parametrize("changed", _BAD, ids=lambda changed: str(changed)[:60])
def test_what_the_gateway_refuses_is_not_described(document, path, changed):
    body = {"model": "m", "messages": [_USER], **changed}
    assert not _is_taken(body)
    assert check_request(document, path, "POST", body) != []


@pytest.mark.parametrize(
    ("given", "is_good"),
    [
        ("a", True),
        (["a", "b"], True),
        ([1, 2], True),
        ([[1], [2, 3]], True),
        ("", False),
        ([], False),
        ([""], False),
        ([-1], False),
        ([[]], False),
        ([[1], "a"], False),
        (["a"] * 2049, False),
        (7, False),
        (None, False),
    ],
    ids=lambda given: str(given)[:30],
)
def test_inputs_to_embed_are_described_as_they_are_checked(document, given, is_good):
    body = {"model": "m", "input": given}
    try:
        check_embeddings(body)
    except InvalidRequest:
        assert not is_good
    else:
        assert is_good
    assert (check_request(document, EMBEDDINGS, "POST", body) == []) is is_good


# -- answers: what our own renderers say is what the document promises -------------------------------------------------

_USAGE = Usage(input_tokens=3, output_tokens=2, cache_read_tokens=1)
_COMPLETION = Completion(
    id="c1",
    model="up",
    created=1,
    choices=[
        Choice(
            index=0,
            content=[ThinkingPart(text="hm"), TextPart(text="hi"), ToolCallPart(id="t", name="f", arguments="{}")],
            finish_reason="tool_calls",
        )
    ],
    usage=_USAGE,
)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_rendered_embeddings_are_as_described(document, encoding):
    embeddings = Embeddings(model="up", vectors=[[0.5, 0.25], [1.0, 0.0]], usage=_USAGE)
    body = msgspec.json.encode(render_embeddings(embeddings, model="m", encoding=encoding))
    assert check_answer(document, EMBEDDINGS, "POST", 200, body) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models", {"object": "list", "data": [{"id": "a/b", "object": "model", "created": 0, "owned_by": "x"}]}),
        ("/v1/models", {"data": [], "has_more": False, "first_id": None, "last_id": None}),
        ("/v1/models/openai/gpt-4o", {"id": "openai/gpt-4o", "object": "model", "created": 0, "owned_by": "x"}),
        (
            "/v1/models/m",
            {"type": "model", "id": "m", "display_name": "m", "created_at": "1970-01-01T00:00:00Z"},
        ),
        ("/healthz", {"status": "ok"}),
        ("/readyz", {"status": "ready", "degraded": []}),
    ],
)
def test_the_other_paths_answers_fit(document, path, body):
    assert check_answer(document, path, "GET", 200, json.dumps(body).encode()) == []


def test_metrics_are_text(document):
    assert check_answer(document, "/metrics", "GET", 200, b"# HELP x\nx 1\n", content_type="text/plain; a=b") == []


@pytest.mark.parametrize("kind", [cls for cls in TABLE if cls is not GatewayError])
def test_every_error_class_says_what_it_means_in_the_document(document, kind):
    status = TABLE[kind].status
    if status in NOT_IN_THIS_PLANE:
        assert f"Error{status}" not in document["components"]["responses"]
    else:
        # The only conflict of this plane has a code of its own.
        code = "idempotency_conflict" if kind is Conflict else kind.code
        assert f"`{code}`" in document["components"]["responses"][f"Error{status}"]["description"]


# -- the gateway's own dialect ----------------------------------------------------------------------------------------


@pytest.fixture
def exchange(serve) -> Exchange:
    return serve(LLM_CHAT_WIRE, {"model": "m", "messages": [_USER]}, Call("", ""))


def test_an_answer_of_the_own_dialect_is_as_described(document, exchange):
    body = LLM_CHAT_WIRE.operation.renderer.whole(exchange, _COMPLETION)
    assert check_answer(document, LLM, "POST", 200, body) == []
    exchange.attempts[0].cost_nusd = exchange.attempts[0].status = exchange.attempts[0].outcome = None
    assert check_answer(document, LLM, "POST", 200, LLM_CHAT_WIRE.operation.renderer.whole(exchange, _COMPLETION)) == []


def test_the_own_dialect_says_nothing_that_is_not_described(document, exchange):
    body = json.loads(LLM_CHAT_WIRE.operation.renderer.whole(exchange, _COMPLETION))
    body["output"]["secret"] = 1
    assert check_answer(document, LLM, "POST", 200, json.dumps(body).encode()) == ["$.output must not hold secret"]
