"""Cohere's errors, read: `{"message": "…"}`, perhaps with an id.

Source: https://docs.cohere.com/reference/errors, read 2026-11; cohere 7.3, `errors`.
"""

import re
from typing import Any

from providers.answers import error_of_status, fields, read_refusal, text
from providers.errors import (
    ContentBlocked,
    ContextTooLong,
    ProviderError,
    ProviderOverloaded,
    RequestRefused,
)
from providers.types import Headers

_DENY_LISTED = 498
_TOO_LONG = re.compile(r"too many tokens|maximum context length|exceeds? .{0,40}context", re.IGNORECASE)


def decode_error(status: int, headers: Headers, body: bytes) -> ProviderError:
    """Read a refusal into the tree of `providers.errors`."""
    answer = read_refusal(body)
    message = text(answer.get("message")) or text(fields(answer.get("error")).get("message"))
    if status == _DENY_LISTED:
        # The request or the answer holds a token that is not allowed; it has nothing to do with credentials.
        return ContentBlocked(message, status=status)
    return error_of_status(status, headers, message=message, refusal=_kind(message))


def error_in_stream(message: Any, *, reason: str | None = None) -> ProviderError:
    """Read what the end of an answer, or an event of its own, reports; `reason` is the finish reason."""
    said = text(message) or ""
    if _kind(said) is ContextTooLong:
        return ContextTooLong(said, vendor_code=reason)
    return ProviderOverloaded("the provider reported an error in its answer", vendor_code=reason)


def _kind(message: str | None) -> type[RequestRefused]:
    return ContextTooLong if message and _TOO_LONG.search(message) else RequestRefused


__all__ = ["decode_error", "error_in_stream"]
