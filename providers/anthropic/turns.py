"""Canonical messages as turns of Anthropic's wire, which knows a system prompt, users and the assistant.

Tool results are blocks of a user's turn, and stand first in it: the vendor wants them right behind the calls.
Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls, read 2026-11.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import msgspec

from providers.anthropic.wire import DIALECT, tool_id
from providers.carry import as_user_text, image_type, refuse, refuse_part
from providers.claude import with_distinct_ids
from providers.custom_tools import wrap
from providers.signatures import value_for
from providers.types import (
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

READS = frozenset({"cache_control"})
"""Extras of parts and messages of other dialects that go on."""
_PDF = "application/pdf"
_PDF_BEGINS = "JVBERi"
_INSTRUCTIONS = frozenset({"system", "developer"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def write_turns(messages: list[Message], *, is_own: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the blocks of the system prompt, and the turns.

    `is_own` is whether the request came in this dialect, so that extras and later system messages go on as they are.
    Where another has nothing but instructions, they are what the user says.
    """
    leading = next((at for at, message in enumerate(messages) if message.role not in _INSTRUCTIONS), len(messages))
    system = [block for message in messages[:leading] for block in _write_message(message, is_own=is_own)]
    if is_own:
        return system, _written(messages[leading:], is_own=True)
    if leading == len(messages):
        return [], [{"role": "user", "content": _shortest(system)}] if system else []
    return system, _ended(_written(with_distinct_ids(messages[leading:], fit=tool_id), is_own=False))


def _written(messages: Iterable[Message], *, is_own: bool) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for message in messages:
        turn = _write_turn(message, is_own=is_own)
        if turn["content"] or is_own:
            _append(turns, turn)
    for turn in turns:
        turn["content"] = _shortest(turn["content"])
    return turns


