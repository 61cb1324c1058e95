"""Refusals of OpenAI-compatible providers, read into the tree of errors: status by form of the body."""

import json

import pytest

from providers.errors import (
    BadAnswer,
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)
from providers.openai.errors import decode_error, error_in_stream, retry_after_s

KINDS = {
    301: BadAnswer,
    307: BadAnswer,
    400: RequestRefused,
    401: CredentialRefused,
    402: CredentialRefused,
    403: CredentialRefused,
    404: RequestRefused,
    405: RequestRefused,
    408: ProviderOverloaded,
    409: RequestRefused,
    413: RequestRefused,
    415: RequestRefused,
    422: RequestRefused,
    424: ProviderOverloaded,
    429: ProviderRateLimited,
    500: ProviderOverloaded,
    502: ProviderOverloaded,
    503: ProviderOverloaded,
    504: ProviderOverloaded,
    529: ProviderOverloaded,
}
# Each form of a body with the message, the vendor's code and the field that it says.
FORMS = {
    # https://platform.openai.com/docs/guides/error-codes, read 2026-11
    "openai": ({"error": {"message": "no", "type": "t", "param": "n", "code": "c"}}, ("no", "c", "n")),
    "a type only": ({"error": {"message": "no", "type": "t", "param": None, "code": None}}, ("no", "t", None)),
    "a code of digits": ({"error": {"message": "no", "code": 7}}, ("no", "7", None)),
    # https://ai.google.dev/gemini-api/docs/openai, read 2026-11
    "gemini": ([{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}], ("no", "400", None)),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server, read 2026-11
    "bare": ({"object": "error", "message": "no", "type": "t", "param": "n", "code": 8}, ("no", "8", "n")),
    # https://huggingface.co/docs/text-generation-inference, read 2026-11
    "a text": ({"error": "no", "error_type": "validation"}, ("no", None, None)),
    "a text with a code": ({"error": "no", "code": "c"}, ("no", "c", None)),
    # https://fastapi.tiangolo.com/tutorial/handling-errors, read 2026-11
    "fastapi": ({"detail": "no"}, ("no", None, None)),
    "fastapi's faults": (
        {"detail": [{"loc": ["body", "n"], "msg": "too low", "type": "t"}, {"msg": "odd"}, 7]},
        ("body.n: too low; odd", None, None),
    ),
    # https://docs.mistral.ai/api, read 2026-11
    "mistral": (
        {"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "too low"}]}, "type": "t"},
        ("body.n: too low", "t", None),
    ),
}
NO_FORMS = [
    b"",
    b"<html>no</html>",
    b"{",
    b"null",
    b"[]",
    b"7",
    b'"no"',
    b"\xff\xfe",
    b"[" * 5000,
    b'{"error": null}',
    b'{"error": []}',
    b'{"error": {"message": 0.5, "code": [], "param": {}}}',
    b'{"detail": 7}',
    b'{"detail": {"detail": 7}}',
    b'{"detail": [{"loc": 7, "msg": ""}]}',
    b'{"message": {"detail": null}}',
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", KINDS)
def test_each_status_is_an_error_of_its_kind_in_every_form(status, form):
    body, (message, code, param) = FORMS[form]
    error = decode_error(status, {}, json.dumps(body).encode())
    assert type(error) is KINDS[status]
    assert error.status == status
    if isinstance(error, RequestRefused):
        assert (error.message, error.vendor_code, error.param) == (message, code, param)
    elif not isinstance(error, BadAnswer):
        assert error.vendor_code == code


@pytest.mark.parametrize("body", NO_FORMS)
@pytest.mark.parametrize("status", KINDS)
def test_each_status_is_an_error_of_its_kind_whatever_the_body(status, body):
    error = decode_error(status, {}, body)
    assert type(error) is KINDS[status]
    assert isinstance(error.message, str)
    assert error.message


@pytest.mark.parametrize(
    ("status", "fields", "kind"),
    [
        (400, {"code": "context_length_exceeded"}, ContextTooLong),
        (413, {"code": "context_length_exceeded"}, ContextTooLong),
        (
            400,
            {"message": "This model's maximum context length is 8192 tokens"},
            ContextTooLong,
        ),
        (400, {"message": "Please reduce the length of the messages or completion."}, ContextTooLong),
        (400, {"message": "The input exceeds the model's context window"}, ContextTooLong),
        (422, {"message": "prompt is too long: 9 tokens > 8"}, ContextTooLong),
        (400, {"code": "content_filter"}, ContentBlocked),
        (400, {"code": "content_policy_violation"}, ContentBlocked),
        (400, {"message": "the word context", "code": "c"}, RequestRefused),
        (429, {"code": "insufficient_quota"}, CredentialRefused),
        (429, {"type": "insufficient_quota"}, CredentialRefused),
        (429, {"code": "rate_limit_exceeded"}, ProviderRateLimited),
        (400, {"code": "invalid_api_key"}, CredentialRefused),
        (400, {"message": "API key not valid. Please pass a valid API key."}, CredentialRefused),
        (400, {"message": "Incorrect API key provided: sk-1***"}, CredentialRefused),
    ],
)
def test_words_say_more_than_the_status(status, fields, kind):
    error = decode_error(status, {}, json.dumps({"error": {"message": "m", **fields}}).encode())
    assert type(error) is kind


@pytest.mark.parametrize("status", [400, 401, 402, 403, 429])
def test_what_a_vendor_says_about_our_key_is_not_passed_on(status):
    body = {"error": {"message": "Incorrect API key provided: sk-secret", "code": "insufficient_quota"}}
    error = decode_error(status, {}, json.dumps(body).encode())
    assert isinstance(error, CredentialRefused)
    assert "sk-secret" not in str(error)
    assert error.body is None


def test_a_message_is_cut():
    error = decode_error(400, {}, json.dumps({"error": {"message": "x" * 100_000}}).encode())
    assert len(error.message) == 2_000


def test_a_redirect_is_not_followed_and_says_so():
    assert decode_error(302, {"location": "http://127.0.0.1"}, b"").code == "upstream_redirect_blocked"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "7"}, 7.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "99999"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers, seconds):
    assert retry_after_s(headers) == seconds
    for status in (429, 503):
        assert decode_error(status, headers, b"").retry_after_s == seconds


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "rate_limit_exceeded"}, ProviderRateLimited),
        ({"code": 429}, ProviderRateLimited),
        ({"type": "insufficient_quota"}, CredentialRefused),
        ({"code": 401, "message": "bad key sk-secret"}, CredentialRefused),
        ({"code": "content_filter", "message": "no"}, ContentBlocked),
        ({"code": "context_length_exceeded"}, ContextTooLong),
        ({"code": "server_error"}, ProviderOverloaded),
        ({"code": 502}, ProviderOverloaded),
        ({}, ProviderOverloaded),
        ("no", ProviderOverloaded),
        ([7], ProviderOverloaded),
        (True, ProviderOverloaded),
    ],
)
def test_an_error_in_a_stream_is_of_its_kind(error, kind):
    read = error_in_stream(error)
    assert type(read) is kind
    assert "sk-secret" not in str(read)
