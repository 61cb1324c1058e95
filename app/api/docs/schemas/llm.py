"""The gateway's own chat dialect: what it writes is all its own, so other fields would be a defect."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.chat import ChatFields, ModelName
from app.api.docs.schemas.gateway import ErrorDetail, GatewayNote, TokenUsage
from app.api.docs.schemas.messages import ExtraContent, ReasoningDetail, ToolCall
from app.fanout.spec import MOST_LEGS, STRATEGY_NAMES
from app.settings.policy import Normalize

Cost = Annotated[str | None, Meta(description="In USD; null for a model without a price.", examples=["0.000150000"])]


_Seconds = Annotated[float, Meta(gt=0, le=86_400)]
_Count = Annotated[int, Meta(ge=1, le=MOST_LEGS)]


class LlmCheck(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an answer must pass: all that is named here."""

    json_schema: Annotated[
        dict[str, Any] | bool | None, Meta(description="Of the answer as JSON, or of the tool's arguments with `tool`.")
    ] = None
    regex: Annotated[str | None, Meta(description="Found somewhere in the answer.")] = None
    tool: Annotated[str | None, Meta(description="The answer calls this tool.")] = None


class LlmFanout(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Several models that answer together. Each is a leg; what all of them cost is reserved before any is asked."""

    strategy: Annotated[
        str,
        Meta(
            description="How one answer is made of several; an operator may install more than these.",
            max_length=256,
            examples=list(STRATEGY_NAMES),
        ),
    ]
    models: Annotated[
        list[ModelName],
        Meta(
            description="The legs, in order; one may be named several times. No ensembles.",
            min_length=1,
            max_length=MOST_LEGS,
        ),
    ]
    judge: Annotated[ModelName | None, Meta(description="Who compares the answers, for `best_of`.")] = None
    fuser: Annotated[ModelName | None, Meta(description="Who writes one answer from several, for `mixture`.")] = None
    rubric: Annotated[
        str | None, Meta(description="What the judge or the fuser looks for, in at most 16,384 characters.")
    ] = None
    check: Annotated[LlmCheck | None, Meta(description="For `first_valid` and `cascade`.")] = None
    quorum: Annotated[
        _Count | None,
        Meta(description="How many equal answers decide; for `best_of` and `mixture`, how many answers are enough."),
    ] = None
    min_success: Annotated[
        _Count | None,
        Meta(description="How many legs must answer, for `best_of`, `mixture` and `compare`; others take 1 only."),
    ] = None
    deadline_s: Annotated[
        _Seconds | None,
        Meta(description="When legs that have not answered are cut off. A judge or a fuser has as long again."),
    ] = None
    max_cost: Annotated[
        str | None,
        Meta(description="The most that all may cost together, in USD; else a 400 beforehand.", examples=["0.05"]),
    ] = None
    return_candidates: Annotated[bool | None, Meta(description="Whether to show all answers in `candidates`.")] = None
    normalize: Annotated[Normalize | None, Meta(description="Which answers are equal, for `quorum`.")] = None
    after_s: Annotated[_Seconds | None, Meta(description="When `hedge` asks the next leg; absent: as usual.")] = None
    min_logprob: Annotated[
        Annotated[float, Meta(le=0)] | None,
        Meta(description="The least mean log-probability of an answer that `cascade` takes."),
    ] = None
    scorer: Annotated[str | None, Meta(description="An installed scorer in place of the judge.")] = None


_MaybeModel = Annotated[
    ModelName | UnsetType, Meta(description="May be absent beside `fanout`: its first model then stands for all.")
]


class LlmChatRequest(ChatFields, kw_only=True):
    """A conversation to continue, with one model or several."""

    model: _MaybeModel = UNSET  # type: ignore[assignment] # other dialects demand it always
    fanout: Annotated[LlmFanout | None, Meta(description="Several models in place of the one.")] = None


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
    score: Annotated[float | None, Meta(description="The judge's, from 0 to 1; null without one.")]


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


class LlmLeg(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What has become of one model of several, the first being number 0; said once the answer has been chosen."""

    type: Literal["leg"]
    index: Annotated[int, Meta(ge=0)]
    model: str
    outcome: Literal["won", "lost", "failed"]


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
    "leg": LlmLeg,
    "finished": LlmFinished,
    "error": LlmFailed,
}
"""The events of a streamed answer by their `type`."""

MODELS = (LlmChatRequest, LlmFanout, LlmCheck, LlmChatAnswer, *EVENTS.values())
