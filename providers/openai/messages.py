"""Messages: OpenAI's chat wire to canonical and back.

Source: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
"""

from typing import Any

import msgspec

from providers.catalog import Signs
from providers.custom_tools import CUSTOM
from providers.openai import thoughts
from providers.openai.parts import if_set, parse_content, parse_tool_call, write_content, write_tool_call
from providers.signatures import holds_seal
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

_MESSAGE_FIELDS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "function_call"})
_THOUGHTS = "reasoning_content"


def parse_message(message: dict[str, Any]) -> Message:
    """Return the canonical form of a message whose shape has been checked."""
    role: Role = "tool" if message["role"] == "function" else message["role"]
    content = parse_content(message.get("content"))
    extras = {name: value for name, value in message.items() if name not in _MESSAGE_FIELDS and value is not None}
    if role == "tool":
        return Message(role="tool", content=[_parse_result(message, content)], extras=extras)
    if role == "assistant":
        content = [*_take_thoughts(extras), *take_signature(content, extras)]
    if refusal := message.get("refusal"):
        content = [*content, RefusalPart(text=str(refusal))]
    content += [parse_tool_call(call) for call in message.get("tool_calls") or []]
    if isinstance(function := message.get("function_call"), dict):
        content.append(parse_tool_call({"id": function.get("name"), "function": function}))
    return Message(role=role, content=content, name=message.get("name"), extras=extras)


def _take_thoughts(extras: dict[str, Any]) -> list[ThinkingPart]:
    """Return the reasoning that the fields of a message hold; those that say it only once more stay in `extras`."""
    blocks = thoughts.read_details(extras.get(thoughts.DETAILS))
    plain = extras.get(_THOUGHTS)
    if blocks:
        del extras[thoughts.DETAILS]
        if not plain or any(block.text for block in blocks):
            return blocks
    elif plain:
        del extras[_THOUGHTS]
    return [ThinkingPart(text=str(plain)), *blocks] if plain else blocks


def take_signature(content: list[Part], extras: dict[str, Any]) -> list[Part]:
    """Return the content, its last text signed by what the message's `extra_content` says for it."""
    signature, rest = thoughts.read_thought_signature(extras.get(thoughts.EXTRA))
    if signature is None or not content or not isinstance(content[-1], TextPart):
        return content
    del extras[thoughts.EXTRA]
    if rest is not None:
        extras[thoughts.EXTRA] = rest
    return [*content[:-1], msgspec.structs.replace(content[-1], signature=signature)]


def _parse_result(message: dict[str, Any], content: list[Part]) -> ToolResultPart:
    """Return a tool's answer; one to a call in the old `function_call` form has the function's name for its id."""
    result = [part for part in content if isinstance(part, TextPart | ImagePart | FilePart | OpaquePart)]
    name = message.get("name")
    return ToolResultPart(id=message.get("tool_call_id") or name or "", content=result, name=name)


def write_message(message: Message, *, same_dialect: bool = True, signs: Signs = "none") -> list[dict[str, Any]]:
    """Return the wire's form: one message, or one for each tool result.

    `same_dialect` is whether the message came in this wire: what has no canonical name, and the reasoning that some
    vendors want back, goes on only then. `signs` is whose form of signed reasoning the vendor wants back.
    """
    reasoning = [part for part in message.content if isinstance(part, ThinkingPart)]
    blocks = thoughts.write_details(reasoning, knows_formats=signs == "openrouter") if message.content else []
    if not same_dialect:
        message = _without_extras(message)
        blocks = blocks if signs == "openrouter" else []
    if message.role == "tool":
        return [_write_result(part) | message.extras for part in message.content if isinstance(part, ToolResultPart)]
    said: list[Part] = [
        part for part in message.content if not isinstance(part, ToolCallPart | ThinkingPart | RefusalPart)
    ]
    wants_signature = same_dialect or signs == "google"
    calls = [
        _write_call(part, wants_signature=wants_signature) for part in message.content if isinstance(part, ToolCallPart)
    ]
    plain = "".join(
        part.text
        for part in reasoning
        if (same_dialect and not thoughts.is_detail(part)) or (signs == "plain" and part.signature is None)
    )
    fields = {
        "name": message.name,
        _THOUGHTS: plain or None,
        thoughts.DETAILS: blocks or None,
        "tool_calls": calls or None,
        "refusal": "".join(part.text for part in message.content if isinstance(part, RefusalPart)) or None,
    }
    written = {"role": message.role, "content": write_content(said)} | if_set(**fields) | message.extras
    return [_with_signature(written, said) if wants_signature else written]


def _write_call(part: ToolCallPart, *, wants_signature: bool) -> dict[str, Any]:
    """Return a call as a vendor gets it: with its signature if Google made that, and the vendor is to see it."""
    value = thoughts.signature_for_google(part.signature) if wants_signature else None
    call = write_tool_call(part)
    if value is None:
        return call
    return call | {thoughts.EXTRA: thoughts.write_thought_signature(value, call.get(thoughts.EXTRA))}


def _with_signature(written: dict[str, Any], said: list[Part]) -> dict[str, Any]:
    last = said[-1] if said else None
    value = thoughts.signature_for_google(last.signature) if isinstance(last, TextPart) else None
    if value is None:
        return written
    return written | {thoughts.EXTRA: thoughts.write_thought_signature(value, written.get(thoughts.EXTRA))}


def _without_extras(message: Message) -> Message:
    """Return a message of another dialect without what only that dialect understands."""
    return Message(role=message.role, content=[_bare(part) for part in message.content], name=message.name)


def _bare(part: Part) -> Part:
    """Return a part, and those inside it, without extras."""
    if isinstance(part, ToolResultPart):
        inner = [msgspec.structs.replace(piece, extras={}) for piece in part.content]
        return msgspec.structs.replace(part, content=inner, extras={})
    is_custom = isinstance(part, ToolCallPart) and part.extras.get("type") == "custom"
    return msgspec.structs.replace(part, extras=CUSTOM if is_custom else {}) if part.extras else part


def _write_result(part: ToolResultPart) -> dict[str, Any]:
    content = write_content(list(part.content)) or ""
    return {"role": "tool", "tool_call_id": part.id, "content": content} | if_set(name=part.name)


def unsealed_messages(messages: list[Any], *, signs: Signs) -> list[Any]:
    """Return messages that go to a vendor as they came, but for the signatures that the gateway sealed.

    Those that the vendor itself made are bare again; those of another are left out, for it would refuse them.
    """
    return [_unsealed(message, signs) if holds_seal(msgspec.json.encode(message)) else message for message in messages]


def _unsealed(message: Any, signs: Signs) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return message
    return write_message(parse_message(message), signs=signs)[0]
