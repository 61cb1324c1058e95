"""The content parts of messages and of tool outputs: the Responses wire to canonical and back.

Source: https://platform.openai.com/docs/api-reference/responses/create, read 2026-11.
"""

from collections.abc import Iterable
from typing import Any

from providers.answers import objects
from providers.carry import refuse, refuse_part
from providers.openai.parts import if_set, split_data_url
from providers.openai.responses.wire import DIALECT
from providers.types import AudioPart, FilePart, ImagePart, OpaquePart, Part, RefusalPart, TextPart

_TEXTS = frozenset({"input_text", "output_text"})
_FILE = frozenset({"file_id", "filename", "file_data", "file_url"})
_CITATION = ("url", "title", "start_index", "end_index")


def parse_content(content: Any) -> list[Part]:
    """Return the parts of content: a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return [TextPart(text=content)]
    return [parse_part(part) for part in objects(content)]


def parse_part(part: dict[str, Any]) -> Part:
    """Return the canonical form of one content part; one of an unknown type or form stays opaque."""
    match part:
        case {"type": "input_text" | "output_text" | "refusal"}:
            return _parse_text(part)
        case {"type": "input_image", "image_url": str(url), **rest} if rest.get("file_id") is None:
            detail, extras = rest.get("detail"), _without(rest, "detail", "file_id")
            media_type, data = split_data_url(url)
            if data is None:
                return ImagePart(url=url, detail=detail, extras=extras)
            return ImagePart(data=data, media_type=media_type, detail=detail, extras=extras)
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(form)}, **rest}:
            return AudioPart(data=data, format=form, extras=rest)
        case {"type": "input_file", **rest} if _FILE & rest.keys():
            return _parse_file(rest)
        case _:
            return OpaquePart(dialect=DIALECT, value=part)


def _parse_text(part: dict[str, Any]) -> Part:
    match part:
        case {"type": "refusal", "refusal": str(text), **rest}:
            return RefusalPart(text=text, extras=rest)
        case {"type": str(), "text": str(text), **rest}:
            notes = [read_annotation(note) for note in objects(rest.get("annotations"))]
            return TextPart(text=text, annotations=notes, extras=_without(rest, "type", "annotations", "logprobs"))
        case _:
            return OpaquePart(dialect=DIALECT, value=part)


def _parse_file(rest: dict[str, Any]) -> FilePart:
    given = rest.get("file_data")
    media_type, data = split_data_url(given) if isinstance(given, str) else (None, None)
    return FilePart(
        file_id=rest.get("file_id"),
        filename=rest.get("filename"),
        url=rest.get("file_url"),
        data=given if data is None else data,
        media_type=media_type,
        extras={name: value for name, value in rest.items() if name not in _FILE},
    )


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def read_annotation(note: dict[str, Any]) -> dict[str, Any]:
    """Return a citation in the shape of chat completions, which nest what a URL citation says."""
    if note.get("type") != "url_citation" or "url" not in note:
        return note
    return {"type": "url_citation", "url_citation": {name: note[name] for name in _CITATION if name in note}}


def write_annotations(notes: Iterable[Any]) -> list[dict[str, Any]]:
    """Return citations in the flat shape of this wire; of kinds that it knows."""
    return [written for note in objects(list(notes)) if (written := _write_annotation(note)) is not None]


def _write_annotation(note: dict[str, Any]) -> dict[str, Any] | None:
    cited = note.get("url_citation")
    if not isinstance(cited, dict):
        return note if note.get("type") in ("file_citation", "container_file_citation", "file_path") else None
    places = {name: cited.get(name) or 0 for name in ("start_index", "end_index")}
    return {"type": "url_citation", "url": str(cited.get("url")), "title": str(cited.get("title") or ""), **places}


def write_content(parts: Iterable[Part], *, role: str, keeps_extras: bool) -> list[dict[str, Any]]:
    """Return the wire's form of parts: what an assistant said is output, all else input."""
    return [write_part(part, role=role, keeps_extras=keeps_extras) for part in parts]


def write_part(part: Part, *, role: str, keeps_extras: bool) -> dict[str, Any]:
    """Return the wire's form of one part. Raises `RequestRefused` for a part that this wire cannot say."""
    extras = _without(part.extras, "item", "type") if keeps_extras else {}
    said: dict[str, Any]
    match part:
        case TextPart() if role == "assistant":
            said = {"type": "output_text", "text": part.text, "annotations": write_annotations(part.annotations)}
        case TextPart():
            said = {"type": "input_text", "text": part.text}
        case RefusalPart():
            said = {"type": "refusal", "refusal": part.text}
        case ImagePart():
            url = part.url if part.data is None else f"data:{part.media_type};base64,{part.data}"
            said = {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        case AudioPart():
            said = {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
        case FilePart():
            said = _write_file(part)
        case OpaquePart(dialect=dialect, value=value) if dialect == DIALECT and isinstance(value, dict):
            return value
        case OpaquePart():
            raise refuse_part(part)
        case _:
            raise refuse("messages", what=f"a part of the kind {type(part).__name__}")
    return said | extras


def _write_file(part: FilePart) -> dict[str, Any]:
    if part.text is not None:
        return {"type": "input_text", "text": part.text}
    data = part.data if part.data is None or part.media_type is None else f"data:{part.media_type};base64,{part.data}"
    named = {} if part.file_id or part.url else {"filename": part.filename or "document"}
    said = if_set(file_id=part.file_id, file_url=part.url, file_data=data, filename=part.filename)
    return {"type": "input_file", **named, **said}
