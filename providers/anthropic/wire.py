"""The words of Anthropic's wire that several modules share.

Source: https://platform.claude.com/docs/en/api/messages/create, read 2026-11; anthropic 2.14: types.Message.
"""

import re
from typing import Any

import msgspec

from providers.answers import count, fields, service_tier
from providers.types import FinishReason, Usage

DIALECT = "anthropic"
MESSAGES = "anthropic.messages"
COUNT_TOKENS = "anthropic.count_tokens"
STREAM_TYPE = "text/event-stream"

ANSWER_TOOL = "answer_in_json"
"""A tool that stands for JSON output on models that have none: its arguments are the answer's text."""

STOP_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "refusal",
    "content_filter": "refusal",
    "other": "end_turn",
}
ANSWER_STOPS = frozenset({*STOP_REASONS, "pause_turn"})
"""Every stop reason that clients know."""
_PLAIN = frozenset({"end_turn", "max_tokens", "tool_use", "refusal"})
"""Stop reasons that the canonical one stands for without loss."""

_FAST = "fast"
_TIERS = frozenset({"standard", "priority", "batch"})
"""The service tiers that clients know."""
_ODD_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")


class OutputDetails(msgspec.Struct, gc=False):
    """Of which the answer's tokens were."""

    thinking_tokens: Any = None


class WireUsage(msgspec.Struct, gc=False):
    """Token counts as they are sent; the three of the input are disjoint, and none holds another.

    `cache_creation` says how long what was written lives, of the whole of `cache_creation_input_tokens`.
    Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read 2026-11.
    """

    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    cache_creation: Any = None
    service_tier: Any = None
    speed: Any = None
    output_tokens_details: OutputDetails | None = None


def read_usage(wire: WireUsage | None, *, before: Usage | None = None) -> Usage | None:
    """Return the counts; `None` if the vendor's are missing or absurd, so that they must be estimated.

    A stream counts twice, at its start and at its end, and the later report may leave out what has not changed: what it
    does not say is as it was `before`.
    """
    if wire is None:
        return before
    start = before or Usage()
    given = wire.input_tokens if wire.input_tokens is not None else start.input_tokens if before else None
    inputs = count(given)
    output = start.output_tokens if wire.output_tokens is None else count(wire.output_tokens)
    if inputs is None or output is None:
        return before
    details = wire.output_tokens_details or OutputDetails()
    reasoning = _or_before(details.thinking_tokens, start.reasoning_tokens)
    written = _or_before(wire.cache_creation_input_tokens, start.cache_write_tokens)
    hour = _or_before(fields(wire.cache_creation).get("ephemeral_1h_input_tokens"), start.cache_write_1h_tokens)
    return Usage(
        input_tokens=inputs,
        output_tokens=output,
        cache_read_tokens=_or_before(wire.cache_read_input_tokens, start.cache_read_tokens),
        cache_write_tokens=written,
        reasoning_tokens=min(reasoning, output),
        cache_write_1h_tokens=min(hour, written),
        service_tier=_tier_of(wire) or start.service_tier,
    )


def _tier_of(wire: WireUsage) -> str | None:
    """Return the service tier, or `fast` for the speed of that name, which has prices of its own.

    Source: https://platform.claude.com/docs/en/build-with-claude/fast-mode, read 2026-11.
    """
    return _FAST if wire.speed == _FAST else service_tier(wire.service_tier)


def _or_before(value: Any, before: int) -> int:
    found = count(value)
    return before if found is None else found


def usage_of(value: Any, *, before: Usage | None = None) -> Usage | None:
    """Return the counts in a decoded answer or event."""
    try:
        return read_usage(msgspec.convert(value, WireUsage | None), before=before)
    except msgspec.ValidationError:
        return before


def write_usage(usage: Usage | None) -> dict[str, Any]:
    """Return the wire's form of disjoint counts; a client's SDK demands them, so unknown ones are zeros."""
    known = usage or Usage()
    details: dict[str, Any] = {}
    if known.reasoning_tokens:
        details["output_tokens_details"] = {"thinking_tokens": known.reasoning_tokens}
    if hour := known.cache_write_1h_tokens:
        written = {
            "ephemeral_5m_input_tokens": max(0, known.cache_write_tokens - hour),
            "ephemeral_1h_input_tokens": hour,
        }
        details["cache_creation"] = written
    if known.service_tier in _TIERS:
        details["service_tier"] = known.service_tier
    return {
        "input_tokens": known.input_tokens,
        "cache_creation_input_tokens": known.cache_write_tokens,
        "cache_read_input_tokens": known.cache_read_tokens,
        "output_tokens": known.output_tokens,
    } | details


def read_ending(ending: dict[str, Any], *, has_calls: bool) -> tuple[FinishReason, dict[str, Any]]:
    """Return why an answer ended, and what of it the canonical reason does not say.

    `ending` holds `stop_reason` and its company. A stop for the tool that stands for JSON output is a plain one: then
    there are no calls (`has_calls`).
    """
    said = str(ending.get("stop_reason"))
    if said == "tool_use" and not has_calls:
        return "stop", {}
    extras = {} if said in _PLAIN or said == "stop_sequence" else {"stop_reason": said}
    kept = {name: ending[name] for name in ("stop_sequence", "stop_details", "container") if ending.get(name)}
    return STOP_REASONS.get(said, "other"), extras | kept


def tool_id(text: str) -> str:
    """Return an id of a tool call that this wire takes: other vendors' may hold characters that it refuses."""
    return _ODD_IN_ID.sub("_", text)
