"""What a conversation is made of, in OpenAI's dialect. Source: OpenAI's API reference, chat, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.references import any_of


class TextContent(msgspec.Struct, kw_only=True):
    """Text."""

    type: Literal["text"]
    text: str


class ImageUrl(msgspec.Struct, kw_only=True):
    """Where an image is. The gateway never fetches it."""

    url: Annotated[str, Meta(description="An http or https URL with a public host, or a data: URL.")]
    detail: Annotated[str | None, Meta(description="How closely to look.", examples=["low", "high", "auto"])] = None


class ImageContent(msgspec.Struct, kw_only=True):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(msgspec.Struct, kw_only=True):
    """Recorded sound."""

    data: Annotated[str, Meta(description="The sound, in base64.")]
    format: Annotated[str, Meta(examples=["wav", "mp3"])]


class AudioContent(msgspec.Struct, kw_only=True):
    """Sound to listen to."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FileReference(msgspec.Struct, kw_only=True):
    """A document, in the request itself or stored at the provider."""

    file_data: Annotated[str | None, Meta(description="The document as a data: URL.")] = None
    file_id: str | None = None
    filename: str | None = None


class FileContent(msgspec.Struct, kw_only=True):
    """A document to read."""

    type: Literal["file"]
    file: FileReference


class OtherContent(msgspec.Struct, kw_only=True):
    """A part that the gateway does not know: it reaches a provider of the same dialect as it is."""

    type: str


ContentPart = Annotated[Any, any_of("TextContent", "ImageContent", "AudioContent", "FileContent", "OtherContent")]


class CalledFunction(msgspec.Struct, kw_only=True):
    """The function that the model wants called."""

    name: str
    arguments: Annotated[str, Meta(description="JSON, exactly as the model wrote it.")]


class CalledCustom(msgspec.Struct, kw_only=True):
    """The tool of free text that the model wants used."""

    name: str
    input: str


ExtraContent = Annotated[
    dict[str, Any] | UnsetType,
    Meta(description="Proves to Google what the model thought. Give it back as it came."),
]


class ToolCall(msgspec.Struct, kw_only=True):
    """The model's wish to use a tool: a function, or one that takes free text."""

    id: Annotated[str, Meta(description="What the tool's result must name.")]
    type: Annotated[str, Meta(examples=["function", "custom"])]
    function: CalledFunction | UnsetType = UNSET
    custom: CalledCustom | UnsetType = UNSET
    extra_content: ExtraContent = UNSET


class ReasoningDetail(msgspec.Struct, kw_only=True):
    """A block of the model's thoughts that its vendor signed. Give it back as it came."""

    type: Annotated[str, Meta(examples=["reasoning.text", "reasoning.summary", "reasoning.encrypted"])]
    format: Annotated[str | None, Meta(description="Who signed it.")] = None
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    index: int | None = None


class ChatMessage(msgspec.Struct, kw_only=True):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[
        str | list[ContentPart] | None, Meta(description="What is said; a system, developer or user says something.")
    ] = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall] | None, Meta(description="The assistant's, as it made them.")] = None
    tool_call_id: Annotated[str | None, Meta(description="With role `tool`: the call that this answers.")] = None
    reasoning_details: Annotated[list[ReasoningDetail] | None, Meta(description="The assistant's, as they came.")] = (
        None
    )


class FunctionDeclaration(msgspec.Struct, kw_only=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, Meta(description="A JSON Schema of the arguments.")] = None
    strict: Annotated[bool | None, Meta(description="Whether the arguments must obey the schema.")] = None


class CustomDeclaration(msgspec.Struct, kw_only=True):
    """A tool that takes free text; for models that know none, a function of one text stands for it."""

    name: str
    description: str | None = None
    format: Annotated[dict[str, Any] | None, Meta(description="The grammar of the text.")] = None


class Tool(msgspec.Struct, kw_only=True):
    """A tool that the model may use; one of another type than shown is a provider's own."""

    type: Annotated[str, Meta(examples=["function", "custom"])]
    function: FunctionDeclaration | UnsetType = UNSET
    custom: CustomDeclaration | UnsetType = UNSET


class JsonSchemaFormat(msgspec.Struct, kw_only=True):
    """The schema that the answer must obey."""

    name: str | UnsetType = UNSET
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, kw_only=True):
    """The form that the answer must have."""

    type: Annotated[str, Meta(examples=["text", "json_object", "json_schema"])]
    json_schema: JsonSchemaFormat | UnsetType = UNSET


MODELS = (TextContent, ImageContent, AudioContent, FileContent, OtherContent)
"""The shapes that others name without holding them."""
