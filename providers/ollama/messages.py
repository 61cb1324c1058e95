"""Canonical messages in Ollama's words: text, images beside it, and tool calls with arguments as objects.

Source: https://docs.ollama.com/api/chat, read 2026-11; ollama-python 0.6.3, `Message`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from providers import custom_tools
from providers.carry import refuse, refuse_part
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
    FilePart: "a file",
    ImagePart: "an image by URL",
}


def write_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """Return the wire's messages. Raises `RequestRefused` for parts that it has no words for."""
    names = {part.id: part.name for message in messages for part in message.content if isinstance(part, ToolCallPart)}
    return [wire for message in messages for wire in _write_message(message, names=names)]


def _write_message(message: Message, *, names: Mapping[str, str]) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [_write_result(part, names=names) for part in message.content if isinstance(part, ToolResultPart)]
    role = "system" if message.role == "developer" else message.role
    wire = {"role": role, **_write_content(message.content)}
    thoughts = "".join(part.text for part in message.content if isinstance(part, ThinkingPart))
    calls = [_write_call(part) for part in message.content if isinstance(part, ToolCallPart)]
    return [wire | ({"thinking": thoughts} if thoughts else {}) | ({"tool_calls": calls} if calls else {})]


def _write_content(parts: list[Part] | list[TextPart | ImagePart | FilePart | OpaquePart]) -> dict[str, Any]:
    """Return the text of parts, one below the other, and their images."""
    texts: list[str] = []
    images: list[str] = []
    for part in parts:
        match part:
            case TextPart() | RefusalPart():
                texts.append(part.text)
            case FilePart(text=str(text)):
                texts.append(text)
            case ImagePart(data=str(data)):
                images.append(data)
            case ThinkingPart() | ToolCallPart():
                continue
            case OpaquePart():
                raise refuse_part(part)
            case _:
                raise refuse("messages", what=_NAMES.get(type(part), "a part of this kind here"))
    return {"content": "\n".join(texts)} | ({"images": images} if images else {})


def _write_call(part: ToolCallPart) -> dict[str, Any]:
    call = custom_tools.wrap(part)
    return {"id": call.id, "function": {"name": call.name, "arguments": _arguments_of(call.arguments)}}


def _arguments_of(arguments: str) -> dict[str, Any]:
    """Return arguments as the object that the wire demands; a model's broken JSON stays readable in it."""
    try:
        decoded = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    return decoded if isinstance(decoded, dict) else {"input": arguments}


def _write_result(part: ToolResultPart, *, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a tool's answer: older servers match it to its call by the function's name, newer ones by the id."""
    name = part.name or names.get(part.id)
    wire = {"role": "tool", **_write_content(part.content), "tool_call_id": part.id}
    return wire | ({"tool_name": name} if name else {})


__all__ = ["write_messages"]
