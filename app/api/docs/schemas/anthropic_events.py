"""The events of a streamed message. Source: Anthropic's documentation of streaming, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.anthropic import AnthropicError, AnthropicMessage, AnthropicUsage, StopReason
from app.api.docs.schemas.anthropic_blocks import AnswerBlock
from app.api.docs.schemas.gateway import GatewayNote
from app.api.docs.schemas.references import a


class AnthropicMessageStart(msgspec.Struct, kw_only=True):
    """The message begins, with no content yet."""

    type: Literal["message_start"]
    message: AnthropicMessage


class AnthropicBlockStart(msgspec.Struct, kw_only=True):
    """A block begins, mostly empty."""

    type: Literal["content_block_start"]
    index: Annotated[int, Meta(description="The block's place in the content.")]
    content_block: AnswerBlock


class AnthropicTextDelta(msgspec.Struct, kw_only=True):
    """More text."""

    type: Literal["text_delta"]
    text: str


class AnthropicThinkingDelta(msgspec.Struct, kw_only=True):
    """More thoughts."""

    type: Literal["thinking_delta"]
    thinking: str


class AnthropicSignatureDelta(msgspec.Struct, kw_only=True):
    """The signature of the thoughts before it."""

    type: Literal["signature_delta"]
    signature: str


class AnthropicInputDelta(msgspec.Struct, kw_only=True):
    """More of what a tool is called with."""

    type: Literal["input_json_delta"]
    partial_json: str


class AnthropicCitationDelta(msgspec.Struct, kw_only=True):
    """The text cites something."""

    type: Literal["citations_delta"]
    citation: dict[str, Any]


DELTAS = {
    "text_delta": AnthropicTextDelta,
    "thinking_delta": AnthropicThinkingDelta,
    "signature_delta": AnthropicSignatureDelta,
    "input_json_delta": AnthropicInputDelta,
    "citations_delta": AnthropicCitationDelta,
}
"""What a block grows by, by its `type`."""


class AnthropicBlockDelta(msgspec.Struct, kw_only=True):
    """More of a block."""

    type: Literal["content_block_delta"]
    index: int
    delta: Annotated[Any, a("AnthropicDelta")]


class AnthropicBlockStop(msgspec.Struct, kw_only=True):
    """A block is complete."""

    type: Literal["content_block_stop"]
    index: int


class AnthropicEnding(msgspec.Struct, kw_only=True):
    """Why the message ends."""

    stop_reason: StopReason
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None


class AnthropicMessageDelta(msgspec.Struct, kw_only=True):
    """Why the message ends, and what it came to."""

    type: Literal["message_delta"]
    delta: AnthropicEnding
    usage: AnthropicUsage


class AnthropicMessageStop(msgspec.Struct, kw_only=True):
    """The message is complete. It ends the stream; without it the answer was cut."""

    type: Literal["message_stop"]
    gateway: GatewayNote | UnsetType = UNSET


class AnthropicPing(msgspec.Struct, kw_only=True):
    """Nothing has happened."""

    type: Literal["ping"]


EVENTS = {
    "message_start": AnthropicMessageStart,
    "content_block_start": AnthropicBlockStart,
    "content_block_delta": AnthropicBlockDelta,
    "content_block_stop": AnthropicBlockStop,
    "message_delta": AnthropicMessageDelta,
    "message_stop": AnthropicMessageStop,
    "ping": AnthropicPing,
    "error": AnthropicError,
}
"""The events of a streamed message by their `type`."""

MODELS = (*EVENTS.values(), *DELTAS.values())
