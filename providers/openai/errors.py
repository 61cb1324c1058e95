"""OpenAI's error bodies, read; compatible vendors keep its statuses better than its codes, so some words are read too.

Source: https://platform.openai.com/docs/guides/error-codes, read 2026-11.
"""

import re
from typing import Any

import msgspec

from providers.answers import retry_after_s
from providers.errors import (
    BadAnswer,
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)
from providers.types import Headers

_MAX_MESSAGE = 2_000
_REFUSED = frozenset({400, 404, 405, 409, 413, 415, 422})
_CREDENTIAL = frozenset({401, 402, 403})
_OUT_OF_FUNDS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_BLOCKED = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_TOO_LONG = "context_length_exceeded"
_TOO_LONG_WORDS = re.compile(
    r"maximum context length|context window|exceed\w* .{0,40}context|prompt is too long"
    r"|reduce the length of the (messages|prompt|input)",
    re.IGNORECASE,
)
# Some vendors call a wrong key a bad request, and quote it.
_KEY_WORDS = re.compile(r"api[ _-]?key not valid|(incorrect|invalid) api[ _-]?key", re.IGNORECASE)


def decode_error(status: int, headers: Headers, body: bytes) -> ProviderError:
    """Read a refusal into the tree of `providers.errors`."""
    error = _error_object(body)
    message = _text(error.get("message")) or f"the provider answered with status {status}"
    code = _text(error.get("code")) or _text(error.get("type"))
    param = _text(error.get("param"))
    if status in _CREDENTIAL or _is_about_credential(status, message=message, code=code):
        return CredentialRefused(status=status, vendor_code=code)
    if status in _REFUSED:
        return _refused(message, status=status, code=code, param=param)
    wait = retry_after_s(headers)
    if status == 429:  # noqa: PLR2004 - a status
        return ProviderRateLimited(message, status=status, vendor_code=code, retry_after_s=wait)
    if 300 <= status < 400:  # noqa: PLR2004 - a class of statuses
        return BadAnswer("the provider answered with a redirect", code="upstream_redirect_blocked", status=status)
    return ProviderOverloaded(
        f"the provider failed with status {status}", status=status, vendor_code=code, retry_after_s=wait
    )


def _is_about_credential(status: int, *, message: str, code: str | None) -> bool:
    """Whether a refusal that is no 401, 402 or 403 is one of them by another name."""
    if status == 400:  # noqa: PLR2004 - a status
        return code == "invalid_api_key" or _KEY_WORDS.search(message) is not None
    return status == 429 and code in _OUT_OF_FUNDS  # noqa: PLR2004 - a status


def _refused(message: str, *, status: int | None, code: str | None, param: str | None) -> RequestRefused:
    kind: type[RequestRefused] = RequestRefused
    if code == _TOO_LONG or (code not in _BLOCKED and _TOO_LONG_WORDS.search(message)):
        kind = ContextTooLong
    elif code in _BLOCKED:
        kind = ContentBlocked
    return kind(message, status=status, vendor_code=code, param=param)


def error_in_stream(error: Any) -> ProviderError:
    """Read an error that came after the head of an answer: a frame of a stream, or the whole body."""
    fields = error if isinstance(error, dict) else {}
    code = _text(fields.get("code")) or _text(fields.get("type"))
    if code in {"rate_limit_exceeded", "429"}:
        return ProviderRateLimited(vendor_code=code)
    if code in _OUT_OF_FUNDS or code in {"401", "402", "403", "invalid_api_key"}:
        return CredentialRefused(vendor_code=code)
    if code in _BLOCKED or code == _TOO_LONG:
        return _refused(_text(fields.get("message")) or "", status=None, code=code, param=None)
    return ProviderOverloaded("the provider reported an error in its stream", vendor_code=code)


def _error_object(body: bytes) -> dict[str, Any]:
    """Return the fields of `{"error": {…}}`, of a bare error object, or of FastAPI's `{"detail": …}`."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    if not isinstance(decoded, dict):
        return {}
    error = decoded.get("error", decoded)
    if isinstance(error, str):
        return {"message": error, **{k: v for k, v in decoded.items() if k in {"code", "param", "type"}}}
    if not isinstance(error, dict):
        return {}
    detail = error.get("detail", error.get("message"))
    if isinstance(detail, dict):
        detail = detail.get("detail")
    if isinstance(detail, list):
        return {**error, "message": _validation_message(detail)}
    return {**error, "message": error.get("message", detail)}


def _validation_message(faults: list[Any]) -> str:
    """Return what FastAPI found wrong with a body, each fault with the path of its field."""
    return "; ".join(_fault_text(fault) for fault in faults if isinstance(fault, dict) and "msg" in fault)


def _fault_text(fault: dict[str, Any]) -> str:
    path = fault.get("loc")
    return f"{'.'.join(map(str, path))}: {fault['msg']}" if isinstance(path, list) else str(fault["msg"])


def _text(value: Any) -> str | None:
    if isinstance(value, str) and value:
        return value[:_MAX_MESSAGE]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
