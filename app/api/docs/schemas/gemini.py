"""Content generation in Google's dialect. Source: Gemini API reference, generateContent, read 2026-11.

Names are shown in camel case; in snake case they are read as well.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions
from app.api.docs.schemas.gemini_parts import GeminiContent
from app.api.docs.schemas.gemini_tools import GeminiTool, GeminiToolConfig


class GeminiThinking(msgspec.Struct, kw_only=True, rename="camel"):
    """How to think."""

    thinking_level: Annotated[str | None, Meta(examples=["MINIMAL", "LOW", "MEDIUM", "HIGH"])] = None
    thinking_budget: Annotated[int | None, Meta(description="The most tokens to think; -1 leaves it open.")] = None
    include_thoughts: Annotated[bool | None, Meta(description="Whether to tell the thoughts.")] = None


class GeminiConfig(msgspec.Struct, kw_only=True, rename="camel"):
    """How to answer."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_output_tokens: Annotated[int | None, Meta(description="The most tokens to write, thoughts included.")] = None
    candidate_count: Annotated[int | None, Meta(description="How many answers to give.")] = None
    stop_sequences: Annotated[list[str] | None, Meta(description="Texts at which to stop.")] = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_mime_type: Annotated[str | None, Meta(examples=["text/plain", "application/json"])] = None
    response_schema: Annotated[
        dict[str, Any] | None, Meta(description="What the answer must obey, as OpenAPI has it.")
    ] = None
    response_json_schema: Annotated[Any, Meta(description="What the answer must obey, as JSON Schema has it.")] = None
    response_modalities: Annotated[list[str] | None, Meta(examples=[["TEXT"], ["TEXT", "IMAGE"]])] = None
    thinking_config: GeminiThinking | None = None


class GeminiSafetySetting(msgspec.Struct, kw_only=True, rename="camel"):
    """From when on to block."""

    category: str
    threshold: str


class GeminiRequest(msgspec.Struct, kw_only=True, rename="camel"):
    """A conversation to continue; the path names the model. What is unknown reaches the provider as it is."""

    contents: Annotated[list[GeminiContent], Meta(min_length=1)]
    system_instruction: Annotated[GeminiContent | None, Meta(description="What the model is told beforehand.")] = None
    tools: Annotated[list[GeminiTool] | None, Meta(description="What the model may use.")] = None
    tool_config: GeminiToolConfig | None = None
    generation_config: GeminiConfig | None = None
    safety_settings: list[GeminiSafetySetting] | None = None
    cached_content: Annotated[str | None, Meta(description="A prompt stored at the provider.")] = None
    gateway: GatewayOptions | None = None


class GeminiCandidate(msgspec.Struct, kw_only=True, rename="camel"):
    """One of the answers, or, of a stream, more of it."""

    content: GeminiContent | UnsetType = UNSET
    index: int | UnsetType = UNSET
    finish_reason: Annotated[
        str | UnsetType, Meta(description="Why it ended; absent while it goes on.", examples=["STOP", "MAX_TOKENS"])
    ] = UNSET
    finish_message: str | UnsetType = UNSET
    safety_ratings: list[dict[str, Any]] | UnsetType = UNSET
    citation_metadata: dict[str, Any] | UnsetType = UNSET
    grounding_metadata: dict[str, Any] | UnsetType = UNSET
    url_context_metadata: dict[str, Any] | UnsetType = UNSET
    avg_logprobs: float | UnsetType = UNSET
    logprobs_result: dict[str, Any] | UnsetType = UNSET


class GeminiUsage(msgspec.Struct, kw_only=True, rename="camel"):
    """Token counts as Google counts them: the prompt's include what was cached, the candidates' no thoughts."""

    prompt_token_count: int | UnsetType = UNSET
    candidates_token_count: int | UnsetType = UNSET
    total_token_count: int | UnsetType = UNSET
    cached_content_token_count: int | UnsetType = UNSET
    thoughts_token_count: int | UnsetType = UNSET
    tool_use_prompt_token_count: int | UnsetType = UNSET


class GeminiAnswer(msgspec.Struct, kw_only=True, rename="camel"):
    """An answer, or a piece of a streamed one; of a provider of the same dialect the bytes are its own."""

    candidates: list[GeminiCandidate] | UnsetType = UNSET
    prompt_feedback: Annotated[dict[str, Any] | UnsetType, Meta(description="Why the prompt was blocked.")] = UNSET
    usage_metadata: GeminiUsage | UnsetType = UNSET
    model_version: Annotated[str | UnsetType, Meta(description="As the provider calls it.")] = UNSET
    response_id: str | UnsetType = UNSET
    create_time: str | UnsetType = UNSET
    gateway: GatewayNote | UnsetType = UNSET


class GeminiErrorDetail(msgspec.Struct, kw_only=True, rename="camel"):
    """What went wrong."""

    code: Annotated[int, Meta(description="The HTTP status.")]
    message: str
    status: Annotated[str, Meta(description="The kind of error.", examples=["INVALID_ARGUMENT"])]
    details: Annotated[
        list[dict[str, Any]] | UnsetType,
        Meta(description="The gateway's own code, the path of the offending field, how long to wait."),
    ] = UNSET


class GeminiError(msgspec.Struct, kw_only=True):
    """A refusal or a failure."""

    error: GeminiErrorDetail


MODELS = (GeminiRequest, GeminiAnswer, GeminiError)
