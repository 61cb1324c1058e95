"""OpenAI's error bodies, read.

Source: https://platform.openai.com/docs/guides/error-codes, read 2026-11.
"""

from typing import Any

import msgspec

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
_MAX_RETRY_AFTER_S = 3_600.0
_REFUSED = frozenset({400, 404, 405, 409, 413, 415, 422})
_CREDENTIAL = frozenset({401, 402, 403})
_OUT_OF_FUNDS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_BLOCKED = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})


def retry_after_s(headers: Headers) -> float | None:
    """Return how long the provider asks to wait, in seconds, from `retry-after-ms` or `retry-after`."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * scale
        except ValueError:
            continue
        if 0 <= seconds <= _MAX_RETRY_AFTER_S:
            return seconds
    return None


def decode_error(status: int, headers: Headers, body: bytes) -> ProviderError:
    """Read a refusal into the tree of `providers.errors`."""
    error = _error_object(body)
    message = _text(error.get("message")) or f"the provider answered with status {status}"
    code = _text(error.get("code")) or _text(error.get("type"))
    param = _text(error.get("param"))
    if status in _REFUSED:
        return _refused(status, message=message, code=code, param=param)
    if status in _CREDENTIAL or (status == 429 and code in _OUT_OF_FUNDS):  # noqa: PLR2004 - a status
        return CredentialRefused(status=status, vendor_code=code)
    wait = retry_after_s(headers)
    if status == 429:  # noqa: PLR2004 - a status
        return ProviderRateLimited(message, status=status, vendor_code=code, retry_after_s=wait)
    if 300 <= status < 400:  # noqa: PLR2004 - a class of statuses
        return BadAnswer("the provider answered with a redirect", code="upstream_redirect_blocked", status=status)
    return ProviderOverloaded(
        f"the provider failed with status {status}", status=status, vendor_code=code, retry_after_s=wait
    )


def _refused(status: int, *, message: str, code: str | None, param: str | None) -> RequestRefused:
    kind: type[RequestRefused] = RequestRefused
    if code == "context_length_exceeded":
        kind = ContextTooLong
    elif code in _BLOCKED:
        kind = ContentBlocked
    return kind(message, status=status, vendor_code=code, param=param)


def error_in_stream(error: Any) -> ProviderError:
    """Read an error frame that came after the head of a streamed answer."""
    fields = error if isinstance(error, dict) else {}
    code = _text(fields.get("code")) or _text(fields.get("type"))
    if code in {"rate_limit_exceeded", "429"}:
        return ProviderRateLimited(vendor_code=code)
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
    if isinstance(error, dict) and "message" not in error and isinstance(error.get("detail"), str):
        return {**error, "message": error["detail"]}
    return error if isinstance(error, dict) else {}


def _text(value: Any) -> str | None:
    if isinstance(value, str) and value:
        return value[:_MAX_MESSAGE]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
