"""Ollama's errors, read: `{"error": "…"}`, as a whole answer or as a line of a stream.

Source: https://docs.ollama.com/api/errors, read 2026-11.
"""

import re
from typing import Any

from providers.answers import error_of_status, fields, read_refusal, text
from providers.errors import (
    ContextTooLong,
    CredentialRefused,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)
from providers.types import Headers

_TOO_LONG = re.compile(
    r"exceeds? .{0,40}context|context (length|window|size) exceeded|input length exceeds|prompt (is )?too long",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(r"too many requests|rate limit|usage limit|\b429\b", re.IGNORECASE)
_NOT_ALLOWED = re.compile(r"\bunauthorized\b|\b401\b", re.IGNORECASE)


def decode_error(status: int, headers: Headers, body: bytes) -> ProviderError:
    """Read a refusal into the tree of `providers.errors`."""
    message = _message(read_refusal(body).get("error"))
    return error_of_status(status, headers, message=message, refusal=_kind(message))


def error_in_stream(error: Any) -> ProviderError:
    """Read an error line that came after the head of a streamed answer; only its words tell what it is."""
    message = _message(error) or ""
    if _kind(message) is ContextTooLong:
        return ContextTooLong(message)
    if _TOO_MANY.search(message):
        return ProviderRateLimited()
    if _NOT_ALLOWED.search(message):
        return CredentialRefused()
    return ProviderOverloaded("the provider reported an error in its stream")


def _kind(message: str | None) -> type[RequestRefused]:
    return ContextTooLong if message and _TOO_LONG.search(message) else RequestRefused


def _message(error: Any) -> str | None:
    """Return the message; a proxy in front may wrap it as OpenAI does."""
    return text(fields(error).get("message")) if isinstance(error, dict) else text(error)


__all__ = ["decode_error", "error_in_stream"]
