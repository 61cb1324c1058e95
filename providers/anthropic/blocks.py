"""Content blocks, read into canonical parts. Law: a block of an unknown type or form stays opaque, and goes on as is.

Source: https://platform.claude.com/docs/en/api/messages/create, read 2026-11; anthropic 2.14: types.ContentBlockParam.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from providers.anthropic.wire import DIALECT
from providers.signatures import unseal
from providers.types import (
    FilePart,
    ImagePart,
    OpaquePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

IMAGE_FILE = {"type": "image"}
"""Marks a file by id as an image, for which there is no canonical part."""
CALL_SIGNATURE = "call"
TEXT_SIGNATURE = "text"
"""Signers of redacted thinking in which signatures of calls and texts travel, since clients send such blocks back: the
first belongs to the call behind it, the second to the text before it."""
UNSIGNED = "unsigned:"
"""The signature of thoughts that nobody signed. Clients send a block without any back as plain text, or not at all; one
with a seal comes back as it was, and Anthropic, which would refuse it, is not sent it."""
_PDF = "application/pdf"
_PLAIN = "text/plain"
_RESULT_FIELDS = frozenset({"type", "tool_use_id", "content", "is_error"})


def parse_content(content: Any) -> list[Part]:
    """Return the parts of a message's content: text, or a list of blocks."""
    if isinstance(content, str):
        return [TextPart(text=content)]
    return _signed([parse_block(block) for block in content or []])


def parse_block(block: dict[str, Any]) -> Part:
    """Return the canonical form of one block."""
    parse = _PARSERS.get(str(block.get("type")))
    part = None if parse is None else parse({name: value for name, value in block.items() if value is not None})
    return OpaquePart(dialect=DIALECT, value=block) if part is None else part


def _parse_text(block: dict[str, Any]) -> Part | None:
    match block:
        case {"type": _, "text": str(text), **rest}:
            return TextPart(text=text, extras=rest)
        case _:
            return None


def _parse_call(block: dict[str, Any]) -> Part | None:
    match block:
        case {"type": _, "id": str(id), "name": str(name), "input": dict(given), **rest}:
            return ToolCallPart(id=id, name=name, arguments=msgspec.json.encode(given).decode(), extras=rest)
        case _:
            return None


def _parse_thinking(block: dict[str, Any]) -> Part | None:
    match block:
        case {"type": "thinking", "thinking": str(text), **rest} if rest.keys() <= {"signature"}:
            signature = unseal(rest.get("signature"), DIALECT)
            return ThinkingPart(text=text, signature=None if signature == UNSIGNED else signature)
        case {"type": "redacted_thinking", "data": str(data), **rest} if not rest:
            return ThinkingPart(redacted=True, signature=unseal(data, DIALECT))
        case _:
            return None


def _parse_image(block: dict[str, Any]) -> Part | None:
    extras = {name: value for name, value in block.items() if name not in {"type", "source"}}
    match block.get("source"):
        case {"type": "base64", "media_type": str(media_type), "data": str(data), **rest} if not rest:
            return ImagePart(data=data, media_type=media_type, extras=extras)
        case {"type": "url", "url": str(url), **rest} if not rest:
            return ImagePart(url=url, extras=extras)
        case {"type": "file", "file_id": str(file_id), **rest} if not rest:
            return FilePart(file_id=file_id, extras=extras | IMAGE_FILE)
        case _:
            return None


def _parse_document(block: dict[str, Any]) -> Part | None:
    extras = {name: value for name, value in block.items() if name not in {"type", "source", "title"}}
    shared: dict[str, Any] = {"filename": block.get("title"), "extras": extras}
    match block.get("source"):
        case {"type": "base64", "media_type": str(media_type), "data": str(data), **rest} if not rest:
            return FilePart(data=data, media_type=media_type, **shared)
        case {"type": "text", "media_type": "text/plain", "data": str(text), **rest} if not rest:
            return FilePart(text=text, media_type=_PLAIN, **shared)
        case {"type": "url", "url": str(url), **rest} if not rest:
            return FilePart(url=url, media_type=_PDF, **shared)
        case {"type": "file", "file_id": str(file_id), **rest} if not rest:
            return FilePart(file_id=file_id, **shared)
        case _:
            return None


def _parse_result(block: dict[str, Any]) -> Part | None:
    content, call = block.get("content"), block.get("tool_use_id")
    if not isinstance(call, str) or not isinstance(content, str | list | None):
        return None
    parts = [part for part in parse_content(content) if isinstance(part, TextPart | ImagePart | FilePart | OpaquePart)]
    extras = {name: value for name, value in block.items() if name not in _RESULT_FIELDS}
    return ToolResultPart(id=call, content=parts, is_error=bool(block.get("is_error")), extras=extras)


_PARSERS: dict[str, Callable[[dict[str, Any]], Part | None]] = {
    "text": _parse_text,
    "image": _parse_image,
    "document": _parse_document,
    "tool_use": _parse_call,
    "tool_result": _parse_result,
    "thinking": _parse_thinking,
    "redacted_thinking": _parse_thinking,
}


def _signed(parts: Iterable[Part]) -> list[Part]:
    """Return the parts, with the signatures that travelled in blocks of their own back where they belong."""
    joined: list[Part] = []
    of_next: str | None = None
    for part in parts:
        signer, _, signature = ((part.signature or "") if isinstance(part, ThinkingPart) else "").partition(":")
        if signer == CALL_SIGNATURE:
            of_next = signature
        elif signer == TEXT_SIGNATURE:
            if joined and isinstance(joined[-1], TextPart):
                joined[-1] = msgspec.structs.replace(joined[-1], signature=signature)
        elif of_next is not None and isinstance(part, ToolCallPart):
            joined.append(msgspec.structs.replace(part, signature=of_next))
            of_next = None
        else:
            joined.append(part)
    return joined


__all__ = ["CALL_SIGNATURE", "IMAGE_FILE", "TEXT_SIGNATURE", "UNSIGNED", "parse_block", "parse_content"]
