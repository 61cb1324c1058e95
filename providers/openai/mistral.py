"""How Mistral's chat wire differs from OpenAI's. Law: only what is translated is reworded; what is relayed is not.

Messages are reworded while they are canonical, in parts that only this wire has, and fields when they are written.
Source: https://docs.mistral.ai/api/endpoint/chat, read 2026-11; mistralai 3.7, `client.models.ChatCompletionRequest`.
"""

import hashlib
import re
import string
from typing import Any

import msgspec

from providers.carry import as_user_text, in_order
from providers.openai.thoughts import MISTRAL
from providers.openai.wire import DIALECT
from providers.signatures import value_for
from providers.types import (
    AudioPart,
    ChatRequest,
    FilePart,
    Message,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

_ALPHABET = string.digits + string.ascii_letters
_ID_LENGTH = 9
_ID = re.compile(rf"[0-9A-Za-z]{{{_ID_LENGTH}}}")
_SYSTEM = frozenset({"system", "developer"})
_MEANWHILE = Message(role="assistant", content=[TextPart(text="OK")])
_ALWAYS_THINKS = "magistral"
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


def reworded(request: ChatRequest, *, model: str) -> tuple[ChatRequest, tuple[str, ...]]:
    """Return the request as Mistral takes it, and the names of what that leaves out.

    Who speaks has no name, and models that always think are not told for how long.
    """
    dropped = ["name"] if any(message.name and message.role != "tool" for message in request.messages) else []
    always_thinks = model.startswith(_ALWAYS_THINKS)
    if always_thinks and request.reasoning is not None:
        dropped.append("reasoning_effort")
    thinks = always_thinks or (request.reasoning is not None and request.reasoning.effort != "none")
    messages = [_reword(message, thinks=thinks) for message in _in_order(in_order(request.messages))]
    messages = [message for message in messages if message.role != "assistant" or _says_something(message)]
    reasoning = None if always_thinks else request.reasoning
    return msgspec.structs.replace(request, messages=messages, reasoning=reasoning), tuple(dropped)


def _in_order(messages: list[Message]) -> list[Message]:
    """Return messages in an order that is taken: no system's turn after the first others, no user's after a tool's.

    A user who speaks before the model has answered a tool's result is let wait for a word of it.
    Source: https://github.com/zed-industries/zed/pull/31736, read 2026-11.
    """
    ordered: list[Message] = []
    has_begun = False
    for message in messages:
        has_begun = has_begun or message.role not in _SYSTEM
        said = message
        if has_begun and message.role in _SYSTEM:
            text = "\n".join(part.text for part in message.content if isinstance(part, TextPart))
            said = Message(role="user", content=[TextPart(text=as_user_text(text))])
        if said.role == "user" and ordered and ordered[-1].role == "tool":
            ordered.append(_MEANWHILE)
        ordered.append(said)
    return ordered


def _reword(message: Message, *, thinks: bool) -> Message:
    role = "system" if message.role in _SYSTEM else message.role
    parts = [_reword_part(part) for part in message.content if thinks or not _is_plain_thought(part)]
    content: list[Part] = [part for part in parts if part is not None]
    return msgspec.structs.replace(message, role=role, content=content, name=None)


def _says_something(message: Message) -> bool:
    """Whether an assistant's turn says anything: one without text and calls is refused."""
    return any(not isinstance(part, TextPart) or part.text for part in message.content)


def _is_plain_thought(part: Part) -> bool:
    return isinstance(part, ThinkingPart) and part.signature is None


def _reword_part(part: Part) -> Part | None:
    """Return a part in Mistral's words; nothing for reasoning that another vendor signed."""
    match part:
        case ThinkingPart():
            return _write_thought(part)
        case RefusalPart():
            return TextPart(text=part.text)
        case AudioPart():
            return _opaque(type="input_audio", input_audio=part.data)
        case FilePart(text=None):
            return _write_file(part)
        case ToolCallPart() | ToolResultPart():
            return msgspec.structs.replace(part, id=call_id(part.id))
        case _:
            return part


def _write_thought(part: ThinkingPart) -> OpaquePart | None:
    """Return reasoning in Mistral's form. Source: https://docs.mistral.ai/capabilities/reasoning, read 2026-11."""
    signature = value_for(part.signature, MISTRAL)
    if part.redacted or (part.signature is not None and signature is None):
        return None
    signed = {} if signature is None else {"signature": signature}
    return _opaque(type="thinking", thinking=[{"type": "text", "text": part.text}], **signed)


def _write_file(part: FilePart) -> OpaquePart:
    """Return a document: by its id, or by a URL that may hold its data."""
    if part.file_id is not None:
        return _opaque(type="file", file_id=part.file_id)
    url = part.url or f"data:{part.media_type or 'application/pdf'};base64,{part.data}"
    return _opaque(type="document_url", document_url=url, **({"document_name": part.filename} if part.filename else {}))


def _opaque(**value: Any) -> OpaquePart:
    return OpaquePart(dialect=DIALECT, value=value)


def call_id(given: str) -> str:
    """Return an id of a tool call in the one form that is taken: nine letters or digits; the same for the same.

    Source: https://mistralai.github.io/mistral-common/usage/tools, read 2026-11.
    """
    if _ID.fullmatch(given):
        return given
    number = int.from_bytes(hashlib.blake2b(given.encode(), digest_size=8).digest(), "big")
    digits = []
    for _ in range(_ID_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def rename_fields(body: dict[str, Any]) -> None:
    """Put the fields of a written body in Mistral's words."""
    if "seed" in body:
        body["random_seed"] = body.pop("seed")
    if body.get("tool_choice") == "required":
        body["tool_choice"] = "any"
    for tool in body.get("tools", []):
        if isinstance(function := tool.get("function"), dict):
            function.setdefault("parameters", _NO_PARAMETERS)
    if body["messages"] and body["messages"][-1]["role"] == "assistant":
        # An answer that is begun for the model: without the mark the request is refused.
        body["messages"][-1]["prefix"] = True


def rename_embedding_fields(body: dict[str, Any]) -> tuple[str, ...]:
    """Put the fields of a written request for embeddings in Mistral's words; return the names of those it lacks."""
    if "dimensions" in body:
        body["output_dimension"] = body.pop("dimensions")
    return () if body.pop("user", None) is None else ("user",)


__all__ = ["call_id", "rename_embedding_fields", "rename_fields", "reworded"]
