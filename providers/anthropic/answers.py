"""Answers of Anthropic's Messages API, not streamed, read into the canonical form.

Source: https://platform.claude.com/docs/en/api/messages/create, read 2026-11; anthropic 2.14: types.Message.
"""

from typing import Any

import msgspec

from providers.answers import fields, objects, read_object
from providers.anthropic.errors import error_in_stream
from providers.anthropic.wire import ANSWER_TOOL, DIALECT, read_ending, usage_of
from providers.errors import BadAnswer
from providers.signatures import sign
from providers.types import (
    Choice,
    Completion,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)

CITATIONS = "citations"
"""The extra of a text in which the citations are as the vendor sent them."""
STOP_DETAILS = "stop_details"


def read_message(body: bytes) -> Completion:
    """Read an answer. Raises `BadAnswer` for what is no message, and what an error in its place reports."""
    message = read_object(body)
    if message.get("type") == "error":
        raise error_in_stream(message.get("error"))
    blocks = message.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise BadAnswer("the provider's answer has no content")
    if not blocks and message.get("stop_reason") is None:
        raise BadAnswer("the provider's answer is empty")
    content = [part for block in blocks for part in _read_block(block)]
    calls = any(isinstance(part, ToolCallPart) for part in content)
    reason, extras = read_ending(message, has_calls=calls)
    choice = Choice(index=0, content=content + refusal_of(message), finish_reason=reason, extras=extras)
    return Completion(
        id=str(message.get("id") or ""),
        model=str(message.get("model") or ""),
        created=0,
        choices=[choice],
        usage=usage_of(message.get("usage")),
    )


def _read_block(block: dict[str, Any]) -> list[Part]:
    """Return what a block says; nothing for one that is empty."""
    match block:
        case {"type": "text", "text": str(text)}:
            citations = objects(block.get(CITATIONS))
            extras = {CITATIONS: citations} if citations else {}
            return [TextPart(text=text, annotations=annotations_of(citations), extras=extras)] if text or extras else []
        case {"type": "thinking", "thinking": str(text)}:
            signature = signature_of(block.get("signature"))
            return [ThinkingPart(text=text, signature=signature)] if text or signature else []
        case {"type": "redacted_thinking", "data": str(data)}:
            return [ThinkingPart(redacted=True, signature=sign(DIALECT, data))]
        case {"type": "tool_use", "input": given}:
            arguments = msgspec.json.encode(given).decode()
            if block.get("name") == ANSWER_TOOL:
                return [TextPart(text=arguments)]
            extras = call_extras(block)
            call, name = str(block.get("id") or ""), str(block.get("name") or "")
            return [ToolCallPart(id=call, name=name, arguments=arguments, extras=extras)]
        case _:
            return [OpaquePart(dialect=DIALECT, value=block)]


def call_extras(block: dict[str, Any]) -> dict[str, Any]:
    """Return what a call says beyond its name and arguments, such as who called."""
    return {name: block[name] for name in ("caller", "toolset_name") if block.get(name) is not None}


def signature_of(value: Any) -> str | None:
    """Return the canonical signature of thoughts; `None` if they are unsigned."""
    return sign(DIALECT, value) if isinstance(value, str) and value else None


def annotations_of(citations: list[dict[str, Any]]) -> list[Any]:
    """Return the citations of a URL in the shape of OpenAI's chat completions; the others cite the request itself."""
    return [note for citation in citations if (note := _annotation(citation)) is not None]


def _annotation(citation: dict[str, Any]) -> dict[str, Any] | None:
    url = citation.get("url") or citation.get("source")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        return None
    said = {"url": url, "title": str(citation.get("title") or ""), "start_index": 0, "end_index": 0}
    return {"type": "url_citation", "url_citation": said}


def refusal_of(ending: dict[str, Any]) -> list[Part]:
    """Return why the vendor refused, where it says so in words."""
    details = fields(ending.get(STOP_DETAILS))
    explanation = details.get("explanation")
    if ending.get("stop_reason") != "refusal" or not isinstance(explanation, str) or not explanation:
        return []
    return [RefusalPart(text=explanation, extras={STOP_DETAILS: details})]


def read_models(body: bytes) -> list[str]:
    """Read the ids in a list of models. Raises `BadAnswer`."""
    items = read_object(body).get("data")
    if not isinstance(items, list):
        raise BadAnswer("the provider's answer is no list of models")
    return [item["id"] for item in objects(items) if isinstance(item.get("id"), str)]


__all__ = [
    "CITATIONS",
    "STOP_DETAILS",
    "annotations_of",
    "call_extras",
    "read_message",
    "read_models",
    "refusal_of",
    "signature_of",
]
