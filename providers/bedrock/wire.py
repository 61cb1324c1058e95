"""What answers of Converse mean, whole or streamed.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11;
botocore 1.44.8: bedrock-runtime.StopReason.
"""

from typing import Any

from providers.answers import count, fields, objects, service_tier
from providers.types import FinishReason, Usage

FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "other",
    "malformed_tool_use": "other",
    "model_context_window_exceeded": "length",
}
ANSWER_TOOL = "answer_in_json"
"""A tool that stands for JSON output on models that have none: its arguments are the answer's text."""
SERVER_TOOL = "server_tool_use"
"""The type of a call that Bedrock has answered itself: it is not for the client."""


def read_reason(reason: Any, *, has_calls: bool) -> FinishReason:
    """Return why the answer ended; one whose only call was the answer itself just ended."""
    known = FINISH_REASONS.get(reason, "other") if isinstance(reason, str) else "other"
    return "stop" if known == "tool_calls" and not has_calls else known


def read_ending(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the extras of a choice that ended: the stop sequence that the model met, if it says so."""
    met = fields(answer.get("additionalModelResponseFields")).get("stop_sequence")
    return {"stop_sequence": met} if isinstance(met, str) else {}


def read_usage(answer: dict[str, Any]) -> Usage | None:
    """Return disjoint counts; `None` if the vendor's are missing or absurd, so that they must be estimated.

    `inputTokens` are those that were neither read from a cache nor written to one, so that the total holds all four. A
    total of input and output alone says that the cached ones are among the input. What was written to live an hour is
    in the details; the tier that served stands beside the usage.
    Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html, read 2026-11.
    """
    wire = fields(answer.get("usage"))
    given, output = count(wire.get("inputTokens")), count(wire.get("outputTokens"))
    if given is None or output is None:
        return None
    read, write = count(wire.get("cacheReadInputTokens")) or 0, count(wire.get("cacheWriteInputTokens")) or 0
    if read + write and count(wire.get("totalTokens")) == given + output and read + write <= given:
        given -= read + write
    lives = objects(wire.get("cacheDetails"))
    hour = sum(count(kind.get("inputTokens")) or 0 for kind in lives if kind.get("ttl") == "1h")
    return Usage(
        input_tokens=given,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=min(hour, write),
        service_tier=service_tier(fields(answer.get("serviceTier")).get("type")),
    )


def read_citation(citation: dict[str, Any], *, length: int) -> list[dict[str, Any]]:
    """Return the annotation of a text of `length` characters; none for a source that is no web page."""
    url = fields(fields(citation.get("location")).get("web")).get("url")
    if not isinstance(url, str):
        return []
    title = citation.get("title")
    cited = {"url": url, "title": title if isinstance(title, str) else url, "start_index": 0, "end_index": length}
    return [{"type": "url_citation", "url_citation": cited}]


def read_citations(block: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return the text of a block with citations, and its annotations."""
    said = "".join(str(piece.get("text") or "") for piece in objects(block.get("content")))
    cited = [note for citation in objects(block.get("citations")) for note in read_citation(citation, length=len(said))]
    return said, cited


__all__ = [
    "ANSWER_TOOL",
    "FINISH_REASONS",
    "SERVER_TOOL",
    "read_citation",
    "read_citations",
    "read_ending",
    "read_reason",
    "read_usage",
]
