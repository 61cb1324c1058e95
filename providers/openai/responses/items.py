"""The items of a conversation, read: what a client sends as input, and what a vendor answers as output.

What an assistant says in a row, be it reasoning, text or calls, is one canonical turn, and so are the outputs of its
calls. The extra `item` of a part begins an item and holds what the item says of itself.
Source: https://platform.openai.com/docs/api-reference/responses/create, read 2026-11.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from providers.answers import fields, objects
from providers.custom_tools import CUSTOM
from providers.openai.parts import read_arguments
from providers.openai.responses.content import parse_content
from providers.openai.responses.seals import open_content
from providers.openai.responses.tools import flat_name
from providers.openai.responses.wire import DIALECT, ITEM
from providers.signatures import sign, value_for
from providers.types import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

_PARAGRAPH = "\n\n"
_CALLS = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_SAID_OF_CALL = frozenset({"type", "call_id", "name", "arguments", "input"})
_SAID_OF_OUTPUT = frozenset({"type", "call_id", "name", "output"})


def parse_items(items: Iterable[dict[str, Any]]) -> list[Message]:
    """Return the turns that the items of a conversation make up."""
    turns = _Turns()
    for item in items:
        turns.take(item)
    return turns.finish()


class _Turns:
    """Gathers items into turns."""

    __slots__ = ("_open", "_pending", "_role", "_turns")

    def __init__(self) -> None:
        self._turns: list[Message] = []
        self._role: Role = "assistant"
        self._open: list[Part] = []
        self._pending: str | None = None

    def take(self, item: dict[str, Any]) -> None:
        """Take the next item."""
        kind = item.get("type") or "message"
        if kind == "reasoning":
            self._take_reasoning(item)
        elif kind in _CALLS:
            self._add("assistant", [_signed(parse_call(item), self._pending)])
            self._pending = None
        elif kind in _OUTPUTS:
            self._pending = None
            self._add("tool", [_parse_output(item)])
        elif kind == "message" and item.get("role") == "assistant":
            parts = parse_output_message(item, state=True)
            self._add("assistant", [_signed(part, self._pending) for part in parts])
            self._pending = None
        else:
            self._pending = None
            self._close()
            self._turns.append(_parse_message(item) if kind == "message" else _opaque(item))

    def _take_reasoning(self, item: dict[str, Any]) -> None:
        """Take reasoning, or the signature of the part that comes next or came last."""
        content = item.get("encrypted_content")
        signature, place = open_content(content) if isinstance(content, str) else (None, "here")
        if place == "before":
            self._pending = signature
        elif place == "behind":
            if self._open:
                self._open[-1] = _signed(self._open[-1], signature)
        else:
            self._add("assistant", [parse_reasoning(item, state=True)])

    def _add(self, role: Role, parts: list[Part]) -> None:
        if role != self._role:
            self._close()
            self._role = role
        self._open += parts

    def _close(self) -> None:
        if self._open:
            self._turns.append(Message(role=self._role, content=self._open))
            self._open = []

    def finish(self) -> list[Message]:
        """Return all turns."""
        self._close()
        return self._turns


def _signed(part: Part, signature: str | None) -> Part:
    if signature is None or not isinstance(part, TextPart | ToolCallPart):
        return part
    return msgspec.structs.replace(part, signature=signature)


def _parse_message(item: dict[str, Any]) -> Message:
    role: Role = item["role"]
    extras = {name: value for name, value in item.items() if name not in {"role", "content"}}
    return Message(role=role, content=parse_content(item.get("content")), extras=extras)


def _opaque(item: dict[str, Any]) -> Message:
    """Return an item of a kind that only this wire knows: a hosted tool's call, a reference, a compaction."""
    is_said = str(item.get("type")).endswith(("_call", "_request", "_tools", "compaction"))
    part = OpaquePart(dialect=DIALECT, value=item)
    return Message(role="assistant" if is_said else "user", content=[part], extras={ITEM: True})


