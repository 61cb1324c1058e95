"""Images, sound and documents: inline, or by their address.

Source: https://ai.google.dev/gemini-api/docs/file-input-methods, read 2026-11.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from providers.carry import image_type, refuse
from providers.gemini.wire import standard_base64
from providers.types import AudioPart, FilePart, ImagePart

_TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
}
_SOUNDS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}
_FILES_HOST = "generativelanguage.googleapis.com"
Media = ImagePart | AudioPart | FilePart


def read_inline(blob: Mapping[str, Any], *, extras: dict[str, Any]) -> Media:
    """Return the part for a blob whose data is text."""
    data, media_type = standard_base64(blob["data"]), blob.get("mimeType")
    kind, _, form = (media_type or "").partition("/")
    if kind == "image":
        return ImagePart(data=data, media_type=media_type, extras=extras)
    if kind == "audio" and form:
        return AudioPart(data=data, format=_SOUNDS.get(form, form), extras=extras)
    return FilePart(data=data, media_type=media_type, filename=blob.get("displayName"), extras=extras)


def read_address(file: Mapping[str, Any], *, extras: dict[str, Any]) -> ImagePart | FilePart:
    """Return the part for a file by its address; one that is stored at Google has an id instead of a URL."""
    uri, media_type, name = file["fileUri"], file.get("mimeType"), file.get("displayName")
    if not is_web_address(uri):
        return FilePart(file_id=uri, media_type=media_type, filename=name, extras=extras)
    if media_type is not None and media_type.startswith("image/"):
        return ImagePart(url=uri, media_type=media_type, extras=extras)
    return FilePart(url=uri, media_type=media_type, filename=name, extras=extras)


def is_web_address(uri: str) -> bool:
    """Whether a URI leads into the web, and not to a file in Google's own storage."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.hostname != _FILES_HOST


def write_image(part: ImagePart) -> dict[str, Any]:
    """Return the wire's form of an image."""
    if part.data is not None:
        return _inline(part.data, image_type(part.media_type))
    return _address(part.url or "", part.media_type or _type_of(part.url) or "image/jpeg")


def write_audio(part: AudioPart) -> dict[str, Any]:
    """Return the wire's form of recorded sound."""
    return _inline(part.data, f"audio/{part.format}")


def write_file(part: FilePart, *, same_dialect: bool) -> dict[str, Any]:
    """Return the wire's form of a document. Raises `RequestRefused` for an id of another vendor's storage."""
    name = {"displayName": part.filename} if part.filename and same_dialect else {}
    if part.text is not None:
        return {"text": part.text}
    if part.data is not None:
        return _inline(part.data, part.media_type or _type_of(part.filename) or "application/pdf", **name)
    if part.url is not None:
        return _address(part.url, part.media_type or _type_of(part.url), **name)
    if part.file_id is not None and same_dialect:
        return _address(part.file_id, part.media_type, **name)
    raise refuse("messages", what="a file that is stored at another vendor")


def _inline(data: str, media_type: str, **more: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": data, **more}}


def _address(uri: str, media_type: str | None, **more: str) -> dict[str, Any]:
    return {"fileData": {**({"mimeType": media_type} if media_type else {}), "fileUri": uri, **more}}


def _type_of(name: str | None) -> str | None:
    """Return the media type that the name of a file, or the path of a URL, ends in."""
    path = (name or "").partition("?")[0].partition("#")[0]
    return _TYPES.get(path.rpartition(".")[2].lower())