def _ended(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return turns whose last says a beginning of the answer, if it is the assistant's, without blanks at its end.

    Source: https://github.com/langchain-ai/langchain/issues/35071, read 2026-11.
    """
    last = turns[-1] if turns else {}
    if last.get("role") == "assistant" and isinstance(last["content"], str):
        last["content"] = last["content"].rstrip()
    return turns


def _write_turn(message: Message, *, is_own: bool) -> dict[str, Any]:
    extras = message.extras if is_own else {}
    if message.role in _INSTRUCTIONS and not is_own:
        said = "\n\n".join(_instruction(part) for part in message.content)
        return {"role": "user", "content": [{"type": "text", "text": as_user_text(said)}] if said else []}
    role = "user" if message.role == "tool" else "system" if message.role == "developer" else message.role
    return {"role": role, "content": _write_message(message, is_own=is_own)} | extras


def _instruction(part: Part) -> str:
    match part:
        case TextPart() | RefusalPart():
            return part.text
        case FilePart(text=str(text)):
            return text
        case OpaquePart():
            raise refuse_part(part)
        case _:
            raise refuse("messages", what="a system message of anything but text")


def _append(turns: list[dict[str, Any]], turn: dict[str, Any]) -> None:
    """Add a turn, or what it holds to the user's turn before it, if either answers calls."""
    last = turns[-1] if turns else None
    if last is None or last["role"] != "user" or turn["role"] != "user" or not (_answers(last) or _answers(turn)):
        turns.append(turn)
        return
    joined = last["content"] + turn["content"]
    last |= turn | {"content": sorted(joined, key=lambda block: block["type"] != "tool_result")}


def _answers(turn: dict[str, Any]) -> bool:
    return any(block["type"] == "tool_result" for block in turn["content"])


def _shortest(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return the content as text where that says it all."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _write_message(message: Message, *, is_own: bool) -> list[dict[str, Any]]:
    blocks = [block for part in message.content for block in write_part(part, is_own=is_own)]
    mark = message.extras.get("cache_control")
    while blocks and blocks[-1]["type"] in _THOUGHTS and not is_own:
        blocks.pop()  # a turn that ends in thoughts is refused
    if mark is not None and blocks and not is_own:
        blocks[-1] = {**blocks[-1], "cache_control": mark}
    return blocks


def write_part(part: Part, *, is_own: bool) -> list[dict[str, Any]]:
    """Return the blocks that say a part: one, or none for what the vendor would not take back.

    Raises `RequestRefused` for a part that this wire cannot say.
    """
    if isinstance(part, ThinkingPart):
        return _write_thinking(part)
    if isinstance(part, TextPart | RefusalPart) and not part.text.strip() and not is_own:
        return []
    extras = part.extras if is_own else {name: value for name, value in part.extras.items() if name in READS}
    return [_write_block(part, is_own=is_own) | extras]


def _write_block(part: Part, *, is_own: bool) -> dict[str, Any]:
    block: dict[str, Any]
    match part:
        case TextPart() | RefusalPart():
            block = {"type": "text", "text": part.text}
        case ToolCallPart():
            block = _write_call(part)
        case ToolResultPart():
            block = _write_result(part, is_own=is_own)
        case ImagePart():
            block = {"type": "image", "source": _image_source(part)}
        case FilePart():
            block = _write_file(part)
        case OpaquePart(dialect=dialect, value=value) if dialect == DIALECT and isinstance(value, dict):
            block = value
        case OpaquePart():
            raise refuse_part(part)
        case _:
            raise refuse("messages", what="audio")
    return block


def _write_thinking(part: ThinkingPart) -> list[dict[str, Any]]:
    """Return thoughts that the vendor signed; others it would refuse."""
    signature = value_for(part.signature, DIALECT)
    if signature is None:
        return []
    if part.redacted:
        return [{"type": "redacted_thinking", "data": signature}]
    return [{"type": "thinking", "thinking": part.text, "signature": signature}]


def _write_call(part: ToolCallPart) -> dict[str, Any]:
    call = wrap(part)
    return {"type": "tool_use", "id": tool_id(call.id), "name": call.name, "input": _arguments(call)}


def _arguments(call: ToolCallPart) -> dict[str, Any]:
    """Return the arguments as an object; text that is none is kept in a member of its own."""
    try:
        given = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        given = None
    return given if isinstance(given, dict) else {"arguments": call.arguments}


def _write_result(part: ToolResultPart, *, is_own: bool) -> dict[str, Any]:
    inner = [block for piece in part.content for block in write_part(piece, is_own=is_own)]
    fields: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_id(part.id)}
    if inner:
        fields["content"] = _shortest(inner)
    return fields | ({"is_error": True} if part.is_error else {})


def _image_source(part: ImagePart) -> dict[str, Any]:
    if part.data is None:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": image_type(part.media_type), "data": part.data}


def _write_file(part: FilePart) -> dict[str, Any]:
    """Return a document, or an image where the file is one."""
    if part.extras.get("type") == "image":
        return {"type": "image", "source": {"type": "file", "file_id": part.file_id}}
    if part.data is not None and part.media_type in _IMAGES:
        return {"type": "image", "source": _image_source(ImagePart(data=part.data, media_type=part.media_type))}
    title = {} if part.filename is None else {"title": part.filename}
    return {"type": "document", "source": _file_source(part)} | title


def _file_source(part: FilePart) -> dict[str, Any]:
    """Return the source of a document: PDF as it is, anything that is text as text."""
    if part.file_id is not None:
        return {"type": "file", "file_id": part.file_id}
    if part.url is not None:
        return {"type": "url", "url": part.url}
    if part.text is not None:
        return {"type": "text", "media_type": "text/plain", "data": part.text}
    data = part.data or ""
    if part.media_type == _PDF or data.startswith(_PDF_BEGINS):
        return {"type": "base64", "media_type": _PDF, "data": data}
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        kind = part.media_type or "an unknown type"
        raise refuse("messages", what=f"a file of {kind}") from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def has_names(messages: Iterable[Message]) -> bool:
    """Whether a message says who speaks, for which this wire has no word."""
    return any(message.name is not None for message in messages if message.role != "tool")


def has_details(messages: Iterable[Message]) -> bool:
    """Whether an image says how closely to look at it."""
    return any(
        isinstance(part, ImagePart) and part.detail not in (None, "auto")
        for message in messages
        for part in message.content
    )


__all__ = ["READS", "has_details", "has_names", "write_part", "write_turns"]
