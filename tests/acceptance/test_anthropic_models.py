"""`/v1/models` speaks Anthropic's dialect to whoever sends its version header, in errors too."""

import httpx
import pytest
from servers.gateway import GatewayProcess

VERSION = {"anthropic-version": "2023-06-01"}


def check_said(answer: httpx.Response, *, status: int, kind: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body.keys() == {"type", "error", "request_id"}
    assert body["error"]["message"]
    assert body["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


def test_a_model_that_is_not_there(http: httpx.Client):
    check_said(http.get("/v1/models/nope", headers=VERSION), status=404, kind="not_found_error")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/echo"])
@pytest.mark.parametrize("key", ["sk-gw-nobody", ""])
def test_a_key_that_is_none(gateway: GatewayProcess, path: str, key: str):
    headers = {**VERSION, **({"x-api-key": key} if key else {})}
    answer = httpx.get(gateway.base_url + path, headers=headers, timeout=30)
    check_said(answer, status=401, kind="authentication_error")
    assert "www-authenticate" in answer.headers


@pytest.mark.parametrize("query", ["limit=0", "limit=many"])
def test_a_page_that_is_none(http: httpx.Client, query: str):
    check_said(http.get(f"/v1/models?{query}", headers=VERSION), status=400, kind="invalid_request_error")


def test_a_method_that_is_none(http: httpx.Client):
    check_said(http.post("/v1/models", headers=VERSION), status=405, kind="invalid_request_error")


def test_a_request_that_does_not_reach_the_path(http: httpx.Client):
    pairs = [("anthropic-version", "2023-06-01"), ("x-api-key", "a"), ("x-api-key", "b")]
    check_said(http.get("/v1/models", headers=pairs), status=400, kind="invalid_request_error")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/echo"])
def test_an_answer_has_both_ids(http: httpx.Client, path: str):
    answer = http.get(path, headers=VERSION)
    assert answer.status_code == 200
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/models/nope", "/v1/nowhere", "/v1/modelsandmore"])
def test_errors_are_openais_without_the_header_or_elsewhere(http: httpx.Client, path: str):
    headers = {} if path == "/v1/models/nope" else VERSION
    answer = http.get(path, headers=headers)
    assert answer.status_code == 404
    assert answer.json().keys() == {"error"}
    assert "request-id" not in answer.headers
