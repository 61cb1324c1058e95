"""Whole answers of Converse, read.

Source: botocore 1.44.8: bedrock-runtime.ConverseResponse.
"""

from typing import Any

import msgspec

from providers.answers import fields, objects, read_object
from providers.bedrock.tuning import SIGNER
from providers.bedrock.wire import ANSWER_TOOL, SERVER_TOOL, read_citations, read_ending, read_reason, read_usage
from providers.errors import BadAnswer
from providers.signatures import sign
from providers.types import Choice, Completion, Part, TextPart, ThinkingPart, ToolCallPart


def read_completion(body: bytes) -> Completion:
    """Read an answer. Raises `BadAnswer`. Converse names neither the answer, its model nor its time."""
    answer = read_object(body)
    content = fields(fields(answer.get("output")).get("message")).get("content")
    if not isinstance(content, list):
        raise BadAnswer("the provider's answer holds no message")
    parts = [part for block in objects(content) for part in _read_block(block)]
    has_calls = any(isinstance(part, ToolCallPart) for part in parts)
    choice = Choice(
        index=0,
        content=parts,
        finish_reason=read_reason(answer.get("stopReason"), has_calls=has_calls),
        extras=read_ending(answer),
    )
    return Completion(id="", model="", created=0, choices=[choice], usage=read_usage(answer))


def _read_block(block: dict[str, Any]) -> list[Part]:
    """Return what a block says: nothing for a kind that is not known."""
    match block:
        case {"text": str(text)}:
            return [TextPart(text=text)]
        case {"toolUse": dict(call)}:
            return _read_call(call)
        case {"reasoningContent": {"reasoningText": dict(thought)}}:
            return [ThinkingPart(text=str(thought.get("text") or ""), signature=signed(thought.get("signature")))]
        case {"reasoningContent": {"redactedContent": str(value)}}:
            return [ThinkingPart(redacted=True, signature=signed(value))]
        case {"citationsContent": dict(cited)}:
            text, annotations = read_citations(cited)
            return [TextPart(text=text, annotations=annotations)]
        case _:
            return []


def _read_call(call: dict[str, Any]) -> list[Part]:
    if call.get("type") == SERVER_TOOL:
        return []
    arguments = msgspec.json.encode(call.get("input") or {}).decode()
    if call.get("name") == ANSWER_TOOL:
        return [TextPart(text=arguments)]
    return [ToolCallPart(id=str(call.get("toolUseId") or ""), name=str(call.get("name") or ""), arguments=arguments)]


def signed(value: Any) -> str | None:
    """Return a signature of Claude's in its canonical form; `None` for what is none."""
    return sign(SIGNER, value) if isinstance(value, str) and value else None


__all__ = ["read_completion", "signed"]
