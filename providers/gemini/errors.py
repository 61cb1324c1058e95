"""Google's errors, read and written.

Source: https://cloud.google.com/apis/design/errors, read 2026-11; https://ai.google.dev/gemini-api/docs/troubleshooting,
read 2026-11.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from providers.answers import error_of_status, fields, objects, text
from providers.errors import (
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderError,
    ProviderOverloaded,
    RequestRefused,
)
from providers.types import Headers

_MAX_RETRY_AFTER_S = 3_600.0
_TYPE = "type.googleapis.com/google.rpc."
_DOMAIN = "llm-api-gateway"
_KEY_REASONS = frozenset(
    {
        "API_KEY_INVALID",
        "API_KEY_EXPIRED",
        "API_KEY_SERVICE_BLOCKED",
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "BILLING_DISABLED",
        "SERVICE_DISABLED",
    }
)
# A wrong key and an account that may not use the API from where it is are called bad requests.
_KEY_WORDS = re.compile(r"api key (not valid|expired)|location is not supported|enable billing", re.IGNORECASE)
_TOO_LONG_WORDS = re.compile(r"(input )?token count.{0,40}exceeds|exceeds the maximum number of tokens", re.IGNORECASE)
_BLOCKED_WORDS = re.compile(r"PROHIBITED_CONTENT|blocked by .{0,40}(safety|policy|armor)", re.IGNORECASE)
_DURATION = re.compile(r"(\d{1,6}(?:\.\d+)?)s")

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    417: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def decode_error(status: int, headers: Headers, body: bytes) -> ProviderError:
    """Read a refusal into the tree of `providers.errors`; where a stream was asked for, it stands in an array."""
    return _read(error_object(body), status=status, headers=headers)


def error_in_stream(error: Any) -> ProviderError:
    """Read an error that came after the head of a streamed answer."""
    said = fields(error)
    status = said.get("code")
    if not isinstance(status, int) or not 400 <= status < 600:  # noqa: PLR2004 - classes of statuses
        return ProviderOverloaded("the provider reported an error in its stream", vendor_code=text(said.get("status")))
    return _read(said, status=status, headers={})


def error_object(body: bytes) -> dict[str, Any]:
    """Return the fields of `{"error": {…}}`, alone or first in an array; an empty object for anything else."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(decoded, list):
        decoded = next(iter(decoded), None)
    error = fields(decoded).get("error")
    # The token endpoint of OAuth says an error in words beside each other.
    return (
        {"message": fields(decoded).get("error_description"), "status": error}
        if isinstance(error, str)
        else (fields(error))
    )


def _read(error: Mapping[str, Any], *, status: int, headers: Headers) -> ProviderError:
    details = {str(detail.get("@type")).removeprefix(_TYPE): detail for detail in objects(error.get("details"))}
    reason = text(fields(details.get("ErrorInfo")).get("reason"))
    message, code = text(error.get("message")), reason or text(error.get("status"))
    if status == 400 and (reason in _KEY_REASONS or _KEY_WORDS.search(message or "")):  # noqa: PLR2004 - a status
        return CredentialRefused(status=status, vendor_code=code)
    violation = next(iter(objects(fields(details.get("BadRequest")).get("fieldViolations"))), {})
    found = error_of_status(
        status,
        headers,
        message=message,
        code=code,
        param=text(violation.get("field")),
        refusal=_kind(message or ""),
    )
    if found.retry_after_s is None and found.retryable:
        found.retry_after_s = _wait_s(fields(details.get("RetryInfo")).get("retryDelay"))
    return found


def _kind(message: str) -> type[RequestRefused]:
    if _TOO_LONG_WORDS.search(message):
        return ContextTooLong
    return ContentBlocked if _BLOCKED_WORDS.search(message) else RequestRefused


def _wait_s(delay: Any) -> float | None:
    """Return a duration, such as `34.07s`, in seconds."""
    found = _DURATION.fullmatch(delay) if isinstance(delay, str) else None
    seconds = float(found[1]) if found else None
    return seconds if seconds is not None and seconds <= _MAX_RETRY_AFTER_S else None


def write_error(
    status: int, message: str, *, code: str | None = None, param: str | None = None, retry_after_s: float | None = None
) -> dict[str, Any]:
    """Return the body of an error; `code` and `param` are told in its details, where Google tells such things."""
    details: list[dict[str, Any]] = []
    if code is not None:
        details.append({"@type": f"{_TYPE}ErrorInfo", "reason": code.upper(), "domain": _DOMAIN})
    if param is not None:
        violation = {"field": param, "description": message}
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    if retry_after_s is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{retry_after_s:g}s"})
    error: dict[str, Any] = {"code": status, "message": message, "status": _STATUSES.get(status, "INTERNAL")}
    return {"error": error | ({"details": details} if details else {})}
