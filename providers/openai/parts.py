"""Messages and their parts: OpenAI's chat wire to canonical and back.

Source: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
"""

from typing import Any

import msgspec

from providers.errors import RequestRefused
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
_CALL_FIELDS = frozenset({"id", "index", "type", "function", "custom"})
_CUSTOM = {"type": "custom"}


def parse_message(message: dict[str, Any]) -> Message:
    """Return the canonical form of a message whose shape has been checked."""
    role: Role = "tool" if message["role"] == "function" else message["role"]
    content = parse_content(message.get("content"))
    extras = {name: value for name, value in message.items() if name not in _MESSAGE_FIELDS and value is not None}
    if role == "tool":
        return Message(role="tool", content=[_parse_result(message, content)], extras=extras)
    if thoughts := message.get("reasoning_content"):
        content = [ThinkingPart(text=str(thoughts)), *content]
    if refusal := message.get("refusal"):
        content = [*content, RefusalPart(text=str(refusal))]
    content += [parse_tool_call(call) for call in message.get("tool_calls") or []]
    if isinstance(function := message.get("function_call"), dict):
        content.append(parse_tool_call({"id": function.get("name"), "function": function}))
    return Message(role=role, content=content, name=message.get("name"), extras=extras)


def _parse_result(message: dict[str, Any], content: list[Part]) -> ToolResultPart:
    """Return a tool's answer; one to a call in the old `function_call` form has the function's name for its id."""
    result = [part for part in content if isinstance(part, TextPart | ImagePart | FilePart | OpaquePart)]
    name = message.get("name")
    return ToolResultPart(id=message.get("tool_call_id") or name or "", content=result, name=name)


def parse_content(content: Any) -> list[Part]:
    """Return the parts of a message's content: a string, a list of parts, or nothing."""
    if content is None:
        return []
    if isinstance(content, str):
        return [TextPart(text=content)]
    return [parse_part(part) for part in content]


def parse_part(part: dict[str, Any]) -> Part:
    """Return the canonical form of one content part; one of an unknown type or form stays opaque."""
    match part:
        case {"type": "text", "text": str(text), **rest}:
            return TextPart(text=text, extras=rest)
        case {"type": "refusal", "refusal": str(text), **rest}:
            return RefusalPart(text=text, extras=rest)
        case {"type": "image_url", "image_url": {"url": str(url), **options}, **rest} if options.keys() <= {"detail"}:
            return _parse_image(url, detail=options.get("detail"), extras=rest)
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(form), **options}, **rest}:
            return (
                OpaquePart(dialect=DIALECT, value=part) if options else AudioPart(data=data, format=form, extras=rest)
            )
        case {"type": "file", "file": dict(file), **rest} if file.keys() <= {"file_id", "filename", "file_data"}:
            return _parse_file(file, extras=rest)
        case _:
            return OpaquePart(dialect=DIALECT, value=part)


def _parse_image(url: str, *, detail: Any, extras: dict[str, Any]) -> ImagePart:
    media_type, data = split_data_url(url)
    if data is None:
        return ImagePart(url=url, detail=detail, extras=extras)
    return ImagePart(data=data, media_type=media_type, detail=detail, extras=extras)


def _parse_file(file: dict[str, Any], *, extras: dict[str, Any]) -> FilePart:
    """Return a document; its data may be a data URL, or bare base64 whose media type is not said."""
    given = file.get("file_data")
    media_type, data = split_data_url(given or "")
    return FilePart(
        file_id=file.get("file_id"),
        filename=file.get("filename"),
        data=given if data is None else data,
        media_type=media_type,
        extras=extras,
    )


def split_data_url(url: str) -> tuple[str | None, str | None]:
    """Return the media type and base64 data of a `data:` URL; a pair of `None` for any other URL."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None, None
    return head[5:-7].partition(";")[0] or "application/octet-stream", data


def parse_tool_call(call: dict[str, Any]) -> ToolCallPart:
    """Return the canonical form of a tool call, of a function or of a custom tool, whose input is free text."""
    function, custom = call.get("function"), call.get("custom")
    extras = {name: value for name, value in call.items() if name not in _CALL_FIELDS and value is not None}
    if isinstance(custom, dict) and not isinstance(function, dict):
        return _tool_call(call, name=custom.get("name"), arguments=custom.get("input"), extras={**extras, **_CUSTOM})
    function = function if isinstance(function, dict) else {}
    return _tool_call(call, name=function.get("name"), arguments=function.get("arguments"), extras=extras)


def _tool_call(call: dict[str, Any], *, name: Any, arguments: Any, extras: dict[str, Any]) -> ToolCallPart:
    return ToolCallPart(
        id=str(call.get("id") or ""), name=str(name or ""), arguments=read_arguments(arguments) or "{}", extras=extras
    )


def read_arguments(arguments: Any) -> str:
    """Return arguments as text; a few vendors send them as an object."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()


