"""Google's errors, read into the tree and written to clients."""

import json

import pytest
from google.genai.errors import APIError

from providers.errors import (
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)
from providers.gemini.errors import decode_error, write_error

_TYPE = "type.googleapis.com/google.rpc."
_WAIT = {"@type": _TYPE + "RetryInfo", "retryDelay": "34.07s"}
_KEY = {"@type": _TYPE + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
_FIELD = {
    "@type": _TYPE + "BadRequest",
    "fieldViolations": [{"field": "contents[0].role", "description": "not a role"}],
}


def _error(code: int, status: str, message: str, *details: dict) -> dict:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (_error(400, "INVALID_ARGUMENT", "API key not valid.", _KEY), CredentialRefused, "API_KEY_INVALID"),
        (_error(400, "INVALID_ARGUMENT", "API key expired."), CredentialRefused, "INVALID_ARGUMENT"),
        (_error(400, "FAILED_PRECONDITION", "location is not supported"), CredentialRefused, "FAILED_PRECONDITION"),
        (_error(403, "PERMISSION_DENIED", "no"), CredentialRefused, "PERMISSION_DENIED"),
        (_error(400, "INVALID_ARGUMENT", "no such role", _FIELD), RequestRefused, "INVALID_ARGUMENT"),
        (_error(404, "NOT_FOUND", "no such model"), RequestRefused, "NOT_FOUND"),
        (
            _error(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens (8)."),
            ContextTooLong,
            "INVALID_ARGUMENT",
        ),
        (_error(400, "INVALID_ARGUMENT", "blocked by the safety filters"), ContentBlocked, "INVALID_ARGUMENT"),
        (_error(429, "RESOURCE_EXHAUSTED", "quota", _WAIT), ProviderRateLimited, "RESOURCE_EXHAUSTED"),
        (_error(503, "UNAVAILABLE", "overloaded"), ProviderOverloaded, "UNAVAILABLE"),
        (_error(504, "DEADLINE_EXCEEDED", "slow"), ProviderOverloaded, "DEADLINE_EXCEEDED"),
    ],
)
def test_an_error_is_read_alone_or_in_an_array(body, kind, code):
    for said in (body, [body]):
        error = decode_error(body["error"]["code"], {}, json.dumps(said).encode())
        assert type(error) is kind
        assert error.vendor_code == code
        assert error.status == body["error"]["code"]


def test_the_field_at_fault_is_named():
    error = decode_error(400, {}, json.dumps(_error(400, "INVALID_ARGUMENT", "x", _FIELD)).encode())
    assert error.param == "contents[0].role"


@pytest.mark.parametrize(
    ("headers", "delay", "wait"),
    [
        ({}, "34.07s", 34.07),
        ({"retry-after": "7"}, "34s", 7),
        ({}, "9999s", None),
        ({}, "soon", None),
        ({}, 3, None),
    ],
)
def test_the_wait_is_in_the_header_or_in_the_details(headers, delay, wait):
    body = _error(429, "RESOURCE_EXHAUSTED", "quota", {**_WAIT, "retryDelay": delay})
    assert decode_error(429, headers, json.dumps(body).encode()).retry_after_s == wait


def test_a_clients_error_is_one_that_googles_client_reads():
    body = write_error(429, "slow down", code="rate_limit_exceeded", param="contents", retry_after_s=1.5)
    error = APIError(429, json.loads(json.dumps(body)))
    assert (error.code, error.status, error.message) == (429, "RESOURCE_EXHAUSTED", "slow down")
    assert decode_error(429, {}, json.dumps(body).encode()).retry_after_s == 1.5
    assert decode_error(400, {}, json.dumps(write_error(400, "x", param="a.b")).encode()).param == "a.b"
    assert write_error(418, "odd")["error"] == {"code": 418, "message": "odd", "status": "INTERNAL"}
