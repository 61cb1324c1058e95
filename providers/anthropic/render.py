"""Canonical answers, said to a client in Anthropic's dialect.

Source: https://platform.claude.com/docs/en/api/messages/create, read 2026-11; anthropic 2.14: types.Message.
"""

from typing import Any

import msgspec

from providers.anthropic.answers import CITATIONS, STOP_DETAILS
from providers.anthropic.blocks import CALL_SIGNATURE, TEXT_SIGNATURE, UNSIGNED
from providers.anthropic.wire import ANSWER_STOPS, DIALECT, REASONS, tool_id, write_usage
from providers.errors import BadAnswer
from providers.signatures import seal, sign
from providers.types import (
    Completion,
    FinishReason,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)

_ID = "msg_"


def message_id(given: str, request_id: str) -> str:
    """Return the id of a message: the provider's if it is one of this dialect, else one made from the request's."""
    return given if given.startswith(_ID) else _ID + request_id


def render_message(completion: Completion, *, model: str, request_id: str) -> dict[str, Any]:
    """Return the body of a message; `model` is the name that the client asked for."""
    if not completion.choices:
        raise BadAnswer("the provider's answer has no choices")
    choice = completion.choices[0]
    calls = any(isinstance(part, ToolCallPart) for part in choice.content)
    return {
        "id": message_id(completion.id, request_id),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [block for part in choice.content for block in render_part(part)],
        **render_ending(choice.finish_reason, choice.extras, has_calls=calls),
        "usage": write_usage(completion.usage),
    }


def render_ending(reason: FinishReason, extras: dict[str, Any], *, has_calls: bool) -> dict[str, Any]:
    """Return why an answer ended; some vendors call a stop for tools a plain one."""
    said = extras.get("stop_reason")
    matched = extras.get("stop_sequence")
    if said not in ANSWER_STOPS:
        said = REASONS[reason]
        if has_calls and reason in {"stop", "other"}:
            said = "tool_use"
        elif matched is not None and reason == "stop":
            said = "stop_sequence"
    kept = {name: extras[name] for name in (STOP_DETAILS, "container") if extras.get(name) is not None}
    return {"stop_reason": said, "stop_sequence": matched if said == "stop_sequence" else None} | kept


def render_part(part: Part) -> list[dict[str, Any]]:
    """Return the blocks that say a part; none for what this dialect cannot say to a client."""
    match part:
        case TextPart():
            return _render_text(part)
        case RefusalPart():
            # What the vendor of this dialect says of its refusal stands beside the content, not in it.
            return [] if STOP_DETAILS in part.extras else [{"type": "text", "text": part.text}]
        case ThinkingPart():
            return [render_thinking(part)] if part.text or part.signature else []
        case ToolCallPart():
            return _render_call(part)
        case OpaquePart(dialect=dialect, value=value) if dialect == DIALECT and isinstance(value, dict):
            return [value]
        case _:
            return []


def _render_text(part: TextPart) -> list[dict[str, Any]]:
    citations = citations_of(part.extras, part.annotations)
    block = {"type": "text", "text": part.text} | ({CITATIONS: citations} if citations else {})
    return [block, *render_signature(TEXT_SIGNATURE, part.signature)]


def _render_call(part: ToolCallPart) -> list[dict[str, Any]]:
    block = {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": arguments_of(part.arguments)}
    extras = {name: part.extras[name] for name in ("caller", "toolset_name") if name in part.extras}
    return [*render_signature(CALL_SIGNATURE, part.signature), block | extras]


def render_thinking(part: ThinkingPart) -> dict[str, Any]:
    """Return the block of some thoughts."""
    signature = seal(part.signature or UNSIGNED, DIALECT)
    if part.redacted:
        return {"type": "redacted_thinking", "data": signature}
    return {"type": "thinking", "thinking": part.text, "signature": signature}


def render_signature(place: str, signature: str | None) -> list[dict[str, Any]]:
    """Return the block in which the signature of a call or text travels: clients send such blocks back unread."""
    if signature is None:
        return []
    return [{"type": "redacted_thinking", "data": seal(sign(place, signature), DIALECT)}]


def citations_of(extras: dict[str, Any], annotations: list[Any]) -> list[dict[str, Any]]:
    """Return the citations of a text: the vendor's own, or its pages as results of a search."""
    own = extras.get(CITATIONS)
    if isinstance(own, list):
        return own
    return [_citation(note["url_citation"]) for note in annotations if _is_of_url(note)]


def _is_of_url(note: Any) -> bool:
    return isinstance(note, dict) and isinstance(note.get("url_citation"), dict)


def _citation(said: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "web_search_result_location",
        "url": str(said.get("url") or ""),
        "title": str(said.get("title") or ""),
        "cited_text": "",
        "encrypted_index": "",
    }


def arguments_of(text: str) -> dict[str, Any]:
    """Return the arguments of a call as an object; text that is none is kept in a member of its own."""
    try:
        given = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        given = None
    return given if isinstance(given, dict) else {"arguments": text}


__all__ = [
    "arguments_of",
    "citations_of",
    "message_id",
    "render_ending",
    "render_message",
    "render_part",
    "render_signature",
    "render_thinking",
]