def write_message(message: Message, *, same_dialect: bool = True) -> list[dict[str, Any]]:
    """Return the wire's form: one message, or one for each tool result.

    `same_dialect` is whether the message came in this wire: what has no canonical name, and the reasoning that some
    vendors want back, goes on only then.
    """
    if not same_dialect:
        message = _without_extras(message)
    if message.role == "tool":
        return [_write_result(part) | message.extras for part in message.content if isinstance(part, ToolResultPart)]
    said: list[Part] = [
        part for part in message.content if not isinstance(part, ToolCallPart | ThinkingPart | RefusalPart)
    ]
    fields = {
        "name": message.name,
        "reasoning_content": _text_of(message, ThinkingPart) if same_dialect else None,
        "tool_calls": [write_tool_call(part) for part in message.content if isinstance(part, ToolCallPart)] or None,
        "refusal": _text_of(message, RefusalPart),
    }
    return [{"role": message.role, "content": write_content(said)} | _if_set(**fields) | message.extras]


def _without_extras(message: Message) -> Message:
    """Return a message of another dialect without what only that dialect understands."""
    return Message(role=message.role, content=[_bare(part) for part in message.content], name=message.name)


def _bare(part: Part) -> Part:
    """Return a part, and those inside it, without extras."""
    if isinstance(part, ToolResultPart):
        inner = [msgspec.structs.replace(piece, extras={}) for piece in part.content]
        return msgspec.structs.replace(part, content=inner, extras={})
    return msgspec.structs.replace(part, extras={}) if part.extras else part


def _text_of(message: Message, kind: type[ThinkingPart | RefusalPart]) -> str | None:
    return "".join(part.text for part in message.content if isinstance(part, kind)) or None


def _write_result(part: ToolResultPart) -> dict[str, Any]:
    content = write_content(list(part.content)) or ""
    return {"role": "tool", "tool_call_id": part.id, "content": content} | _if_set(name=part.name)


def write_content(parts: list[Part]) -> str | list[dict[str, Any]] | None:
    """Return the wire's form of content: a string where one text part says it all."""
    if not parts:
        return None
    if len(parts) == 1 and isinstance(parts[0], TextPart) and not parts[0].extras:
        return parts[0].text
    return [write_part(part) for part in parts]


def write_part(part: Part) -> dict[str, Any]:
    """Return the wire's form of one part. Raises `RequestRefused` for a part that this wire cannot say."""
    match part:
        case TextPart():
            return {"type": "text", "text": part.text} | part.extras
        case ImagePart():
            url = part.url if part.data is None else f"data:{part.media_type};base64,{part.data}"
            return {"type": "image_url", "image_url": {"url": url} | _if_set(detail=part.detail)} | part.extras
        case AudioPart():
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}} | part.extras
        case FilePart():
            return _write_file(part) | part.extras
        case OpaquePart(dialect=dialect, value=value) if dialect == DIALECT and isinstance(value, dict):
            return value
        case _:
            raise RequestRefused(
                f"a {_NAMES[type(part)]} cannot be sent to this provider", status=400, param="messages"
            )


_NAMES: dict[type[Part], str] = {
    OpaquePart: "part of an unknown kind",
    RefusalPart: "refusal outside an assistant's turn",
    ThinkingPart: "thought outside an assistant's turn",
    ToolCallPart: "tool call outside an assistant's turn",
    ToolResultPart: "tool result outside a tool's turn",
}


def _write_file(part: FilePart) -> dict[str, Any]:
    if part.text is not None:
        return {"type": "text", "text": part.text}
    if part.url is not None:
        raise RequestRefused("a file by URL cannot be sent to this provider", status=400, param="messages")
    data = part.data if part.data is None or part.media_type is None else f"data:{part.media_type};base64,{part.data}"
    return {"type": "file", "file": _if_set(file_id=part.file_id, filename=part.filename, file_data=data)}


def write_tool_call(part: ToolCallPart) -> dict[str, Any]:
    """Return the wire's form of a tool call."""
    if part.extras.get("type") == "custom":
        return {"id": part.id, "custom": {"name": part.name, "input": part.arguments}} | part.extras
    function = {"name": part.name, "arguments": part.arguments}
    return {"id": part.id, "type": "function", "function": function} | part.extras


def _if_set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
