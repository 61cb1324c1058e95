"""The contents of a conversation, to canonical turns and back.

Google knows two roles, and no ids in what older models and many clients say: a function's answer belongs to the call
whose name it bears. Source: https://ai.google.dev/gemini-api/docs/function-calling, read 2026-11.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from providers.carry import as_user_text, in_order, refuse
from providers.gemini.parts import REDACTED, args_or_text, read_part, write_call, write_part, write_response
from providers.gemini.wire import DIALECT, generation, named
from providers.signatures import value_for
from providers.types import (
    ChatRequest,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

UNSIGNED = "skip_thought_signature_validator"
"""What Google takes for the signature of a function call that its model did not make.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures#faqs, read 2026-11.
"""
_SIGNED_SINCE = (3, 0)
_ANSWERED_WITH_MEDIA_SINCE = (3, 0)


def read_turns(contents: Iterable[dict[str, Any]]) -> list[Message]:
    """Return the messages of a conversation.

    The model's contents that follow each other, as a client that keeps the pieces of a stream sends them, are one
    message. Answers of functions come before what else is in their content.
    """
    messages: list[Message] = []
    calls = _Calls()
    for content in contents:
        fields = named(content)
        parts = [calls.pair(read_part(part)) for part in fields.get("parts") or []]
        if fields.get("role") == "model":
            _add_model(messages, parts)
            continue
        results = [part for part in parts if isinstance(part, ToolResultPart)]
        rest: list[Part] = [part for part in parts if not isinstance(part, ToolResultPart)]
        if results:
            messages.append(Message(role="tool", content=list(results)))
        if rest:
            messages.append(Message(role="user", content=rest))
    return messages


def _add_model(messages: list[Message], parts: list[Part]) -> None:
    joined = list(messages.pop().content) if messages and messages[-1].role == "assistant" else []
    for part in parts:
        _add_part(joined, part)
    messages.append(Message(role="assistant", content=joined))


def _add_part(parts: list[Part], part: Part) -> None:
    """Add a part of the model's to those before it; text and thoughts go on until they are signed."""
    if isinstance(part, TextPart) and not part.text and part.signature is None:
        return
    last = parts[-1] if parts else None
    if isinstance(last, TextPart) and isinstance(part, TextPart):
        goes_on = last.signature is None and not last.extras and not part.extras
    elif isinstance(last, ThinkingPart) and isinstance(part, ThinkingPart):
        goes_on = last.signature is None and not part.redacted
    else:
        goes_on = False
    if goes_on and isinstance(last, TextPart | ThinkingPart) and isinstance(part, TextPart | ThinkingPart):
        parts[-1] = msgspec.structs.replace(last, text=last.text + part.text, signature=part.signature)
    else:
        parts.append(part)


class _Calls:
    """Gives calls ids where they have none, and answers the ids of their calls, in order."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[ToolCallPart] = []

    def pair(self, part: Part) -> Part:
        """Return a call or an answer with its id; any other part as it is."""
        if isinstance(part, ToolCallPart):
            call = part if part.id else msgspec.structs.replace(part, id=f"call_{self._count}")
            self._count += 1
            self._open.append(call)
            return call
        if isinstance(part, ToolResultPart):
            return self._answer(part)
        return part

    def _answer(self, part: ToolResultPart) -> ToolResultPart:
        found = next((call for call in self._open if _belongs(part, call)), None)
        if found is None:
            return part if part.id else msgspec.structs.replace(part, id=part.name or "")
        self._open.remove(found)
        return part if part.id else msgspec.structs.replace(part, id=found.id)


def _belongs(part: ToolResultPart, call: ToolCallPart) -> bool:
    return part.id == call.id if part.id else part.name == call.name


def read_system(instruction: Any) -> list[Message]:
    """Return the system message of an instruction, which is a content or its text."""
    if isinstance(instruction, str):
        return [Message(role="system", content=[TextPart(text=instruction)])]
    parts = [read_part(part) for part in named(instruction).get("parts") or []]
    return [Message(role="system", content=parts)] if parts else []


def write_turns(request: ChatRequest, *, model: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the system instruction and the contents.

    Where a conversation has nothing but instructions, they are what the user says. Raises `RequestRefused` for parts
    that this wire cannot say.
    """
    at = next((at for at, message in enumerate(request.messages) if not _is_system(message)), len(request.messages))
    leading, turns = request.messages[:at], request.messages[at:]
    instruction = [{"text": text} for message in leading if (text := _system_text(message))]
    if not turns:
        return None, [{"role": "user", "parts": instruction}] if instruction else []
    return {"parts": instruction} if instruction else None, _Turns(request, model=model).write(in_order(turns))


