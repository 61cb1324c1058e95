"""Canonical parts as Converse's content blocks. Bytes travel as base64, which is how its JSON has them.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html, read 2026-11;
botocore 1.44.8: bedrock-runtime.ContentBlock.
"""

import base64
import hashlib
import re
from typing import Any

import msgspec

from providers.bedrock.families import Family
from providers.bedrock.tuning import SIGNER
from providers.carry import refuse, refuse_part
from providers.custom_tools import wrap
from providers.signatures import value_for
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

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_SOUNDS = frozenset(
    {"aac", "flac", "m4a", "mka", "mkv", "mp3", "mp4", "mpeg", "mpga", "ogg", "opus", "pcm", "wav", "webm", "x-aac"}
)
_OWN_BLOCKS = frozenset({"audio", "cachePoint", "document", "guardContent", "image", "searchResult", "video"})
"""Blocks of Converse's own that a client may send as they are, whatever its dialect."""
_S3 = "s3://"
_NOT_IN_A_NAME = re.compile(r"[^0-9A-Za-z()\[\]-]+")
_MAX_NAME = 160
_CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NOTHING = "(no output)"


class BlockWriter:
    """Writes the blocks of one request.

    It knows the names that its documents have got, which must differ, and whether calls of tools may be said as such:
    where no tools are offered, Converse takes neither them nor their results, and they are told in words.
    """

    def __init__(self, family: Family, *, keeps_calls: bool) -> None:
        self._family = family
        self.keeps_calls = keeps_calls
        self._names: set[str] = set()

    def write(self, part: Part) -> list[dict[str, Any]]:
        """Return the blocks that say `part`: none for what is blank, or a thought that the model would not believe.

        Raises `RequestRefused` for what the wire cannot say.
        """
        blocks: list[dict[str, Any]]
        match part:
            case TextPart() | RefusalPart():
                blocks = [{"text": part.text}] if part.text.strip() else []
            case ThinkingPart():
                blocks = self._thought(part)
            case ToolCallPart():
                blocks = self._call(part)
            case ToolResultPart():
                blocks = self._result(part)
            case FilePart():
                blocks = [self._document(part)]
            case ImagePart():
                blocks = [_image(part)]
            case AudioPart():
                blocks = [_sound(part)]
            case OpaquePart():
                blocks = [_own_block(part)]
        return blocks

    def _thought(self, part: ThinkingPart) -> list[dict[str, Any]]:
        """Return a thought that Claude signed; any other would be refused."""
        value = value_for(part.signature, SIGNER)
        if value is None or self._family not in {"claude", "hidden"}:
            return []
        if part.redacted:
            return [{"reasoningContent": {"redactedContent": value}}]
        return [{"reasoningContent": {"reasoningText": {"text": part.text, "signature": value}}}]

    def _call(self, part: ToolCallPart) -> list[dict[str, Any]]:
        call = wrap(part)
        if not self.keeps_calls:
            return [{"text": f"[called the tool {call.name} with {call.arguments}]"}]
        return [{"toolUse": {"toolUseId": call_id(call.id), "name": call.name, "input": _arguments(call.arguments)}}]

    def _result(self, part: ToolResultPart) -> list[dict[str, Any]]:
        content = [block for inner in part.content for block in self.write(inner)] or [{"text": _NOTHING}]
        if not self.keeps_calls:
            told = f"[the tool {part.name or part.id} {'failed' if part.is_error else 'answered'}]"
            return [{"text": told}, *content]
        result: dict[str, Any] = {"toolUseId": call_id(part.id), "content": content}
        if part.is_error and self._family in {"claude", "nova", "hidden"}:
            result["status"] = "error"
        return [{"toolResult": result}]

    def _document(self, part: FilePart) -> dict[str, Any]:
        """Return a document; plain text goes as a text file."""
        if part.file_id is not None:
            raise refuse("messages", what="a file by id")
        source: dict[str, Any] = {}
        if part.text is not None:
            source["bytes"] = base64.b64encode(part.text.encode()).decode()
        else:
            source = _source(part.data, part.url, what="a file by URL")
        form = "txt" if part.text is not None else _document_format(part)
        block = {"format": form, "name": self._name(part.filename), "source": source}
        context = part.extras.get("context")
        return {"document": block | ({"context": context} if isinstance(context, str) else {})}

    def _name(self, filename: str | None) -> str:
        """Return a name of the characters that Converse allows, without its ending, and told apart by a number."""
        stem = (filename or "").rpartition("/")[2]
        stem = stem.rpartition(".")[0] or stem
        name = _NOT_IN_A_NAME.sub(" ", stem).strip()[:_MAX_NAME].strip() or "document"
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name} {number}"
        self._names.add(unique)
        return unique


def call_id(given: str) -> str:
    """Return the id of a tool call, or one made of it where another vendor's has a form that Converse refuses."""
    if _CALL_ID.fullmatch(given):
        return given
    return f"call_{hashlib.sha256(given.encode()).hexdigest()[:32]}"


def _arguments(text: str) -> dict[str, Any]:
    """Return the arguments of a call as an object; a model's that are none are kept as they were written."""
    try:
        decoded = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = None
    return decoded if isinstance(decoded, dict) else {"arguments": text}


def _image(part: ImagePart) -> dict[str, Any]:
    source = _source(part.data, part.url, what="an image by URL")
    media_type = part.media_type or ""
    form = _IMAGES.get(media_type) or _IMAGES.get("image/" + _ending(part.url))
    if form is None:
        raise refuse("messages", what=f"an image of the type {media_type or 'unknown'}")
    return {"image": {"format": form, "source": source}}


def _sound(part: AudioPart) -> dict[str, Any]:
    if part.format not in _SOUNDS:
        raise refuse("messages", what=f"sound of the format {part.format}")
    return {"audio": {"format": part.format, "source": {"bytes": part.data}}}


def _source(data: str | None, url: str | None, *, what: str) -> dict[str, Any]:
    """Return where the bytes are: here, or in S3, the one place that Bedrock fetches from."""
    if data is not None:
        return {"bytes": data}
    if url is None or not url.startswith(_S3):
        raise refuse("messages", what=what)
    return {"s3Location": {"uri": url}}


def _document_format(part: FilePart) -> str:
    media_type = (part.media_type or "").partition(";")[0].strip().lower()
    form = _DOCUMENTS.get(media_type)
    if form is None:
        ending = _ending(part.filename or part.url)
        form = ending if ending in _DOCUMENTS.values() else None
    if form is None:
        raise refuse("messages", what=f"a file of the type {media_type or 'unknown'}")
    return form


def _ending(name: str | None) -> str:
    return (name or "").rpartition(".")[2].lower()


def _own_block(part: OpaquePart) -> dict[str, Any]:
    """Return a block of Converse's own, which a client may write with or without a `type` of the same name."""
    value = part.value
    if isinstance(value, dict):
        block = {name: field for name, field in value.items() if name != "type"}
        if len(block) == 1 and (name := next(iter(block))) in _OWN_BLOCKS and value.get("type", name) == name:
            return block
    raise refuse_part(part)


__all__ = ["BlockWriter", "call_id"]
