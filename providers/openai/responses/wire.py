"""The words of the Responses wire that both halves share.

Source: https://platform.openai.com/docs/api-reference/responses, read 2026-11.
"""

from typing import Any

from providers.answers import count, fields, service_tier, shares, without
from providers.errors import ContentBlocked, ProviderError, RequestRefused
from providers.openai.errors import error_in_stream
from providers.types import FinishReason, Usage

DIALECT = "responses"
RESPONSES = "openai.responses"
RESPONSE_GET = "openai.response_get"
RESPONSE_DELETE = "openai.response_delete"
PATH = "/responses"
ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
ITEM = "item"
"""The extra that holds what an item says of itself beside its content: its id, its phase. It begins an item."""

COMPLETED, INCOMPLETE, FAILED = "response.completed", "response.incomplete", "response.failed"

_BLOCKED = frozenset({"bio_policy", "image_content_policy_violation", "misalignment_policy_violation"})
_CALLERS = frozenset({"invalid_prompt", "failed_to_download_image", "unsupported_image_media_type", "empty_image_file"})


def failure_of(error: Any) -> ProviderError:
    """Return what the `error` of a failed response, or of an `error` event, means."""
    said = fields(error)
    code, message = str(said.get("code") or ""), str(said.get("message") or "")
    if code in _BLOCKED:
        return ContentBlocked(message, vendor_code=code)
    if code in _CALLERS or code.startswith(("invalid_image", "invalid_base64", "image_")):
        return RequestRefused(message, vendor_code=code)
    return error_in_stream(error)


def read_usage(value: Any, *, tier: Any = None) -> Usage | None:
    """Return disjoint counts; `None` if the vendor's are missing or absurd, so that they must be estimated.

    `tier` is the service tier that the response names, outside of its usage.
    """
    wire = fields(value)
    given, output = count(wire.get("input_tokens")), count(wire.get("output_tokens"))
    if given is None or output is None:
        return None
    details = fields(wire.get("input_tokens_details"))
    read = min(count(details.get("cached_tokens")) or 0, given)
    write = min(count(details.get("cache_write_tokens")) or 0, given - read)
    cached, made = fields(details.get("cached_tokens_details")), fields(wire.get("output_tokens_details"))
    audio_in, image_in = shares(
        given - read - write,
        without(details.get("audio_tokens"), cached.get("audio_tokens")),
        without(details.get("image_tokens"), cached.get("image_tokens")),
    )
    reasoning, audio_out, image_out = shares(
        output, made.get("reasoning_tokens"), made.get("audio_tokens"), made.get("image_tokens")
    )
    return Usage(
        input_tokens=given - read - write,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_in,
        image_input_tokens=image_in,
        audio_output_tokens=audio_out,
        image_output_tokens=image_out,
        service_tier=service_tier(tier),
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the wire's form of disjoint counts."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


INCOMPLETE_REASONS: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
}
