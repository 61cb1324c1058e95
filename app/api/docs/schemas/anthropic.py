"""Messages in Anthropic's dialect. Source: Anthropic's API reference, messages, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.anthropic_blocks import AnswerBlock, AnthropicTextBlock, Block, CacheControl
from app.api.docs.schemas.chat import ModelName
from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions


class AnthropicTurn(msgspec.Struct, kw_only=True):
    """One turn of a conversation; results of tools are the user's."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[str | list[Block], Meta(description="What is said.")]


class AnthropicTool(msgspec.Struct, kw_only=True):
    """A tool that the model may use. One with another `type` than `custom` is a provider's own."""

    name: str | UnsetType = UNSET
    type: str | None = None
    description: str | None = None
    input_schema: Annotated[dict[str, Any] | UnsetType, Meta(description="A JSON Schema of the arguments.")] = UNSET
    strict: Annotated[bool | None, Meta(description="Whether the arguments must obey the schema.")] = None
    cache_control: CacheControl = None


class AnthropicToolChoice(msgspec.Struct, kw_only=True):
    """Whether a tool must be used."""

    type: Annotated[str, Meta(examples=["auto", "any", "tool", "none"])]
    name: Annotated[str | UnsetType, Meta(description="With `tool`: which.")] = UNSET
    disable_parallel_tool_use: bool | None = None


class AnthropicThinking(msgspec.Struct, kw_only=True):
    """Whether to think."""

    type: Annotated[str, Meta(examples=["adaptive", "enabled", "disabled"])]
    budget_tokens: Annotated[int | None, Meta(description="With `enabled`: the most tokens to think.")] = None
    display: Annotated[
        str | None, Meta(description="Whether to tell the thoughts.", examples=["summarized", "omitted"])
    ] = None


class AnthropicFormat(msgspec.Struct, kw_only=True):
    """The form that the answer must have."""

    type: Annotated[str, Meta(examples=["json_schema"])]
    schema: Annotated[dict[str, Any] | UnsetType, Meta(description="What the answer must obey.")] = UNSET


class AnthropicOutput(msgspec.Struct, kw_only=True):
    """How to answer."""

    effort: Annotated[str | None, Meta(description="How much to think and write.", examples=["low", "high"])] = None
    format: AnthropicFormat | None = None


class AnthropicMetadata(msgspec.Struct, kw_only=True):
    """Whose request it is."""

    user_id: Annotated[str | None, Meta(description="Your own name for whoever asks.")] = None


class AnthropicCountRequest(msgspec.Struct, kw_only=True):
    """A conversation whose tokens to count."""

    model: ModelName
    messages: Annotated[list[AnthropicTurn], Meta(min_length=1, max_length=10_000)]
    system: Annotated[str | list[AnthropicTextBlock] | None, Meta(description="What the model is told beforehand.")] = (
        None
    )
    tools: Annotated[list[AnthropicTool] | None, Meta(description="What the model may use.")] = None
    tool_choice: AnthropicToolChoice | None = None
    thinking: AnthropicThinking | None = None
    output_config: AnthropicOutput | None = None
    cache_control: CacheControl = None
    gateway: GatewayOptions | None = None


class AnthropicRequest(AnthropicCountRequest, kw_only=True):
    """A conversation to continue. Ranges are the provider's to refuse; what is unknown reaches it as it is."""

    max_tokens: Annotated[
        int | None, Meta(description="The most tokens to write, thoughts included; Anthropic itself demands it.")
    ] = None
    stream: Annotated[bool | None, Meta(description="Whether to answer piece by piece.")] = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: Annotated[list[str] | None, Meta(description="Texts at which to stop.")] = None
    metadata: AnthropicMetadata | None = None
    service_tier: Annotated[str | None, Meta(examples=["auto", "standard_only"])] = None


class AnthropicUsage(msgspec.Struct, kw_only=True):
    """Token counts as Anthropic counts them: the input's are without what was read from or written to the cache."""

    input_tokens: int | None = None
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: Annotated[dict[str, Any] | None, Meta(description="Of which: `thinking_tokens`.")] = None


StopReason = Annotated[
    str | None,
    Meta(
        description="Why it ended; null while it goes on.",
        examples=["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"],
    ),
]


class AnthropicMessage(msgspec.Struct, kw_only=True):
    """An answer; of a provider of the same dialect the bytes are its own."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: Annotated[str, Meta(description="As the provider calls it.")]
    content: list[AnswerBlock]
    stop_reason: StopReason
    stop_sequence: Annotated[str | None, Meta(description="The text at which it stopped.")] = None
    stop_details: Annotated[dict[str, Any] | None, Meta(description="What was refused.")] = None
    usage: AnthropicUsage
    gateway: GatewayNote | UnsetType = UNSET


class AnthropicCount(msgspec.Struct, kw_only=True):
    """How many tokens the conversation is; estimated where the provider cannot count."""

    input_tokens: int
    gateway: GatewayNote | UnsetType = UNSET


class AnthropicErrorCause(msgspec.Struct, kw_only=True):
    """What went wrong exactly."""

    error_code: Annotated[str, Meta(description="A word for programs.", examples=["model_not_found"])]


class AnthropicErrorDetail(msgspec.Struct, kw_only=True):
    """What went wrong."""

    type: Annotated[str, Meta(description="The kind of error.", examples=["invalid_request_error"])]
    message: str
    details: AnthropicErrorCause | UnsetType = UNSET


class AnthropicError(msgspec.Struct, kw_only=True):
    """A refusal or a failure; inside a stream it is the data of an event `error`, behind which nothing follows."""

    type: Literal["error"]
    error: AnthropicErrorDetail
    request_id: Annotated[str | None, Meta(description="As in `request-id`.")] = None


MODELS = (AnthropicRequest, AnthropicCountRequest, AnthropicMessage, AnthropicCount, AnthropicError)
