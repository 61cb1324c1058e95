"""Anthropic's errors: what the vendor says is understood, and what the gateway says its clients understand."""

import json

import pytest
from anthropic._exceptions import extract_error_code
from anthropic.types import ErrorResponse

from providers.anthropic.errors import decode_error, error_in_stream, write_error, write_late_error
from providers.anthropic.stream import MessageDecoder
from providers.errors import (
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)
from providers.framing import sse
from providers.types import TextDelta


def _body(kind, message="no"):
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", RequestRefused),
        (400, "invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum", ContextTooLong),
        (400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 3", ContextTooLong),
        (400, "invalid_request_error", "Output blocked by content filtering policy", ContentBlocked),
        (400, "invalid_request_error", "Your credit balance is too low to access the API.", CredentialRefused),
        (400, "invalid_request_error", "You have reached your specified API usage limits.", CredentialRefused),
        (401, "authentication_error", "invalid x-api-key", CredentialRefused),
        (402, "billing_error", "pay", CredentialRefused),
        (403, "permission_error", "no", CredentialRefused),
        (404, "not_found_error", "model: x", RequestRefused),
        (409, "conflict_error", "no", RequestRefused),
        (413, "request_too_large", "Request exceeds the maximum size", RequestRefused),
        (429, "rate_limit_error", "slow down", ProviderRateLimited),
        (500, "api_error", "Internal server error", ProviderOverloaded),
        (504, "timeout_error", "late", ProviderOverloaded),
        (529, "overloaded_error", "Overloaded", ProviderOverloaded),
    ],
)
def test_each_error_is_of_its_kind(status, kind, message, error):
    found = decode_error(status, {"retry-after": "7"}, _body(kind, message))
    assert type(found) is error
    assert (found.status, found.vendor_code) == (status, kind)
    assert found.retry_after_s == (7 if error in {ProviderRateLimited, ProviderOverloaded} else None)


def test_the_cause_of_an_error_is_its_code():
    error = {"type": "not_found_error", "message": "no", "details": {"error_code": "thread_not_found"}}
    assert (
        decode_error(404, {}, json.dumps({"type": "error", "error": error}).encode()).vendor_code == "thread_not_found"
    )
    said = json.loads(write_error("no", status=404, code="thread_not_found"))
    assert said["error"] == error
    assert extract_error_code(said) == "thread_not_found"
    assert "details" not in json.loads(write_error("no", status=404, code="not_found_error"))["error"]
    assert "details" not in json.loads(write_error("no", status=413, code="request_too_large"))["error"]


def test_a_code_that_is_the_type_of_another_status_is_told_too():
    """A request that no limit can ever hold is refused like a rate, and says by its code that waiting does not help."""
    said = json.loads(write_error("no", status=429, code="request_too_large"))
    assert said["error"] == {
        "type": "rate_limit_error",
        "message": "no",
        "details": {"error_code": "request_too_large"},
    }
    assert extract_error_code(said) == "request_too_large"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("messages.1.content.0.type: Expected `thinking`", "messages.1.content.0.type"),
        ("max_tokens: 200000 > 64000", "max_tokens"),
        ("tools.0.custom.input_schema: no", "tools.0.custom.input_schema"),
        ("something else: no", None),
    ],
)
def test_a_refusal_names_its_field(message, param):
    assert decode_error(400, {}, _body("invalid_request_error", message)).param == param


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", ProviderOverloaded),
        ("api_error", ProviderOverloaded),
        ("never_heard_of", ProviderOverloaded),
        ("rate_limit_error", ProviderRateLimited),
        ("authentication_error", CredentialRefused),
        ("invalid_request_error", RequestRefused),
    ],
)
def test_an_error_in_a_stream_is_of_its_kind(kind, error):
    found = error_in_stream({"type": kind, "message": "messages.0: no"})
    assert type(found) is error
    assert found.vendor_code == kind


@pytest.mark.parametrize("odd", [None, "x", 7, [], {"type": 7}])
def test_an_odd_error_in_a_stream_is_one_all_the_same(odd):
    assert isinstance(error_in_stream(odd), ProviderOverloaded)


def test_what_came_before_an_error_is_read_first():
    frames = (
        sse.encode(b'{"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":1,"output_tokens":1}}}')
        + sse.encode(b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}')
        + sse.encode(b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}')
        + sse.encode(_body("overloaded_error"), event=b"error")
    )
    decoder = MessageDecoder()
    events = decoder.feed(frames)
    assert events[-1] == TextDelta(text="x")
    assert decoder.is_finished
    with pytest.raises(ProviderOverloaded):
        decoder.finish()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (408, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_our_errors_are_said_in_the_vendors_form(status, kind):
    body = json.loads(write_error("no", status=status, request_id="r-1"))
    assert body == {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "r-1"}
    if kind not in {"request_too_large", "conflict_error"}:  # the vendor documents these, its SDK has no model of them
        ErrorResponse.model_validate(body)
    frame = write_late_error("no", status=status, request_id="r-1")
    assert sse.event_of(frame) == b"error"
    assert json.loads(sse.data_of(frame)) == body