def parse_output_message(item: dict[str, Any], *, state: bool) -> list[Part]:
    """Return the parts of what an assistant said; `state` keeps the fields that say how far the item has come."""
    parts: list[Part] = [part for part in parse_content(item.get("content")) if not isinstance(part, ToolResultPart)]
    about = _about(item, said={"role", "content"} if state else {"role", "content", "type"}, state=state)
    if not parts:
        return [TextPart(text="", extras={ITEM: about})]
    first = msgspec.structs.replace(parts[0], extras={**parts[0].extras, ITEM: about})
    return [first, *parts[1:]]


def _about(item: dict[str, Any], *, said: Iterable[str], state: bool) -> dict[str, Any]:
    """Return what an item says beside its content; of a vendor's answer nothing that changes while it comes."""
    hidden = {*said} if state else {*said, "status"}
    return {name: value for name, value in item.items() if name not in hidden and value is not None}


def parse_call(item: dict[str, Any], *, state: bool = True) -> ToolCallPart:
    """Return the canonical form of a call of a function or of a custom tool."""
    is_custom = item.get("type") == "custom_tool_call"
    about = _about(item, said=_SAID_OF_CALL, state=state)
    name = flat_name(str(item.get("name") or ""), item.get("namespace"))
    arguments = read_arguments(item.get("input" if is_custom else "arguments"))
    extras = {**(CUSTOM if is_custom else {}), **({ITEM: about} if about else {})}
    return ToolCallPart(
        id=str(item.get("call_id") or item.get("id") or ""),
        name=name,
        arguments=arguments if is_custom else arguments or "{}",
        extras=extras,
    )


def _parse_output(item: dict[str, Any]) -> ToolResultPart:
    content = [
        part
        for part in parse_content(item.get("output"))
        if isinstance(part, TextPart | ImagePart | FilePart | OpaquePart)
    ]
    about = _about(item, said=_SAID_OF_OUTPUT, state=True)
    custom = CUSTOM if item.get("type") == "custom_tool_call_output" else {}
    return ToolResultPart(
        id=str(item.get("call_id") or ""),
        name=item.get("name"),
        content=content,
        extras={**custom, **({ITEM: about} if about else {})},
    )


def parse_reasoning(item: dict[str, Any], *, state: bool, signer: str | None = None) -> ThinkingPart:
    """Return the canonical form of reasoning: the summary of it, or the reasoning itself where a vendor shows it.

    `signer` is the vendor whose answer this is; what a client sends back says itself who signed it.
    """
    content, text = item.get("encrypted_content"), _text_of(item)
    signature, place = open_content(content) if isinstance(content, str) else (None, "here")
    if signer is not None and isinstance(content, str):
        signature, place = sign(signer, content), "here"
    about = _about(item, said={"type", "encrypted_content", "summary", "content"}, state=state)
    if not _is_simple(item):
        about |= {name: item[name] for name in ("summary", "content") if name in item}
    is_bare = signer is not None or value_for(signature, DIALECT) is not None
    is_redacted = place == "redacted" or (signature is not None and not text and is_bare)
    return ThinkingPart(
        text="" if is_redacted else text, signature=signature, redacted=is_redacted, extras={ITEM: about}
    )


def _text_of(item: dict[str, Any]) -> str:
    shown = objects(item.get("content")) or objects(item.get("summary"))
    return _PARAGRAPH.join(str(part.get("text") or "") for part in shown)


def _is_simple(item: dict[str, Any]) -> bool:
    """Whether the text alone says the summary, so that it can be written again from it."""
    summary = item.get("summary") or []
    plain = [{"type": "summary_text", "text": fields(part).get("text")} for part in summary]
    return item.get("content") is None and len(summary) < 2 and summary == plain and all(p["text"] for p in plain)  # noqa: PLR2004 - one


def parse_output(item: dict[str, Any], *, signer: str) -> list[Part]:
    """Return the parts of one item of a vendor's answer."""
    match item.get("type"):
        case "message":
            return [part for part in parse_output_message(item, state=False) if not _is_empty(part)]
        case "reasoning":
            return [parse_reasoning(item, state=False, signer=signer)]
        case "function_call" | "custom_tool_call":
            return [parse_call(item, state=False)]
        case _:
            return [OpaquePart(dialect=DIALECT, value=item)]


def _is_empty(part: Part) -> bool:
    return isinstance(part, TextPart | RefusalPart) and not part.text
