"""Legacy text completions in OpenAI's dialect. Source: OpenAI's API reference, completions, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.chat import ChatUsage, ModelName, StreamOptions, UserName
from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions
from app.api.docs.schemas.references import TEXT_OR_TOKENS


class CompletionRequest(msgspec.Struct, kw_only=True):
    """A text to go on with. Ranges are the provider's to refuse; what is unknown reaches it as it is."""

    model: ModelName
    prompt: Annotated[
        Any,
        Meta(
            description=(
                "The text. Several, or token ids, only a provider that serves completions itself takes: elsewhere the "
                "prompt becomes a chat of one message."
            ),
            examples=["Once upon a time"],
            extra_json_schema={"anyOf": [*TEXT_OR_TOKENS, {"type": "null"}]},
        ),
    ] = None
    suffix: Annotated[str | None, Meta(description="What is to come behind the completion.")] = None
    max_tokens: Annotated[int | None, Meta(description="The most tokens to write.")] = None
    temperature: float | None = None
    top_p: float | None = None
    n: Annotated[int | None, Meta(description="How many answers to give.")] = None
    best_of: Annotated[int | None, Meta(description="How many answers to choose the best from.")] = None
    echo: Annotated[bool | None, Meta(description="Whether the answer begins with the prompt.")] = None
    logprobs: Annotated[int | bool | None, Meta(description="How many likely tokens to tell at each place.")] = None
    stop: Annotated[str | list[str] | None, Meta(description="Texts at which to stop.")] = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    stream: Annotated[bool | None, Meta(description="Whether to answer piece by piece.")] = None
    stream_options: StreamOptions | None = None
    user: Annotated[UserName | None, Meta(description="Your own name for whoever asks.")] = None
    metadata: Annotated[dict[str, str], Meta(max_length=16)] | None = None
    gateway: GatewayOptions | None = None


class TextLogprobs(msgspec.Struct, kw_only=True):
    """How likely each token was: four lists of one length."""

    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float | None] | None] | None = None
    text_offset: Annotated[list[int] | None, Meta(description="Where each token begins, in characters.")] = None


class TextChoice(msgspec.Struct, kw_only=True):
    """One of the answers, or, of a stream, more of it."""

    text: str
    index: int
    logprobs: TextLogprobs | None = None
    finish_reason: Annotated[
        str | None,
        Meta(description="Why it ended; null while it goes on.", examples=["stop", "length", "content_filter"]),
    ] = None


class TextCompletion(msgspec.Struct, kw_only=True):
    """An answer, or the data of one event of a streamed one, whose last event is `[DONE]`."""

    id: str
    object: Literal["text_completion"]
    created: Annotated[int, Meta(description="Seconds since the Unix epoch.")]
    model: Annotated[str, Meta(description="As the provider calls it.")]
    choices: list[TextChoice]
    usage: ChatUsage | None = None
    gateway: GatewayNote | UnsetType = UNSET


MODELS = (CompletionRequest, TextCompletion)
