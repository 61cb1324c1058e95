"""The parts of messages and the calls of tools: OpenAI's chat wire to canonical and back.

Source: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
"""

import hashlib
from typing import Any

import msgspec

from providers import carry
from providers.custom_tools import CUSTOM
from providers.openai import thoughts
from providers.openai.wire import DIALECT
from providers.types import (
    AudioPart,
    FilePart,
    ImagePart,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

_FILE_FIELDS = frozenset({"file_id", "filename", "file_data"})
_CALL_FIELDS = frozenset({"id", "index", "type", "function", "custom"})


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
        case {"type": "file", "file": dict(file), **rest} if file.keys() <= _FILE_FIELDS:
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
    if not all(isinstance(value, str | None) for value in file.values()):
        raise carry.refuse("messages", what="a file of something else than text")
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
    signature, rest = thoughts.read_thought_signature(extras.pop(thoughts.EXTRA, None))
    if rest is not None:
        extras[thoughts.EXTRA] = rest
    if isinstance(custom, dict) and not isinstance(function, dict):
        said, arguments = custom, read_arguments(custom.get("input"))
        extras |= CUSTOM
    else:
        said = function if isinstance(function, dict) else {}
        arguments = read_arguments(said.get("arguments")) or "{}"
    return ToolCallPart(
        id=str(call.get("id") or ""),
        name=str(said.get("name") or ""),
        arguments=arguments,
        signature=signature,
        extras=extras,
    )


def made_call_id(answer_id: str, choice: int, number: int) -> str:
    """Return the id of a call to which its vendor gave none: the same for the same call of the same answer."""
    mark = f"{answer_id}\0{choice}\0{number}".encode(errors="surrogatepass")
    return f"call_{hashlib.blake2b(mark, digest_size=12).hexdigest()}"


def read_arguments(arguments: Any) -> str:
    """Return arguments as text; a few vendors send them as an object."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return msgspec.json.encode(arguments).decode()


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
            return {"type": "image_url", "image_url": {"url": url} | if_set(detail=part.detail)} | part.extras
        case AudioPart():
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}} | part.extras
        case FilePart():
            return _write_file(part) | part.extras
        case OpaquePart(dialect=dialect, value=value) if dialect == DIALECT and isinstance(value, dict):
            return value
        case OpaquePart():
            raise carry.refuse_part(part)
        case _:
            raise carry.refuse("messages", what=f"a {_NAMES[type(part)]}")


_NAMES: dict[type[Part], str] = {
    RefusalPart: "refusal outside an assistant's turn",
    ThinkingPart: "thought outside an assistant's turn",
    ToolCallPart: "tool call outside an assistant's turn",
    ToolResultPart: "tool result outside a tool's turn",
}


def _write_file(part: FilePart) -> dict[str, Any]:
    if part.text is not None:
        return {"type": "text", "text": part.text}
    if part.url is not None:
        raise carry.refuse("messages", what="a file by URL")
    data = part.data if part.data is None or part.media_type is None else f"data:{part.media_type};base64,{part.data}"
    return {"type": "file", "file": if_set(file_id=part.file_id, filename=part.filename, file_data=data)}


def write_tool_call(part: ToolCallPart) -> dict[str, Any]:
    """Return the wire's form of a tool call."""
    if part.extras.get("type") == "custom":
        return {"id": part.id, "custom": {"name": part.name, "input": part.arguments}} | part.extras
    function = {"name": part.name, "arguments": part.arguments}
    return {"id": part.id, "type": "function", "function": function} | part.extras


def if_set(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
