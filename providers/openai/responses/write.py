"""The turns of a conversation, written as input items.

Source: https://platform.openai.com/docs/api-reference/responses/create, read 2026-11.
"""

from collections.abc import Iterator
from typing import Any

from providers.answers import fields
from providers.custom_tools import wrap
from providers.openai.foreign import LONGEST_ID_IN_RESPONSES, fit_id
from providers.openai.responses.content import write_content
from providers.openai.responses.downstream import INSTRUCTIONS
from providers.openai.responses.wire import DIALECT, ITEM
from providers.signatures import value_for
from providers.types import (
    ChatRequest,
    Message,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)


def write_items(request: ChatRequest, *, has_custom: bool, signer: str) -> tuple[str | None, list[dict[str, Any]]]:
    """Return the instructions, if the client gave them as such, and the items of the conversation.

    `has_custom` is whether the vendor knows custom tools; to another a call of one is a call of the function that
    stands for it. `signer` is whose signatures the vendor believes.
    """
    messages = request.messages
    instructions = None
    if messages and messages[0].extras.get(INSTRUCTIONS) is True:
        instructions = "".join(part.text for part in messages[0].content if isinstance(part, TextPart))
        messages = messages[1:]
    writer = _Writer(same_dialect=request.dialect == DIALECT, has_custom=has_custom, signer=signer)
    return instructions, [item for message in messages for item in writer.write(message)]


class _Writer:
    """Writes turns in order; remembers which calls were of custom tools, since their outputs are of another type."""

    __slots__ = ("_custom_calls", "_has_custom", "_same_dialect", "_signer")

    def __init__(self, *, same_dialect: bool, has_custom: bool, signer: str) -> None:
        self._signer = signer
        self._same_dialect = same_dialect
        self._has_custom = has_custom
        self._custom_calls: set[str] = set()

    def write(self, message: Message) -> Iterator[dict[str, Any]]:
        """Yield the items of one turn."""
        if message.role == "assistant":
            yield from self._write_said(message)
        elif message.role == "tool":
            yield from (self._write_result(part) for part in message.content if isinstance(part, ToolResultPart))
        elif message.extras.get(ITEM) is True:
            yield from _opaque(message)
        else:
            yield self._write_message(message)

    def _write_message(self, message: Message) -> dict[str, Any]:
        item = {"role": message.role, "content": self._content(message.content, role=message.role)}
        return message.extras | item if self._same_dialect else item

    def _content(self, parts: list[Part], *, role: str) -> str | list[dict[str, Any]]:
        if len(parts) == 1 and isinstance(parts[0], TextPart) and not parts[0].annotations:
            only = parts[0]
            if not self._same_dialect or not only.extras.keys() - {ITEM}:
                return only.text
        return write_content(parts, role=role, keeps_extras=self._same_dialect)

    def _write_said(self, message: Message) -> Iterator[dict[str, Any]]:
        """Yield what an assistant said in a row: text that belongs together as one message."""
        if message.extras.get(ITEM) is True:
            yield from _opaque(message)
            return
        texts: list[Part] = []
        for part in message.content:
            if texts and (isinstance(part, ThinkingPart | ToolCallPart) or ITEM in part.extras):
                yield self._write_texts(texts)
                texts = []
            match part:
                case ThinkingPart():
                    yield from self._write_reasoning(part)
                case ToolCallPart():
                    yield self._write_call(part)
                case _:
                    texts.append(part)
        if texts:
            yield self._write_texts(texts)

    def _write_texts(self, texts: list[Part]) -> dict[str, Any]:
        about = fields(texts[0].extras.get(ITEM)) if self._same_dialect else {}
        is_easy = "type" not in about and not any(isinstance(part, RefusalPart) for part in texts)
        content = self._content(texts, role="assistant") if is_easy else None
        written = content or write_content(texts, role="assistant", keeps_extras=self._same_dialect)
        return {**about, "role": "assistant", "content": written}

    def _write_reasoning(self, part: ThinkingPart) -> Iterator[dict[str, Any]]:
        """Yield reasoning that a vendor of this wire made: whose signature it knows, or which needs none."""
        value = value_for(part.signature, self._signer)
        if value is None and (part.signature is not None or not self._same_dialect):
            return
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        about = fields(part.extras.get(ITEM))
        item = {"type": "reasoning", "summary": summary, **about}
        yield item if value is None else {**item, "encrypted_content": value}

    def _write_call(self, part: ToolCallPart) -> dict[str, Any]:
        is_custom = part.extras.get("type") == "custom"
        if is_custom and self._has_custom:
            self._custom_calls.add(part.id)
        elif is_custom:
            part = wrap(part)
            is_custom = False
        about = fields(part.extras.get(ITEM)) if self._same_dialect else {}
        kind, argument = ("custom_tool_call", "input") if is_custom else ("function_call", "arguments")
        name = part.name.removeprefix(f"{about['namespace']}__") if "namespace" in about else part.name
        return {**about, "type": kind, "call_id": self._id(part.id), "name": name, argument: part.arguments}

    def _id(self, given: str) -> str:
        """Return the id of a call, which another vendor may have made longer than this wire takes."""
        return given if self._same_dialect else fit_id(given, longest=LONGEST_ID_IN_RESPONSES)

    def _write_result(self, part: ToolResultPart) -> dict[str, Any]:
        is_custom = part.id in self._custom_calls or (self._has_custom and part.extras.get("type") == "custom")
        about = fields(part.extras.get(ITEM)) if self._same_dialect else {}
        output = self._content(list(part.content), role="tool") if part.content else ""
        kind = "custom_tool_call_output" if is_custom else "function_call_output"
        named = {"name": part.name} if part.name is not None and self._same_dialect else {}
        return {**about, "type": kind, "call_id": self._id(part.id), "output": output, **named}


def _opaque(message: Message) -> Iterator[dict[str, Any]]:
    """Yield the items that only this wire knows."""
    yield from (part.value for part in message.content if isinstance(part, OpaquePart) and part.dialect == DIALECT)
