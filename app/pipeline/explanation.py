"""How a request was admitted, routed and priced, or would be, as data: one structure for both.

Law: no secret and no content, only ids, sizes, hashes and what was reckoned with; money is decimal USD. What a dry run
cannot have is null or empty in it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.domain.tenants.policies import ScopeKind
from app.pipeline.explained_attempts import ExplainedAttempt, ExplainedFanout, Usd
from app.pipeline.notes import LayerName, Unstored, Verdict
from app.routing.breaker import State
from app.settings.policy import Algorithm, CacheMode, CacheScope, Dimension, Period
from providers.types import Timeouts

CacheVerdict = Literal["off", "bypass", "miss", "exact", "semantic", "coalesced", "unknown"]


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


class ExplainedSkip(msgspec.Struct, frozen=True, kw_only=True):
    """A target whose turn it was, and why it was passed over."""

    model: str
    target: str
    reason: Annotated[
        str,
        Meta(
            description="`left_alone`: its provider asked for that; `credential_refused`: all its credentials are out; "
            "`retry_budget_spent`: it may not be asked again so soon."
        ),
    ]


class ExplainedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """What serves a model, and how."""

    name: str
    source: Annotated[
        Literal["model", "ensemble", "fanout", "pinned"],
        Meta(description="Whether the request named its model, an ensemble, several models, or one target."),
    ]
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
    used: Annotated[int | str | None, Meta(description="Before this request; null: not known here.")]
    remaining: Annotated[int | str | None, Meta(description="After this request, if it is admitted.")]
    share: Annotated[float | None, Meta(description="How close it is to the limit: 1 is all of it.")]
    resets_in_s: Annotated[
        float | None,
        Meta(description="When nothing of it is used any more, if no more is asked; null: not known."),
    ]
    refused: Annotated[bool, Meta(description="Whether it is what refused the request.")] = False


class ExplainedConcurrency(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on requests in flight."""

    scope: ScopeKind
    limit: int
    in_flight: Annotated[int | None, Meta(description="Beside this request; null: not known.")]
    refused: bool = False


class ExplainedBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget that binds the request; `held` is what requests in flight may yet cost."""

    scope: ScopeKind
    amount: Usd
    period: Period
    used: Annotated[Usd | None, Meta(description="Before this request; null: not known here.")]
    held: Usd | None
    reserved: Annotated[Usd | None, Meta(description="What this request held; null: nothing.")]
    resets_at: datetime | None
    refused: bool = False


class ExplainedLike(msgspec.Struct, frozen=True, kw_only=True):
    """A kept question that is near enough, and the guard that told it from the one that was asked; nearest first."""

    entry_id: str
    similarity: float
    guard: Annotated[str | None, Meta(description="Null: no guard told them apart.")]
    is_gone: Annotated[bool, Meta(description="Whether its answer was no longer there, or too old.")]


class ExplainedCache(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache did, or would do: the setting that binds, what became of the request, and why.

    `entry_id`, `age_s` and `similarity` are of the kept answer; of a like question that a guard tells apart, `guard` is
    that one, and there is no answer.
    """

    mode: CacheMode
    set_by: Annotated[
        Literal["organization", "team", "key", "config"], Meta(description="What the setting that binds is set on.")
    ]
    scope: Annotated[CacheScope, Meta(description="Who shares answers.")]
    status: Annotated[CacheVerdict, Meta(description="As in `x-gateway-cache`; `unknown`: nobody can tell from here.")]
    reason: Annotated[str | None, Meta(description="One stable word; null where the answer is given from the cache.")]
    why: Annotated[str | None, Meta(description="The same in words.")]
    key: Annotated[str | None, Meta(description="A digest of all that the answer depends on.")] = None
    entry_id: str | None = None
    age_s: int | None = None
    similarity: float | None = None
    threshold: Annotated[
        float | None, Meta(description="The least similarity of a semantic hit, if one is sought.")
    ] = None
    guard: str | None = None
    candidates: list[ExplainedLike] = []
    kept: Annotated[bool | None, Meta(description="Whether the answer that was made is kept; null: none was.")] = None
    not_kept: Annotated[Unstored | None, Meta(description="Why not.")] = None


class ExplainedRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused, or failed, or would be; `message` only where it holds nothing of the request."""

    status: int
    code: str
    message: str | None
    param: Annotated[str | None, Meta(description="The field at fault, of a dry run.")] = None


class ExplainedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request that is explained; `output_tokens` is the most that it is allowed."""

    model: str
    operation: str | None
    dialect: str | None
    size_bytes: Annotated[int | None, Meta(description="Of its body.")]
    input_tokens: Annotated[int | None, Meta(description="As estimated beforehand.")]
    output_tokens: Annotated[int | None, Meta(description="Null: whatever the model gives.")]
    stream: bool
    cost_bound: Annotated[
        Usd | None, Meta(description="What its budgets hold: its dearest candidate, fallbacks included.")
    ]


class ExplainedKey(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, by ids."""

    id: str
    organization_id: str
    team_id: str | None


class ExplainedLayer(msgspec.Struct, frozen=True, kw_only=True):
    """What one layer said to the request, when, and how long that took."""

    layer: LayerName
    verdict: Verdict
    at_ms: Annotated[float, Meta(description="After the request's begin.")]
    took_ms: float
    error_code: Annotated[str | None, Meta(description="Why it let the request go no further.")] = None


class ExplainedTime(msgspec.Struct, frozen=True, kw_only=True):
    """When a request came, and where its time went."""

    at: datetime
    duration_ms: float
    ttft_ms: Annotated[float | None, Meta(description="To the first content for its client.")]
    upstream_ms: float
    overhead_ms: Annotated[float, Meta(description="The gateway's own; on streams up to the first byte.")]


Outcome = Literal["admitted", "refused", "answered", "failed", "left"]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """How one request was admitted, routed and priced, or would be; `key` is null for the operator, whom nothing binds.

    `time`, `layers`, `attempts`, `fanout`, `cost`, `degraded` and `dropped` are of requests that were made.
    """

    id: Annotated[str | None, Meta(description="As in `x-request-id`; null: a dry run.")] = None
    dry_run: bool
    request: ExplainedRequest
    key: ExplainedKey | None
    outcome: Annotated[
        Outcome,
        Meta(
            description="Of a dry run `admitted` or `refused`; else `answered`, `refused` (nothing was tried), "
            "`failed` (something was), or `left`: its client did."
        ),
    ]
    status: Annotated[int | None, Meta(description="As its client was told; 499: it had left.")] = None
    refusal: ExplainedRefusal | None
    route: ExplainedRoute | None
    other_routes: Annotated[
        list[ExplainedRoute], Meta(description="Of models that it fell back to, or that answered together.")
    ] = []
    passed_over: list[ExplainedSkip] = []
    cache: ExplainedCache | None
    limits: list[ExplainedLimit]
    concurrency: list[ExplainedConcurrency]
    budgets: list[ExplainedBudget]
    attempts: list[ExplainedAttempt] = []
    fanout: ExplainedFanout | None = None
    cost: Annotated[Usd | None, Meta(description="Of all attempts; null: one that was charged has no price.")] = None
    time: ExplainedTime | None = None
    layers: list[ExplainedLayer] = []
    degraded: Annotated[list[str], Meta(description="The stores that did not answer.")] = []
    dropped: Annotated[list[str], Meta(description="The request's fields that the provider was not told.")] = []
    unknown: Annotated[list[str], Meta(description="What cannot be told from here, or was cut for its length.")] = []
