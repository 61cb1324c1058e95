"""What the running gateway answers is what its own `/openapi.json` describes."""

import json
import logging
import os
import re
import subprocess
import sys
from typing import Any

import httpx
import pytest
from documents import check_answer, check_document, check_request
from servers.gateway import REPOSITORY

from app.commands import openapi

CHAT, LLM, EMBEDDINGS = "/v1/chat/completions", "/v1/llm/chat", "/v1/embeddings"
_SAY = {"messages": [{"role": "user", "content": "one two three"}]}
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_TOOLS: dict[str, Any] = {"tools": [_TOOL]}


def _faults(document: dict[str, Any], answer: httpx.Response) -> list[str]:
    return check_answer(
        document,
        answer.request.url.path,
        answer.request.method,
        answer.status_code,
        answer.content,
        content_type=answer.headers.get("content-type", ""),
        headers=answer.headers,
    )


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"gateway": {"include": "cost", "tags": {"team": "blue"}}},
        {"gateway": {"include": ["cost"]}, "stream": True},
        _TOOLS,
        {**_TOOLS, "stream": True},
        {"logprobs": True, "top_logprobs": 2, "n": 2},
        {"n": 2, "stream": True},
        {"response_format": {"type": "json_object"}},
        {"a_new_field": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["echo", "fake-model"])
@pytest.mark.parametrize("path", [CHAT, LLM])
def test_a_conversation_is_answered_as_described(client, document, path, model, changed):
    body = {"model": model, **_SAY, **changed}
    assert check_request(document, path, "POST", body) == []
    answer = client.post(path, json=body)
    assert answer.status_code in ({200, 400} if changed else {200})
    assert _faults(document, answer) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        *("fake-400", "fake-404", "fake-429", "fake-500", "fake-html", "fake-cut", "fake-reset", "fake-refused"),
        *("fake-error-frame", "fake-error-first", "fake-no-usage", "fake-reasoning", "fake-refusal"),
        *("fake-negative-usage", "fake-comments", "fake-crlf"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, LLM])
def test_a_provider_that_fails_is_reported_as_described(client, document, path, model, stream):
    answer = client.post(path, json={"model": model, **_SAY, "stream": stream})
    assert _faults(document, answer) == []


@pytest.mark.parametrize("changed", [{}, {"input": ["a", "b"]}, {"encoding_format": "base64"}], ids=str)
@pytest.mark.parametrize("model", ["echo", "fake-embedding"])
def test_embeddings_are_answered_as_described(client, document, model, changed):
    answer = client.post(EMBEDDINGS, json={"model": model, "input": "hello", **changed})
    assert answer.status_code == 200
    assert _faults(document, answer) == []


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/fake-model", "/v1/models/echo/echo", "/v1/models/nothing"])
@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}], ids=["openai", "anthropic"])
def test_models_are_listed_as_described(client, document, path, headers):
    assert _faults(document, client.get(path, headers=headers)) == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_answer_as_described(client, document, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert _faults(document, answer) == []


@pytest.mark.parametrize(
    ("status", "call"),
    [
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"json": {"model": "echo", "messages": [], "gateway": {"timeout_s": -1}}}),
        (400, {"json": {"model": "echo", **_SAY}, "headers": {"x-gateway-max-cost": "much"}}),
        (401, {"json": {}, "headers": {"authorization": "Bearer nobody"}}),
        (404, {"json": {"model": "nothing", **_SAY}}),
        (415, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
        (417, {"json": {}, "headers": {"expect": "200-ok"}}),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [CHAT, LLM])
def test_a_refusal_is_said_as_described(client, document, path, status, call):
    answer = client.post(path, **call)
    assert answer.status_code == status
    assert _faults(document, answer) == []


@pytest.mark.parametrize("path", [CHAT, LLM])
def test_a_model_that_the_key_may_not_use_is_refused_as_described(client, document, embedded_gateway, path):
    key = embedded_gateway.create_key(models=["fake-model"])
    answer = client.post(path, json={"model": "echo", **_SAY}, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    assert _faults(document, answer) == []


def test_both_planes_show_their_documentation_to_everybody(embedded_gateway):
    for url in (embedded_gateway.base_url, embedded_gateway.admin_url):
        page = httpx.get(f"{url}/docs")
        assert page.status_code == 200
        for reference in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert httpx.get(url + reference).status_code == 200, reference
        document = httpx.get(f"{url}/openapi.json").json()
        assert document["openapi"].startswith("3.1")
        dangling = [fault for fault in check_document(document) if "refers to nothing" in fault]
        assert dangling == []


def test_what_one_plane_describes_the_other_does_not_serve(embedded_gateway, document):
    described = httpx.get(f"{embedded_gateway.admin_url}/openapi.json").json()["paths"]
    shared = {"/healthz", "/readyz", "/metrics"}
    assert not described.keys() & document["paths"].keys() - shared


def test_a_description_is_printed_beside_a_gateway_that_runs(embedded_gateway):
    """The application that is asked must not want the files of the one that runs in the same folder."""
    for plane, url in (("gateway", embedded_gateway.base_url), ("admin", embedded_gateway.admin_url)):
        words = [sys.executable, "-m", "app", "openapi", "--plane", plane]
        folder, environ = embedded_gateway.folder, {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == httpx.get(f"{url}/openapi.json").json()


def test_whoever_reads_the_description_leaves_the_log_as_it_is():
    def logs() -> tuple[list[logging.Handler], int]:
        return [*logging.getLogger().handlers], logging.getLogger().level

    before = logs()
    assert "openapi" in openapi.run("admin")
    assert logs() == before
