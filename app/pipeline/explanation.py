"""How a request would be admitted, routed and priced, as data. Law: no secret; money is decimal USD."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.domain.tenants.policies import ScopeKind
from app.routing.breaker import State
from app.settings.policy import Algorithm, Dimension, Period
from providers.types import Timeouts

Usd = Annotated[str, Meta(description="Decimal USD.")]


class ExplainedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a target costs, in USD per million tokens; its version is what the ledger would name."""

    version: str
    input: Usd
    output: Usd
    cache_read: Usd
    cache_write: Usd


class ExplainedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a route, in the order in which it would be tried."""

    target: Annotated[str, Meta(description="`provider/model`.")]
    weight: int
    credentials: int
    score: Annotated[float | None, Meta(description="The lower the better; null: the strategy knows nothing of it.")]
    reason: str
    breaker: Annotated[State | None, Meta(description="Null: not known here.")]
    left_alone_s: float | None
    price: ExplainedPrice | None
    likely_cost: Annotated[Usd | None, Meta(description="If all of the output is used; null: no price.")]
    cost_bound: Annotated[Usd | None, Meta(description="The most that it can cost; null: no price.")]


class ExplainedFallback(msgspec.Struct, frozen=True, kw_only=True):
    """A model that would be tried after another; `reason` says why not, where it would not be."""

    model: str
    after: str
    targets: list[str]
    is_used: bool
    reason: str | None = None


class ExplainedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """What serves a model, and how."""

    balance: str
    sticky: str
    retries: int
    breaker: bool
    hedge: Mapping[str, Any] | None
    timeouts: Timeouts
    transform: Mapping[str, Any] | None
    targets: list[ExplainedTarget]
    fallbacks: Annotated[
        Mapping[str, list[ExplainedFallback]], Meta(description="By what went wrong, in the order that they are tried.")
    ]


class ExplainedLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit over time that binds the request; counts, or of `cost` decimal USD."""

    scope: ScopeKind
    dimension: Dimension
    window_s: int
    model: str | None
    algorithm: Algorithm
    limit: int | str
    asked: int | str
    used: int | str | None


class ExplainedConcurrency(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on requests in flight."""

    scope: ScopeKind
    limit: int
    in_flight: int | None


class ExplainedBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget that binds the request; `held` is what requests in flight may yet cost."""

    scope: ScopeKind
    amount: Usd
    period: Period
    used: Usd
    held: Usd | None
    resets_at: datetime | None


class ExplainedRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request would be refused."""

    status: int
    code: str
    message: str


class ExplainedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request that is explained; `output_tokens` is the most that it would be allowed."""

    model: str
    input_tokens: int
    output_tokens: int
    stream: bool
    cost_bound: Annotated[
        Usd | None, Meta(description="What its budgets would hold: its dearest candidate, fallbacks included.")
    ]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """How one request would be admitted, routed and priced; `key` is absent for the operator, whom nothing binds."""

    request: ExplainedRequest
    key: Mapping[str, str | None] | None
    outcome: Literal["admitted", "refused"]
    refusal: ExplainedRefusal | None
    route: ExplainedRoute
    limits: list[ExplainedLimit]
    concurrency: list[ExplainedConcurrency]
    budgets: list[ExplainedBudget]
    unknown: Annotated[list[str], Meta(description="What cannot be told from here.")]
