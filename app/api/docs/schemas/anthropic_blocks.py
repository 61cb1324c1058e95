"""The blocks of messages in Anthropic's dialect. Source: Anthropic's API reference, messages, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.api.docs.schemas.references import a, any_of

CacheControl = Annotated[
    dict[str, Any] | None,
    Meta(description="Marks the end of what to cache.", examples=[{"type": "ephemeral"}]),
]


class AnthropicTextBlock(msgspec.Struct, kw_only=True):
    """Text."""

    type: Literal["text"]
    text: str
    citations: Annotated[list[dict[str, Any]] | None, Meta(description="What the text cites.")] = None
    cache_control: CacheControl = None


class AnthropicSource(msgspec.Struct, kw_only=True):
    """Where an image or a document is: in the request itself, somewhere else, or stored at the provider."""

    type: Annotated[str, Meta(examples=["base64", "url", "text", "file"])]
    media_type: Annotated[str | None, Meta(examples=["image/png", "application/pdf", "text/plain"])] = None
    data: Annotated[str | None, Meta(description="With `base64` or `text`: the bytes, or the text.")] = None
    url: Annotated[str | None, Meta(description="With `url`: an http or https URL with a public host.")] = None
    file_id: Annotated[str | None, Meta(description="With `file`.")] = None


class AnthropicImageBlock(msgspec.Struct, kw_only=True):
    """An image to look at."""

    type: Literal["image"]
    source: AnthropicSource
    cache_control: CacheControl = None


class AnthropicDocumentBlock(msgspec.Struct, kw_only=True):
    """A document to read."""

    type: Literal["document"]
    source: AnthropicSource
    title: str | None = None
    context: str | None = None
    citations: Annotated[dict[str, Any] | None, Meta(description="Whether to cite it.")] = None
    cache_control: CacheControl = None


class AnthropicThinkingBlock(msgspec.Struct, kw_only=True):
    """What the model thought. Give it back as it came."""

    type: Literal["thinking"]
    thinking: str
    signature: Annotated[str, Meta(description="Proves to the provider that the thoughts are the model's.")]


class AnthropicRedactedBlock(msgspec.Struct, kw_only=True):
    """What the model thought, for the provider alone. Give it back as it came."""

    type: Literal["redacted_thinking"]
    data: str


class AnthropicToolUseBlock(msgspec.Struct, kw_only=True):
    """The model's wish to use a tool."""

    type: Literal["tool_use"]
    id: Annotated[str, Meta(description="What the tool's result must name.")]
    name: str
    input: Annotated[dict[str, Any], Meta(description="The arguments.")]
    cache_control: CacheControl = None


class AnthropicOtherBlock(msgspec.Struct, kw_only=True):
    """A block that the gateway does not know: it reaches a provider of the same dialect as it is."""

    type: str


class AnthropicToolResultBlock(msgspec.Struct, kw_only=True):
    """What a tool came to."""

    type: Literal["tool_result"]
    tool_use_id: Annotated[str, Meta(description="The wish that this answers.")]
    content: Annotated[
        str
        | list[
            Annotated[
                Any,
                any_of("AnthropicTextBlock", "AnthropicImageBlock", "AnthropicDocumentBlock", "AnthropicOtherBlock"),
            ]
        ]
        | None,
        Meta(description="Text, images or documents."),
    ] = None
    is_error: bool | None = None
    cache_control: CacheControl = None


Block = Annotated[
    Any,
    any_of(
        *("AnthropicTextBlock", "AnthropicImageBlock", "AnthropicDocumentBlock", "AnthropicThinkingBlock"),
        *("AnthropicRedactedBlock", "AnthropicToolUseBlock", "AnthropicToolResultBlock", "AnthropicOtherBlock"),
    ),
]
AnswerBlock = Annotated[Any, a("AnthropicContentBlock")]
ANSWER_BLOCKS = {
    "text": AnthropicTextBlock,
    "thinking": AnthropicThinkingBlock,
    "redacted_thinking": AnthropicRedactedBlock,
    "tool_use": AnthropicToolUseBlock,
}
"""What a model writes, by its `type`."""

MODELS = (
    *(ANSWER_BLOCKS.values()),
    *(AnthropicImageBlock, AnthropicDocumentBlock, AnthropicToolResultBlock, AnthropicOtherBlock),
)
