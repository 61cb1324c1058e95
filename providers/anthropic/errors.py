"""Anthropic's error bodies: the vendor's are read, ours are written for its clients.

What went wrong exactly is the `error_code` of an error's `details`; its type says little more than the status.
Source: https://platform.claude.com/docs/en/api/errors, read 2026-11; anthropic 2.14: types.ErrorResponse,
APIStatusError.error_code, types.ThreadUnsupportedRequestError.
"""

import re
from typing import Any

import msgspec

from providers.answers import error_of_status, fields, read_refusal, text
from providers.errors import (
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)
from providers.framing import sse
from providers.types import Headers

_TOO_LONG = re.compile(r"prompt is too long|exceed\w* (the )?(model's )?context|context (window|limit)", re.IGNORECASE)
_BLOCKED = re.compile(r"content filtering policy|usage policy", re.IGNORECASE)
_OUT_OF_FUNDS = re.compile(r"credit balance is too low|specified API usage limits|spend limit", re.IGNORECASE)
_PARAM = re.compile(r"((?:[a-z_]+)(?:\.[\w-]+)*): ")
_CREDENTIAL = frozenset({"authentication_error", "billing_error", "permission_error"})
_INVALID = frozenset({"invalid_request_error", "not_found_error", "request_too_large", "conflict_error"})
_BAD_REQUEST = 400
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SERVER_ERROR = 500


def decode_error(status: int, headers: Headers, body: bytes) -> ProviderError:
    """Read a refusal into the tree of `providers.errors`."""
    error = fields(read_refusal(body).get("error"))
    message, code = text(error.get("message")), _code(error)
    if status == _BAD_REQUEST and _OUT_OF_FUNDS.search(message or ""):
        return CredentialRefused(status=status, vendor_code=code)
    kind = _kind_of(message or "")
    return error_of_status(status, headers, message=message, code=code, param=_param(message), refusal=kind)


def _code(error: dict[str, Any]) -> str | None:
    return text(fields(error.get("details")).get("error_code")) or text(error.get("type"))


def error_in_stream(error: Any) -> ProviderError:
    """Read an `error` event that came after the head of a streamed answer."""
    said = fields(error)
    message, code = text(said.get("message")), text(said.get("type"))
    if code == "rate_limit_error":
        return ProviderRateLimited(vendor_code=code)
    if code in _CREDENTIAL:
        return CredentialRefused(vendor_code=code)
    if code in _INVALID:
        return _kind_of(message or "")(message, vendor_code=code, param=_param(message))
    return ProviderOverloaded("the provider reported an error in its stream", vendor_code=code)


def _kind_of(message: str) -> type[RequestRefused]:
    if _BLOCKED.search(message):
        return ContentBlocked
    return ContextTooLong if _TOO_LONG.search(message) else RequestRefused


def _param(message: str | None) -> str | None:
    """Return the path of the field that a message begins with, such as `messages.1.content.0.type`."""
    found = _PARAM.match(message or "")
    return found[1] if found else None


def write_error(message: str, *, status: int, code: str | None = None, request_id: str | None = None) -> bytes:
    """Return the body of an error for a client of this dialect; `code` says more than the type, if there is one."""
    kind = _TYPES.get(status) or ("api_error" if status >= _SERVER_ERROR else "invalid_request_error")
    error: dict[str, Any] = {"type": kind, "message": message}
    if code is not None and code != kind:
        error["details"] = {"error_code": code}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


def write_late_error(message: str, *, status: int, code: str | None = None, request_id: str | None = None) -> bytes:
    """Return the event that says an error inside a stream; nothing may follow it."""
    return sse.encode(write_error(message, status=status, code=code, request_id=request_id), event=b"error")


__all__ = ["decode_error", "error_in_stream", "write_error", "write_late_error"]
