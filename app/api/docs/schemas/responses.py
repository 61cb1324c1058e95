"""Responses in OpenAI's dialect. Source: OpenAI's API reference, responses, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.chat import ModelName, UserName
from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions
from app.api.docs.schemas.response_items import InputItem, OutputItem, Status


class ResponseReasoningOptions(msgspec.Struct, kw_only=True):
    """How to think."""

    effort: Annotated[str | None, Meta(examples=["none", "minimal", "low", "medium", "high"])] = None
    summary: Annotated[
        str | None, Meta(description="Whether to tell the thoughts.", examples=["auto", "concise", "detailed"])
    ] = None


class ResponseTextFormat(msgspec.Struct, kw_only=True):
    """The form that the answer must have."""

    type: Annotated[str, Meta(examples=["text", "json_object", "json_schema"])]
    name: str | UnsetType = UNSET
    schema: Annotated[dict[str, Any] | None, Meta(description="With `json_schema`: what the answer must obey.")] = None
    description: str | None = None
    strict: bool | None = None


class ResponseTextOptions(msgspec.Struct, kw_only=True):
    """How to write."""

    format: ResponseTextFormat | None = None
    verbosity: Annotated[str | None, Meta(examples=["low", "medium", "high"])] = None


class ResponseTool(msgspec.Struct, kw_only=True):
    """A tool that the model may use. Those of other types than `function` and `custom` are a provider's own."""

    type: Annotated[str, Meta(examples=["function", "custom"])]
    name: str | UnsetType = UNSET
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, Meta(description="A JSON Schema of a function's arguments.")] = None
    strict: Annotated[bool | None, Meta(description="Whether the arguments must obey the schema.")] = None


class ResponseStreamOptions(msgspec.Struct, kw_only=True):
    """How to stream."""

    include_obfuscation: bool | None = None


class ResponseRequest(msgspec.Struct, kw_only=True):
    """What to answer. Ranges are the provider's to refuse; what is unknown reaches it as it is."""

    model: ModelName
    input: Annotated[
        str | list[InputItem] | None, Meta(description="A user's text, or a conversation.", examples=["Hello"])
    ] = None
    instructions: Annotated[str | None, Meta(description="What the model is told beforehand.")] = None
    previous_response_id: Annotated[
        str | None, Meta(description="The response to go on from; of this organisation, and stored.")
    ] = None
    store: Annotated[
        bool | None, Meta(description="Whether to keep the response for 30 days, which is so unless this is `false`.")
    ] = None
    stream: Annotated[bool | None, Meta(description="Whether to answer piece by piece.")] = None
    max_output_tokens: Annotated[int | None, Meta(description="The most tokens to write, thoughts included.")] = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    reasoning: ResponseReasoningOptions | None = None
    text: ResponseTextOptions | None = None
    tools: Annotated[list[ResponseTool] | None, Meta(description="What the model may use.")] = None
    tool_choice: Annotated[
        Literal["auto", "none", "required"] | dict[str, Any] | None,
        Meta(description="Whether it must, or an object that names the tool."),
    ] = None
    parallel_tool_calls: bool | None = None
    include: Annotated[
        list[str] | None, Meta(description="What else to tell.", examples=[["reasoning.encrypted_content"]])
    ] = None
    truncation: Annotated[str | None, Meta(examples=["auto", "disabled"])] = None
    stream_options: ResponseStreamOptions | None = None
    user: UserName | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | None = None
    gateway: GatewayOptions | None = None


class ResponseError(msgspec.Struct, kw_only=True):
    """What went wrong."""

    code: str | None
    message: str


class ResponseIncomplete(msgspec.Struct, kw_only=True):
    """Why an answer is not complete."""

    reason: Annotated[str | None, Meta(examples=["max_output_tokens", "content_filter"])] = None


class ResponseUsage(msgspec.Struct, kw_only=True):
    """Token counts as OpenAI counts them: the input's include what was cached."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: Annotated[
        dict[str, Any] | None, Meta(description="Of which: `cached_tokens`, `cache_write_tokens`.")
    ] = None
    output_tokens_details: Annotated[dict[str, Any] | None, Meta(description="Of which: `reasoning_tokens`.")] = None


class Response(msgspec.Struct, kw_only=True):
    """An answer; of a provider of the same dialect the bytes are its own."""

    id: Annotated[str, Meta(description="What later requests name to go on from here.")]
    object: Literal["response"]
    created_at: Annotated[float, Meta(description="Seconds since the Unix epoch.")]
    model: Annotated[str, Meta(description="As the provider calls it.")]
    output: list[OutputItem]
    status: Status = None
    error: ResponseError | None = None
    incomplete_details: ResponseIncomplete | None = None
    usage: ResponseUsage | None = None
    instructions: Annotated[str | list[InputItem] | None, Meta(description="As in the request, like the rest.")] = None
    previous_response_id: str | None = None
    store: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    reasoning: ResponseReasoningOptions | None = None
    text: ResponseTextOptions | None = None
    tools: list[ResponseTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    truncation: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    gateway: GatewayNote | UnsetType = UNSET


class ResponseDeleted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The response is gone."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


MODELS = (ResponseRequest, Response, ResponseDeleted)
