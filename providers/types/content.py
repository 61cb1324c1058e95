"""The parts of a message.

A `signature` proves a part to the vendor that made it, and only to that vendor: `providers.signatures` says its form.
"""

from typing import Any

import msgspec


class _Part(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """A piece of a message. `extras` holds fields of the dialect it came from that have no canonical name."""

    extras: dict[str, Any] = {}


class TextPart(_Part, frozen=True, kw_only=True, tag="text", omit_defaults=True):
    """Plain text. `annotations` are citations in the shape of OpenAI's chat completions (`url_citation`)."""

    text: str
    annotations: list[Any] = []
    signature: str | None = None


class ImagePart(_Part, frozen=True, kw_only=True, tag="image", omit_defaults=True):
    """An image: exactly one of `url` (http or https) and `data` (base64, with its `media_type`)."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None


class AudioPart(_Part, frozen=True, kw_only=True, tag="audio", omit_defaults=True):
    """Recorded sound: base64 `data` in `format` (`wav`, `mp3`, …)."""

    data: str
    format: str


class FilePart(_Part, frozen=True, kw_only=True, tag="file", omit_defaults=True):
    """A document: one of `url`, base64 `data` (with its `media_type`), plain `text`, and a vendor's `file_id`."""

    url: str | None = None
    data: str | None = None
    text: str | None = None
    file_id: str | None = None
    media_type: str | None = None
    filename: str | None = None


class ToolCallPart(_Part, frozen=True, kw_only=True, tag="tool_call", omit_defaults=True):
    """The model's wish to call a function; `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str = "{}"
    signature: str | None = None


class ToolResultPart(_Part, frozen=True, kw_only=True, tag="tool_result", omit_defaults=True):
    """What the function answered to the call `id`; `content` holds text, image and file parts."""

    id: str
    content: list["TextPart | ImagePart | FilePart | OpaquePart"]
    is_error: bool = False
    name: str | None = None


class ThinkingPart(_Part, frozen=True, kw_only=True, tag="thinking", omit_defaults=True):
    """The model's reasoning. Of `redacted` reasoning only the signature is there: its text is encrypted in it."""

    text: str = ""
    signature: str | None = None
    redacted: bool = False


class RefusalPart(_Part, frozen=True, kw_only=True, tag="refusal", omit_defaults=True):
    """The model's refusal to answer, in its own words."""

    text: str


class OpaquePart(_Part, frozen=True, kw_only=True, tag="opaque", omit_defaults=True):
    """A part that only `dialect` understands; `value` is its decoded JSON. Other dialects must refuse it by name."""

    dialect: str
    value: Any


Part = (
    TextPart
    | ImagePart
    | AudioPart
    | FilePart
    | ToolCallPart
    | ToolResultPart
    | ThinkingPart
    | RefusalPart
    | OpaquePart
)
