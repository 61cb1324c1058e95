"""Chat completions in OpenAI's dialect. Source: OpenAI's API reference, chat, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions
from app.api.docs.schemas.messages import ChatMessage, ExtraContent, ReasoningDetail, ResponseFormat, Tool, ToolCall

ModelName = Annotated[
    str,
    Meta(
        description="A public name of `GET /v1/models`, or `provider/model`.",
        min_length=1,
        max_length=512,
        examples=["gpt-4o-mini"],
    ),
]

UserName = Annotated[str, Meta(max_length=512)]


class ChatFields(msgspec.Struct, kw_only=True):
    """What every chat request may say. Ranges are the provider's to refuse; what is unknown reaches it as it is."""

    model: ModelName
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=10_000)]
    stream: Annotated[bool | None, Meta(description="Whether to answer piece by piece.")] = None
    max_tokens: Annotated[int | None, Meta(description="The most tokens to write.")] = None
    temperature: float | None = None
    top_p: float | None = None
    stop: Annotated[str | list[str] | None, Meta(description="Texts at which to stop.")] = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: Annotated[str | None, Meta(examples=["low", "medium", "high"])] = None
    tools: Annotated[list[Tool] | None, Meta(description="What the model may use.")] = None
    tool_choice: Annotated[
        Literal["auto", "none", "required"] | dict[str, Any] | None,
        Meta(description="Whether it must, or an object that names the tool."),
    ] = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    user: Annotated[UserName | None, Meta(description="Your own name for whoever asks.")] = None
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | None = None
    gateway: GatewayOptions | None = None


class StreamOptions(msgspec.Struct, kw_only=True):
    """How to stream."""

    include_usage: Annotated[bool | None, Meta(description="Whether a last chunk says the token counts.")] = None


class ChatCompletionRequest(ChatFields, kw_only=True):
    """A conversation to continue."""

    max_completion_tokens: Annotated[int | None, Meta(description="The newer name of `max_tokens`.")] = None
    n: Annotated[int | None, Meta(description="How many answers to give.")] = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stream_options: StreamOptions | None = None


class AnswerMessage(msgspec.Struct, kw_only=True):
    """What the model says."""

    role: str
    content: str | None = None
    refusal: str | None = None
    reasoning_content: Annotated[str | None, Meta(description="The model's thoughts, if it shows them.")] = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[ToolCall] | None = None
    annotations: Annotated[list[dict[str, Any]] | None, Meta(description="What the text cites.")] = None
    extra_content: ExtraContent = UNSET


class ChatChoice(msgspec.Struct, kw_only=True):
    """One of the answers."""

    index: int
    message: AnswerMessage
    finish_reason: Annotated[
        str | None, Meta(description="Why it ended.", examples=["stop", "length", "tool_calls", "content_filter"])
    ] = None
    logprobs: dict[str, Any] | None = None


class ChatUsage(msgspec.Struct, kw_only=True):
    """Token counts as OpenAI counts them: the prompt's include what was cached."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: Annotated[dict[str, Any] | None, Meta(description="Of which: `cached_tokens`.")] = None
    completion_tokens_details: Annotated[dict[str, Any] | None, Meta(description="Of which: `reasoning_tokens`.")] = (
        None
    )


class ChatCompletion(msgspec.Struct, kw_only=True):
    """A finished answer; of a provider of the same dialect the bytes are its own."""

    id: str
    object: Literal["chat.completion"]
    created: Annotated[int, Meta(description="Seconds since the Unix epoch.")]
    model: Annotated[str, Meta(description="As the provider calls it.")]
    choices: list[ChatChoice]
    usage: ChatUsage | None = None
    gateway: GatewayNote | UnsetType = UNSET


class FunctionDelta(msgspec.Struct, kw_only=True):
    """More of a call of a function."""

    name: str | None = None
    arguments: str | None = None


class CustomDelta(msgspec.Struct, kw_only=True):
    """More of a use of a tool that takes free text."""

    name: str | None = None
    input: str | None = None


class ToolCallDelta(msgspec.Struct, kw_only=True):
    """More of tool call number `index`; its `id` and name come first."""

    index: int
    id: str | None = None
    type: str | None = None
    function: FunctionDelta | UnsetType = UNSET
    custom: CustomDelta | UnsetType = UNSET
    extra_content: ExtraContent = UNSET


class ChatDelta(msgspec.Struct, kw_only=True):
    """What a chunk adds to its choice."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[ToolCallDelta] | None = None
    annotations: list[dict[str, Any]] | None = None
    extra_content: ExtraContent = UNSET


class ChunkChoice(msgspec.Struct, kw_only=True):
    """More of one of the answers."""

    index: int
    delta: ChatDelta
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatCompletionChunk(msgspec.Struct, kw_only=True):
    """The data of one event of a streamed answer. The last event is `[DONE]`; without it the answer was cut."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: ChatUsage | None = None
    gateway: GatewayNote | UnsetType = UNSET


MODELS = (ChatCompletionRequest, ChatCompletion, ChatCompletionChunk)
