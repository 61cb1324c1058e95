"""Canonical messages in Cohere's words: a plan before tool calls, documents in tool results, one system turn.

Source: https://docs.cohere.com/reference/chat, read 2026-11; cohere 7.3, `types.ChatMessageV2`.
"""

from typing import Any

from providers import custom_tools
from providers.carry import as_user_text, in_order, refuse, refuse_part
from providers.types import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

_NAMES: dict[type[Part], str] = {
    AudioPart: "sound",
    FilePart: "a file that is no text",
    ImagePart: "an image here",
}
_SYSTEM = frozenset({"system", "developer"})


def write_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """Return the wire's messages. Raises `RequestRefused` for parts that it has no words for.

    The system's turn must be the first, so a later one is said by the user, in its place. An assistant's that says
    nothing is left out.
    Source: https://docs.cohere.com/reference/errors, read 2026-11.
    """
    first = next((at for at, message in enumerate(messages) if message.role not in _SYSTEM), len(messages))
    leading = [part for message in messages[:first] for part in message.content]
    written = [{"role": "system", "content": _write_texts(leading)}] if leading else []
    turns = [wire for message in in_order(messages[first:]) for wire in _write_message(message)]
    return written + [
        turn for turn in turns if turn["role"] != "assistant" or turn.get("content") or "tool_calls" in turn
    ]


def _write_message(message: Message) -> list[dict[str, Any]]:
    match message.role:
        case "tool":
            return [_write_result(part) for part in message.content if isinstance(part, ToolResultPart)]
        case "assistant":
            return [_write_answer(message)]
        case "system" | "developer":
            return [{"role": "user", "content": as_user_text("\n".join(_text_of(part) for part in message.content))}]
        case _:
            return [{"role": "user", "content": _write_content(message.content)}]


def _text_of(part: Part) -> str:
    match part:
        case TextPart() | RefusalPart():
            return part.text
        case FilePart(text=str(text)):
            return text
        case OpaquePart():
            raise refuse_part(part)
        case _:
            raise refuse("messages", what=_NAMES.get(type(part), "a part of this kind here"))


def _write_texts(parts: list[Part]) -> str | list[dict[str, Any]]:
    """Return text: a string where one part says it all."""
    texts = [_text_of(part) for part in parts]
    return texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]


def _write_content(parts: list[Part]) -> str | list[dict[str, Any]]:
    """Return what the user says and shows."""
    if not any(isinstance(part, ImagePart) for part in parts):
        return _write_texts(parts) or ""
    return [
        _write_image(part) if isinstance(part, ImagePart) else {"type": "text", "text": _text_of(part)}
        for part in parts
    ]


def _write_image(part: ImagePart) -> dict[str, Any]:
    url = part.url if part.data is None else f"data:{part.media_type};base64,{part.data}"
    return {"type": "image_url", "image_url": {"url": url} | ({"detail": part.detail} if part.detail else {})}


def _write_answer(message: Message) -> dict[str, Any]:
    """Return an assistant's turn; what it says before it calls tools is its plan."""
    calls = [_write_call(part) for part in message.content if isinstance(part, ToolCallPart)]
    said: list[Part] = [part for part in message.content if not isinstance(part, ToolCallPart | ThinkingPart)]
    content = _write_thoughts(message.content)
    if not calls:
        if not content:
            return {"role": "assistant", "content": _write_texts(said) or ""}
        return {"role": "assistant", "content": content + [{"type": "text", "text": _text_of(part)} for part in said]}
    plan = "\n".join(_text_of(part) for part in said)
    return {
        "role": "assistant",
        **({"content": content} if content else {}),
        **({"tool_plan": plan} if plan else {}),
        "tool_calls": calls,
    }


def _write_thoughts(parts: list[Part]) -> list[dict[str, Any]]:
    """Return the reasoning that may be Cohere's: it signs none, so that what is signed is somebody else's."""
    thoughts = [part for part in parts if isinstance(part, ThinkingPart) and part.signature is None and part.text]
    return [{"type": "thinking", "thinking": part.text} for part in thoughts]


def _write_call(part: ToolCallPart) -> dict[str, Any]:
    call = custom_tools.wrap(part)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _write_result(part: ToolResultPart) -> dict[str, Any]:
    """Return a tool's answer; a file in it is a document, which the model may cite."""
    if not any(isinstance(piece, FilePart) for piece in part.content):
        return {"role": "tool", "tool_call_id": part.id, "content": _write_texts(list(part.content)) or ""}
    content = [
        _write_document(piece) if isinstance(piece, FilePart) else {"type": "text", "text": _text_of(piece)}
        for piece in part.content
    ]
    return {"role": "tool", "tool_call_id": part.id, "content": content}


def _write_document(part: FilePart) -> dict[str, Any]:
    title = {"title": part.filename} if part.filename else {}
    return {"type": "document", "document": {"data": {"text": _text_of(part), **title}}}


__all__ = ["write_messages"]
