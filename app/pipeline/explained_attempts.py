"""The calls that were made for a request, and what each cost, as data. Law: what is charged can be reckoned again."""

from typing import Annotated

import msgspec
from msgspec import Meta

from app.domain.prices.rules import ChargeKind
from app.domain.usage.schemas import LegRole, UsageSource
from app.pipeline.notes import AttemptReason

Usd = Annotated[str, Meta(description="Decimal USD.")]


class ExplainedCharge(msgspec.Struct, frozen=True, kw_only=True):
    """So many tokens of one kind, at their price: `amount` is exact, to 15 places."""

    kind: ChargeKind
    number: int
    price: Annotated[Usd, Meta(description="Decimal USD per million tokens, or for each picture.")]
    amount: Annotated[Usd, Meta(description="Decimal USD, not rounded.")]


class ExplainedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream call. The sum of its `charges`, rounded up to nine places, is its `cost`."""

    number: int
    model: Annotated[str, Meta(description="The public name that was called.")]
    target: Annotated[str, Meta(description="`provider/model`.")]
    credential: Annotated[int, Meta(description="Which of the provider's credentials, counted from 0.")]
    reason: Annotated[AttemptReason, Meta(description="Why it was made.")]
    after: Annotated[str | None, Meta(description="The error code of the call before, for a retry or a fallback.")]
    waited_ms: Annotated[float, Meta(description="How long was waited before it.")]
    at_ms: Annotated[float, Meta(description="After the request's begin.")]
    ttft_ms: Annotated[float | None, Meta(description="To its first content.")]
    took_ms: float
    outcome: str
    status: int | None
    error_code: str | None
    leg: Annotated[LegRole | None, Meta(description="Its part in a fan-out.")]
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    usage_source: UsageSource
    charges: list[ExplainedCharge]
    cost: Annotated[Usd | None, Meta(description="Null: no price.")]
    price_version: str | None
    price_source: Annotated[
        str | None, Meta(description="`file` and `api`: the operator's own; `catalogue`: the built-in one.")
    ]


class ExplainedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One model of several, and what became of it."""

    number: int
    model: str
    outcome: str


class ExplainedFanout(msgspec.Struct, frozen=True, kw_only=True):
    """Several models that answered together: `name` is the ensemble, or the strategy where there is none."""

    name: str
    strategy: str
    legs: list[ExplainedLeg]
    judge: str | None
    fuser: str | None
    reason: Annotated[str | None, Meta(description="Why the answer is not the one that was wanted; null: it is.")]
