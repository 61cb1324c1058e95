"""The errors of Text Generation Inference, read: `{"error": "…", "error_type": "…"}`, whole or as an event.

Source: https://huggingface.github.io/text-generation-inference, read 2026-11; huggingface_hub 2.4, `errors`.
"""

import re
from typing import Any

from providers.answers import error_of_status, fields, read_refusal, text
from providers.errors import (
    ContextTooLong,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)
from providers.types import Headers

_TOO_LONG = re.compile(r"`inputs` (tokens \+ `max_new_tokens` )?must (be <=|have less than)", re.IGNORECASE)
_INVALID = frozenset({"validation", "template_error", "tool_error", "missing_template_variable"})


def decode_error(status: int, headers: Headers, body: bytes) -> ProviderError:
    """Read a refusal into the tree of `providers.errors`."""
    answer = read_refusal(body)
    message = _message(answer.get("error"))
    code = text(answer.get("error_type"))
    return error_of_status(status, headers, message=message, code=code, refusal=_kind(message))


def error_in_answer(answer: dict[str, Any]) -> ProviderError:
    """Read an error that came with status 200: an event of a stream."""
    message, code = _message(answer.get("error")), text(answer.get("error_type"))
    if code in _INVALID:
        return _kind(message)(message, vendor_code=code)
    if code == "overloaded":
        return ProviderRateLimited(message, vendor_code=code)
    return ProviderOverloaded("the provider reported an error in its stream", vendor_code=code)


def _kind(message: str | None) -> type[RequestRefused]:
    return ContextTooLong if message and _TOO_LONG.search(message) else RequestRefused


def _message(error: Any) -> str | None:
    return text(fields(error).get("message")) if isinstance(error, dict) else text(error)


__all__ = ["decode_error", "error_in_answer"]