def _is_system(message: Message) -> bool:
    return message.role in {"system", "developer"}


def _system_text(message: Message) -> str:
    if not all(isinstance(part, TextPart) for part in message.content):
        raise refuse("messages", what="a system message of anything but text")
    return "\n".join(part.text for part in message.content if isinstance(part, TextPart))


class _Turns:
    """Writes the turns of one conversation."""

    def __init__(self, request: ChatRequest, *, model: str) -> None:
        self._same = request.dialect == DIALECT
        self._is_signed = generation(model) >= _SIGNED_SINCE
        self._with_media = generation(model) >= _ANSWERED_WITH_MEDIA_SINCE
        self._names: dict[str, str] = {}

    def write(self, messages: list[Message]) -> list[dict[str, Any]]:
        """Return the contents; turns of one role that follow each other are one content."""
        contents: list[dict[str, Any]] = []
        for message in messages:
            role = "model" if message.role == "assistant" else "user"
            parts = self._write_message(message)
            if not parts:
                continue
            if contents and contents[-1]["role"] == role:
                contents[-1]["parts"] += parts
            else:
                contents.append({"role": role, "parts": parts})
        return [self._sign(content) for content in contents]

    def _write_message(self, message: Message) -> list[dict[str, Any]]:
        if _is_system(message):
            text = _system_text(message)
            return [{"text": as_user_text(text)}] if text else []
        return [wire for part in message.content for wire in self._write_part(part)]

    def _write_part(self, part: Part) -> list[dict[str, Any]]:
        match part:
            case ToolCallPart():
                self._names[part.id] = part.name
                return [_signed(write_call(part, args=args_or_text(part)), part.signature)]
            case ToolResultPart():
                name = self._names.get(part.id) or part.name or part.id
                return write_response(part, name=name, same_dialect=self._same, with_media=self._with_media)
            case ThinkingPart():
                return self._write_thought(part)
            case TextPart():
                wire = _signed(write_part(part, same_dialect=self._same), part.signature)
                return [wire] if part.text or len(wire) > 1 else []
            case _:
                return [write_part(part, same_dialect=self._same)]

    def _write_thought(self, part: ThinkingPart) -> list[dict[str, Any]]:
        """Return a thought that Google's model had, or that its client told as one; another vendor's means nothing."""
        wire = _signed({"text": part.text, "thought": True}, part.signature)
        if "thoughtSignature" not in wire and (not self._same or part.signature is not None):
            return []
        return [wire | ({"partMetadata": REDACTED} if part.redacted else {})]

    def _sign(self, content: dict[str, Any]) -> dict[str, Any]:
        """Mark the first function call of a step that no model of Google's made; without a signature it is refused."""
        if not self._is_signed or content["role"] != "model":
            return content
        first = next((part for part in content["parts"] if "functionCall" in part), None)
        if first is not None and "thoughtSignature" not in first:
            first["thoughtSignature"] = UNSIGNED
        return content


def _signed(wire: dict[str, Any], signature: str | None) -> dict[str, Any]:
    value = value_for(signature, DIALECT)
    return wire if value is None else {**wire, "thoughtSignature": value}


__all__ = ["UNSIGNED", "read_system", "read_turns", "write_turns"]
