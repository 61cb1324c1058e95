"""What whole and streamed answers of Cohere have in common: counts, reasons, citations, log-probabilities.

Source: https://docs.cohere.com/reference/chat, read 2026-11; cohere 7.3, `types.Usage`, `types.Citation`.
"""

from typing import Any

from providers.answers import count, fields, integer, objects
from providers.types import FinishReason, Usage

FINISH_REASONS: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
FAILED = frozenset({"ERROR", "TIMEOUT"})
"""Finish reasons of answers that are none."""


def read_usage(value: Any) -> Usage | None:
    """Return disjoint counts; `None` if they are missing or absurd.

    `billed_units` is what the invoice says; `tokens` counts Cohere's own preamble too, which is not charged, and is
    read where nothing is billed. Of a cached prompt no more is counted than was billed.
    Source: https://docs.cohere.com/docs/how-does-cohere-pricing-work, read 2026-11.
    """
    told = fields(value)
    counts = fields(told.get("billed_units"))
    if counts.get("input_tokens") is None and counts.get("output_tokens") is None:
        counts = fields(told.get("tokens"))
    given, written = count(counts.get("input_tokens")), count(counts.get("output_tokens", 0))
    if given is None or written is None:
        return None
    cached = min(count(told.get("cached_tokens")) or 0, given)
    return Usage(input_tokens=given - cached, output_tokens=written, cache_read_tokens=cached)


def read_citation(citation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a citation of the answer's text in OpenAI's shape, one for each source; none of a citation of a plan."""
    if citation.get("type") not in (None, "TEXT_CONTENT"):
        return []
    start, end = integer(citation.get("start")), integer(citation.get("end"))
    return [_read_source(source, start=start, end=end) for source in objects(citation.get("sources"))]


def _read_source(source: dict[str, Any], *, start: int, end: int) -> dict[str, Any]:
    """Return one source; a document that has no address or title is known by its id."""
    document = fields(source.get("document")) or fields(source.get("tool_output"))
    name = str(source.get("id") or "")
    cited = {
        "start_index": start,
        "end_index": end,
        "url": str(document.get("url") or ""),
        "title": str(document.get("title") or name),
    }
    return {"type": "url_citation", "url_citation": cited}


def read_logprobs(items: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return log-probabilities in OpenAI's shape: a piece of text is as likely as its tokens one after the other."""
    tokens = [_read_piece(item) for item in items if isinstance(item.get("logprobs"), list)]
    return {"content": tokens, "refusal": None} if tokens else None


def _read_piece(item: dict[str, Any]) -> dict[str, Any]:
    total = sum(number for number in item["logprobs"] if isinstance(number, int | float))
    return {"token": str(item.get("text") or ""), "logprob": total, "bytes": None, "top_logprobs": []}


__all__ = ["FAILED", "FINISH_REASONS", "read_citation", "read_logprobs", "read_usage"]
