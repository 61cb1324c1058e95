"""What was asked and answered, for the traces of those whose operator wants content in them.

Law: bounded, and text only: of pictures, sound and files it is said that they were there.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from app.observability.tracing import Value
from app.observability.tracing import attributes as names
from app.observability.tracing.record import Content
from app.pipeline.answer import Answer, LiveBody
from app.pipeline.bodies import UNREADABLE
from app.pipeline.exchange import Exchange
from providers.stream import replay
from providers.types import (
    ChatEvent,
    ChatRequest,
    Finished,
    Message,
    TextDelta,
    TextPart,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStarted,
    ToolResultPart,
)

_MOST_TEXT = 16_384
_MOST_BYTES = 65_536


class Overheard:
    """A live answer of which a copy is kept, up to a bound."""

    __slots__ = ("_content", "_inner", "is_finished")

    def __init__(self, inner: LiveBody, content: Content) -> None:
        self._inner = inner
        self._content = content
        self.is_finished = inner.is_finished

    async def read(self) -> bytes:
        """Return the next bytes."""
        data = await self._inner.read()
        self.is_finished = self._inner.is_finished
        self._content.hear(data)
        return data

    def close(self) -> None:
        """Let go of the upstream call."""
        self._inner.close()


def overhear(answer: Answer, content: Content) -> None:
    """Keep a copy of what a client is answered."""
    if answer.live is not None:
        answer.live = Overheard(answer.live, content)
    elif answer.body is not None:
        content.hear(answer.body)


def prompt_of(exchange: Exchange) -> dict[str, Value]:
    """Return what was asked; nothing where it is no conversation, or in words that only its own dialect has."""
    parse = exchange.operation.parse
    try:
        request = None if parse is None else parse(exchange.document, exchange.asked)
    except Exception:  # noqa: BLE001 - what cannot be read here is refused or relayed elsewhere, and answered there
        return {}
    if not isinstance(request, ChatRequest):
        return {}
    return _said(names.INPUT_MESSAGES, [_message(each) for each in request.messages])


def answer_of(exchange: Exchange, content: Content) -> dict[str, Value]:
    """Return what was answered, as far as it came; nothing where nobody can read it."""
    reader, data = exchange.operation.reader, bytes(content.answer)
    if reader is None or not data:
        return {}
    try:
        if exchange.stream:
            events: Iterable[ChatEvent] = reader.decoder(exchange.asked.framing).feed(data)
        else:
            events = list(replay(reader.whole(data)))
    except UNREADABLE:
        return {}
    said = _said(names.OUTPUT_MESSAGES, list(_answers(events).values()))
    return said | ({names.CONTENT_CUT: True} if content.is_cut else {})


def _said(name: str, messages: list[dict[str, Any]]) -> dict[str, Value]:
    """Return messages as JSON: the last ones, where all are too many."""
    kept: list[bytes] = []
    room = _MOST_BYTES
    for message in reversed(messages):
        encoded = msgspec.json.encode(message)
        room -= len(encoded) + 1
        if room < 0:
            break
        kept.append(encoded)
    text = (b"[" + b",".join(reversed(kept)) + b"]").decode()
    return {name: text, names.CONTENT_CUT: True} if len(kept) < len(messages) else {name: text}


def _message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "parts": [_part(part) for part in message.content]}


def _part(part: Any) -> Mapping[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "content": part.text[:_MOST_TEXT]}
    if isinstance(part, ThinkingPart):
        return {"type": "reasoning", "content": part.text[:_MOST_TEXT]}
    if isinstance(part, ToolCallPart):
        return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": part.arguments[:_MOST_TEXT]}
    if isinstance(part, ToolResultPart):
        text = "".join(each.text for each in part.content if isinstance(each, TextPart))
        return {"type": "tool_call_response", "id": part.id, "response": text[:_MOST_TEXT]}
    return {"type": type(part).__name__.removesuffix("Part").lower()}


def _answers(events: Iterable[ChatEvent]) -> dict[int, dict[str, Any]]:
    """Return the messages that events make, by the number of their choice."""
    messages: dict[int, dict[str, Any]] = {}
    for event in events:
        if not isinstance(event, TextDelta | ToolCallStarted | ToolCallDelta | Finished):
            continue
        message = messages.setdefault(event.choice, {"role": "assistant", "parts": []})
        parts = message["parts"]
        if isinstance(event, TextDelta):
            if not parts or parts[-1]["type"] != "text":
                parts.append({"type": "text", "content": ""})
            parts[-1]["content"] += event.text
        elif isinstance(event, ToolCallStarted):
            parts.append({"type": "tool_call", "id": event.id, "name": event.name, "arguments": ""})
        elif isinstance(event, ToolCallDelta):
            calls = [part for part in parts if part["type"] == "tool_call"]
            if event.index < len(calls):
                calls[event.index]["arguments"] += event.arguments
        else:
            message["finish_reason"] = event.reason
    return messages
