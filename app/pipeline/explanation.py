"""How a request would be admitted, routed and priced, as data. Law: no secret; money is decimal USD."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.domain.tenants.policies import ScopeKind
from app.routing.breaker import State
from app.settings.policy import Algorithm, CacheMode, CacheScope, Dimension, Period
from providers.types import Timeouts

WouldBe = Literal["off", "bypass", "miss", "exact", "semantic", "coalesced", "unknown"]
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


class ExplainedCache(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache would do: the setting that binds, what would become of the request, and why.

    `entry_id`, `age_s` and `similarity` are of the kept answer; of a like question that a guard tells apart, `guard` is
    that one, and there is no answer.
    """

    mode: CacheMode
    set_by: Annotated[
        Literal["organization", "team", "key", "config"], Meta(description="What the setting that binds is set on.")
    ]
    scope: Annotated[CacheScope, Meta(description="Who shares answers.")]
    would_be: Annotated[WouldBe, Meta(description="As in `x-gateway-cache`; `unknown`: it cannot be told from here.")]
    reason: Annotated[str | None, Meta(description="One stable word; null where the answer is given from the cache.")]
    why: Annotated[str | None, Meta(description="The same in words.")]
    entry_id: str | None = None
    age_s: int | None = None
    similarity: float | None = None
    threshold: Annotated[
        float | None, Meta(description="The least similarity of a semantic hit, if one is sought.")
    ] = None
    guard: str | None = None


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
    cache: ExplainedCache
    limits: list[ExplainedLimit]
    concurrency: list[ExplainedConcurrency]
    budgets: list[ExplainedBudget]
    unknown: Annotated[list[str], Meta(description="What cannot be told from here.")]
