"""The gateway's own chat dialect: what it writes is all its own, so other fields would be a defect."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.chat import ChatFields
from app.api.docs.schemas.gateway import ErrorDetail, GatewayNote, TokenUsage
from app.api.docs.schemas.messages import ExtraContent, ReasoningDetail, ToolCall

Cost = Annotated[str | None, Meta(description="In USD; null for a model without a price.", examples=["0.000150000"])]


class LlmChatRequest(ChatFields, kw_only=True):
    """A conversation to continue, with one model."""


class LlmOutput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the model says."""

    role: Literal["assistant"]
    content: str | None
    tool_calls: list[ToolCall]
    finish_reason: Annotated[str, Meta(examples=["stop", "length", "tool_calls", "content_filter"])]
    reasoning: Annotated[str | UnsetType, Meta(description="The model's thoughts, if it shows them.")] = UNSET
    reasoning_details: list[ReasoningDetail] | UnsetType = UNSET
    refusal: str | UnsetType = UNSET
    annotations: Annotated[list[dict[str, Any]] | UnsetType, Meta(description="What the text cites.")] = UNSET
    extra_content: ExtraContent = UNSET


class LlmCache(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the cache had to do with it."""

    status: Literal["miss", "exact", "semantic", "coalesced", "bypass", "off"]
    similarity: float | None
    age_s: float | None


class LlmAttempt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One call to a provider."""

    provider: str
    model: Annotated[str, Meta(description="The public name.")]
    outcome: Annotated[
        Literal["ok", "refused", "rate_limited", "error", "timeout", "interrupted", "cancelled"] | None,
        Meta(description="How it ended."),
    ]
    status: Annotated[int | None, Meta(description="The provider's HTTP status, if it answered.")]
    ttft_ms: Annotated[int | None, Meta(description="Until the first content.")]
    duration_ms: int
    usage: TokenUsage
    cost: Cost


class LlmCandidate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One answer of several."""

    model: str
    output: LlmOutput
    score: float | None


class LlmChatAnswer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A finished answer, and what happened."""

    id: Annotated[str, Meta(description="The request's id, as in `x-request-id`.")]
    model: Annotated[str, Meta(description="The public name of the model that served.")]
    provider: str
    output: LlmOutput
    usage: TokenUsage
    cost: Cost
    cache: LlmCache
    attempts: list[LlmAttempt]
    candidates: Annotated[list[LlmCandidate], Meta(description="Empty for one model.")]
    gateway: GatewayNote | UnsetType = UNSET


class LlmStarted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The provider took the request."""

    type: Literal["started"]
    id: str
    model: str
    provider: str


class LlmText(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """More text."""

    type: Literal["text"]
    text: str


class LlmReasoning(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """More thoughts."""

    type: Literal["reasoning"]
    text: str


class LlmToolCall(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """More of tool call number `index`; its `id` and `name` come first."""

    type: Literal["tool_call"]
    index: int
    arguments: str
    id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET


class LlmFinished(LlmChatAnswer, kw_only=True, forbid_unknown_fields=True):
    """The whole answer, as without `stream`. Then comes `[DONE]`."""

    type: Literal["finished"]


class LlmFailed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The answer broke; nothing follows."""

    type: Literal["error"]
    error: ErrorDetail


EVENTS = {
    "started": LlmStarted,
    "text": LlmText,
    "reasoning": LlmReasoning,
    "tool_call": LlmToolCall,
    "finished": LlmFinished,
    "error": LlmFailed,
}
"""The events of a streamed answer by their `type`."""

MODELS = (LlmChatRequest, LlmChatAnswer, *EVENTS.values())
