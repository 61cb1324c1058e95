"""The parts of a content, to canonical and back.

A part has one kind, and fields beside it: whether it is a thought, and the signature of the thought behind it.
Source: https://ai.google.dev/api/caching#Part, read 2026-11; google-genai 3.6: types.Part.
"""

from typing import Any

import msgspec

from providers import custom_tools
from providers.carry import refuse, refuse_part
from providers.gemini.media import read_address, read_inline, write_audio, write_file, write_image
from providers.gemini.wire import DIALECT, named
from providers.signatures import unseal
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

REDACTED = {"redacted": True}
"""`partMetadata` of a thought that is encrypted only; Google's clients send it back."""
_INPUT = "input"


def read_part(part: Any) -> Part:
    """Return the canonical form of one part; one of an unknown kind or form stays opaque.

    A function call without an id has an empty one.
    """
    fields = named(part)
    signature = fields.pop("thoughtSignature", None)
    thought = fields.pop("thought", None) is True
    canonical = None
    if "inlineData" in fields and not thought:
        # An image that the model made is signed in its extras: its part has no place for a signature.
        canonical = _read_media(fields if signature is None else {**fields, "thoughtSignature": signature})
    elif isinstance(signature, str | None):
        canonical = _read_fields(fields, thought=thought, signature=unseal(signature, DIALECT))
    return OpaquePart(dialect=DIALECT, value=part) if canonical is None else canonical


def _read_fields(fields: dict[str, Any], *, thought: bool, signature: str | None) -> Part | None:
    match fields:
        case {"text": str(text), **rest} if thought:
            redacted = rest.pop("partMetadata", None) == REDACTED
            return None if rest else ThinkingPart(text=text, signature=signature, redacted=redacted)
        case {"text": str(text), **rest}:
            return TextPart(text=text, signature=signature, extras=rest)
        case {"functionCall": dict(call), **rest} if not rest:
            return _read_call(call, signature=signature)
        case {"functionResponse": dict(response), **rest} if not rest and signature is None:
            return _read_response(response)
        case _:
            return None if thought or signature else _read_media(fields)


def _read_media(fields: dict[str, Any]) -> Part | None:
    match fields:
        case {"inlineData": dict(blob), **rest} if isinstance((blob := named(blob)).get("data"), str):
            return read_inline(blob, extras=rest) if _has_texts(blob) else None
        case {"fileData": dict(file), **rest} if isinstance((file := named(file)).get("fileUri"), str):
            return read_address(file, extras=rest) if _has_texts(file) else None
        case _:
            return None


def _has_texts(fields: dict[str, Any]) -> bool:
    return all(isinstance(fields.get(name), str | None) for name in ("mimeType", "displayName"))


def _read_call(call: dict[str, Any], *, signature: str | None) -> ToolCallPart | None:
    match named(call):
        case {"name": str(name), **rest} if rest.keys() <= {"id", "args"}:
            args = rest.get("args")
            arguments = "{}" if args is None else msgspec.json.encode(args).decode()
            return ToolCallPart(id=str(rest.get("id") or ""), name=name, arguments=arguments, signature=signature)
        case _:
            return None


def _read_response(response: dict[str, Any]) -> ToolResultPart | None:
    """Return a function's answer: its `output` or its `error` if it names one of them, else all of it."""
    fields = named(response)
    name, answer = fields.get("name"), fields.get("response") or {}
    if not isinstance(name, str) or not isinstance(answer, dict) or not fields.keys() <= _RESPONSE:
        return None
    told = answer.keys() & {"output", "error"}
    said = answer[told.pop()] if len(answer) == len(told) == 1 else answer
    content: list[Any] = [TextPart(text=said if isinstance(said, str) else msgspec.json.encode(said).decode())]
    media = [_read_media(named(part)) for part in fields.get("parts") or []]
    if not all(isinstance(part, ImagePart | FilePart) for part in media):
        return None
    is_error = answer.keys() == {"error"}
    return ToolResultPart(id=str(fields.get("id") or ""), content=content + media, is_error=is_error, name=name)


_RESPONSE = frozenset({"id", "name", "response", "parts"})


def write_call(part: ToolCallPart, *, args: dict[str, Any]) -> dict[str, Any]:
    """Return the wire's form of a function call."""
    return {"functionCall": {**({"id": part.id} if part.id else {}), "name": part.name, "args": args}}


def read_args(part: ToolCallPart) -> dict[str, Any] | None:
    """Return the arguments of a call as an object; `None` if they are none."""
    try:
        args = msgspec.json.decode(custom_tools.wrap(part).arguments or "{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return args if isinstance(args, dict) else None


def args_or_text(part: ToolCallPart) -> dict[str, Any]:
    """Return the arguments of an earlier call; what a model wrote and is no JSON object is told as `input`."""
    args = read_args(part)
    return {_INPUT: part.arguments} if args is None else args


def write_response(part: ToolResultPart, *, name: str, same_dialect: bool, with_media: bool) -> list[dict[str, Any]]:
    """Return the wire's form of a function's answer; media stand inside it, or beside it for models before Gemini 3.

    Source: https://ai.google.dev/gemini-api/docs/function-calling#multimodal, read 2026-11.
    """
    said = "\n".join(piece.text for piece in part.content if isinstance(piece, TextPart))
    media = [write_part(piece, same_dialect=same_dialect) for piece in part.content if not isinstance(piece, TextPart)]
    response: dict[str, Any] = {"id": part.id} if part.id else {}
    response |= {"name": name, "response": {"error": said} if part.is_error else _output(said)}
    if with_media and media:
        response["parts"] = media
    return [{"functionResponse": response}, *([] if with_media else media)]


def _output(said: str) -> dict[str, Any]:
    """Return what a function answered as an object: the one that it wrote, or its text."""
    try:
        answer = msgspec.json.decode(said) if said.lstrip()[:1] in {"{", "["} else said
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = said
    if isinstance(answer, dict) and not answer.keys() & {"output", "error"}:
        return answer
    return {"output": answer}


def write_part(part: Part, *, same_dialect: bool) -> dict[str, Any]:
    """Return the wire's form of a part that is neither a call, nor an answer, nor a thought.

    Raises `RequestRefused` for a part that this wire cannot say.
    """
    extras = part.extras if same_dialect else {}
    match part:
        case TextPart() | RefusalPart():
            return {"text": part.text} | extras
        case ImagePart():
            return write_image(part) | extras
        case AudioPart():
            return write_audio(part) | extras
        case FilePart():
            return write_file(part, same_dialect=same_dialect) | extras
        case OpaquePart(dialect=dialect, value=value) if dialect == DIALECT and isinstance(value, dict):
            return value
        case OpaquePart():
            raise refuse_part(part)
        case _:
            raise refuse("messages", what=f"a part of the kind {_kind_of(part)}")


def _kind_of(part: Part) -> str:
    return type(part).__name__.removesuffix("Part").lower()
