"""Messages and their parts: OpenAI's chat wire to canonical and back.

Source: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
"""

from typing import Any

from providers.openai.wire import DIALECT
from providers.types import (
    AudioPart,
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

_MESSAGE_FIELDS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning_content", "function_call"}
)


def parse_message(message: dict[str, Any]) -> Message:
    """Return the canonical form of a message whose shape has been checked."""
    role: Role = "tool" if message["role"] == "function" else message["role"]
    content = parse_content(message.get("content"))
    if role == "tool":
        result = [part for part in content if isinstance(part, TextPart | ImagePart | FilePart | OpaquePart)]
        call = message.get("tool_call_id") or message.get("name") or ""
        return Message(role="tool", content=[ToolResultPart(id=call, content=result)])
    if thoughts := message.get("reasoning_content"):
        content = [ThinkingPart(text=thoughts), *content]
    if refusal := message.get("refusal"):
        content = [*content, RefusalPart(text=refusal)]
    content += [parse_tool_call(call) for call in message.get("tool_calls") or []]
    extras = {name: value for name, value in message.items() if name not in _MESSAGE_FIELDS and value is not None}
    return Message(role=role, content=content, name=message.get("name"), extras=extras)


def parse_content(content: Any) -> list[Part]:
    """Return the parts of a message's content: a string, a list of parts, or nothing."""
    if content is None:
        return []
    if isinstance(content, str):
        return [TextPart(text=content)]
    return [parse_part(part) for part in content]


def parse_part(part: dict[str, Any]) -> Part:
    """Return the canonical form of one content part; an unknown type stays opaque."""
    match part:
        case {"type": "text", "text": str(text)}:
            return TextPart(text=text)
        case {"type": "refusal", "refusal": str(text)}:
            return RefusalPart(text=text)
        case {"type": "image_url", "image_url": {"url": str(url), **rest}}:
            return _parse_image(url, rest.get("detail"))
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(form)}}:
            return AudioPart(data=data, format=form)
        case {"type": "file", "file": dict(file)}:
            return _parse_file(file)
        case _:
            return OpaquePart(dialect=DIALECT, value=part)


def _parse_image(url: str, detail: Any) -> ImagePart:
    media_type, data = split_data_url(url)
    if data is None:
        return ImagePart(url=url, detail=detail)
    return ImagePart(data=data, media_type=media_type, detail=detail)


def _parse_file(file: dict[str, Any]) -> FilePart:
    media_type, data = split_data_url(file.get("file_data") or "")
    return FilePart(file_id=file.get("file_id"), filename=file.get("filename"), data=data, media_type=media_type)


def split_data_url(url: str) -> tuple[str | None, str | None]:
    """Return the media type and base64 data of a `data:` URL; a pair of `None` for any other URL."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None, None
    return head[5:-7].partition(";")[0] or "application/octet-stream", data


def parse_tool_call(call: dict[str, Any]) -> ToolCallPart:
    """Return the canonical form of a tool call, of a function or of a custom tool."""
    function = call.get("function") or call.get("custom") or {}
    arguments = function.get("arguments", function.get("input", "{}"))
    return ToolCallPart(id=call.get("id") or "", name=function.get("name") or "", arguments=arguments)


def write_message(message: Message) -> list[dict[str, Any]]:
    """Return the wire's form: one message, or one for each tool result."""
    if message.role == "tool":
        return [_write_result(part) for part in message.content if isinstance(part, ToolResultPart)]
    wire: dict[str, Any] = {"role": message.role}
    parts: list[Part] = [
        part for part in message.content if not isinstance(part, ToolCallPart | ThinkingPart | RefusalPart)
    ]
    wire["content"] = write_content(parts)
    if message.name is not None:
        wire["name"] = message.name
    calls = [write_tool_call(part) for part in message.content if isinstance(part, ToolCallPart)]
    if calls:
        wire["tool_calls"] = calls
    refusals = [part.text for part in message.content if isinstance(part, RefusalPart)]
    if refusals:
        wire["refusal"] = "".join(refusals)
    return [wire | message.extras]


def _write_result(part: ToolResultPart) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": part.id, "content": write_content(list(part.content)) or ""}


def write_content(parts: list[Part]) -> str | list[dict[str, Any]] | None:
    """Return the wire's form of content: a string where one text part says it all."""
    if not parts:
        return None
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return [write_part(part) for part in parts]


def write_part(part: Part) -> dict[str, Any]:
    """Return the wire's form of one part."""
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart():
            url = part.url if part.data is None else f"data:{part.media_type};base64,{part.data}"
            return {"type": "image_url", "image_url": {"url": url} | _if_set(detail=part.detail)}
        case AudioPart():
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
        case FilePart():
            return _write_file(part)
        case OpaquePart(dialect=dialect, value=value) if dialect == DIALECT and isinstance(value, dict):
            return value
        case _:
            raise ValueError(f"a {type(part).__name__} has no form in OpenAI's chat wire")


def _write_file(part: FilePart) -> dict[str, Any]:
    if part.text is not None:
        return {"type": "text", "text": part.text}
    data = None if part.data is None else f"data:{part.media_type};base64,{part.data}"
    return {"type": "file", "file": _if_set(file_id=part.file_id, filename=part.filename, file_data=data)}


def write_tool_call(part: ToolCallPart) -> dict[str, Any]:
    """Return the wire's form of a tool call."""
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}


def _if_set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
