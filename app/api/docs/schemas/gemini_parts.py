"""What a conversation is made of, in Google's dialect. Source: Gemini API reference, Content, read 2026-11."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType


class GeminiBlob(msgspec.Struct, kw_only=True, rename="camel"):
    """An image, a document or sound, in the request itself."""

    data: Annotated[str, Meta(description="The bytes, in base64.")]
    mime_type: Annotated[str | UnsetType, Meta(examples=["image/png", "application/pdf", "audio/wav"])] = UNSET


class GeminiFile(msgspec.Struct, kw_only=True, rename="camel"):
    """An image, a document or sound, somewhere else or stored at the provider."""

    file_uri: str
    mime_type: str | UnsetType = UNSET


class GeminiCall(msgspec.Struct, kw_only=True, rename="camel"):
    """The model's wish to call a function."""

    name: str
    args: Annotated[dict[str, Any] | UnsetType, Meta(description="The arguments.")] = UNSET
    id: str | UnsetType = UNSET


class GeminiResult(msgspec.Struct, kw_only=True, rename="camel"):
    """What a function came to."""

    name: str
    response: dict[str, Any] | UnsetType = UNSET
    id: Annotated[str | UnsetType, Meta(description="The call that this answers.")] = UNSET


class GeminiPart(msgspec.Struct, kw_only=True, rename="camel"):
    """One thing: text, data, a call or a result. Others than are shown pass between equals."""

    text: str | UnsetType = UNSET
    thought: Annotated[bool | UnsetType, Meta(description="Whether the text is the model's thoughts.")] = UNSET
    thought_signature: Annotated[
        str | UnsetType, Meta(description="Proves what the model thought. Give it back as it came.")
    ] = UNSET
    inline_data: GeminiBlob | UnsetType = UNSET
    file_data: GeminiFile | UnsetType = UNSET
    function_call: GeminiCall | UnsetType = UNSET
    function_response: GeminiResult | UnsetType = UNSET


class GeminiContent(msgspec.Struct, kw_only=True, rename="camel"):
    """One turn of a conversation; results of functions are the user's."""

    parts: list[GeminiPart] | UnsetType = UNSET
    role: Annotated[str | UnsetType, Meta(examples=["user", "model"])] = UNSET
