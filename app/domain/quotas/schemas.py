"""Limits and budgets as the admin API shows them: what is set, and what is used now.

Money is a decimal string of USD; counts are ints.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from app.domain.tenants.policies import Allowance, Budget, Limits, ScopeKind
from app.settings.policy import Algorithm, Dimension, Period

QuotaSource = Annotated[
    Literal["config", "api"],
    Meta(description="`config`: the file's, which binds each organization and is read-only here."),
]
Quantity = Annotated[int | str, Meta(description="A count; of `cost` decimal USD.")]
Amount = Annotated[str, Meta(description="Decimal USD.")]
Version = Annotated[int, Meta(description="Counts changes of the object that this sits on; it is the ETag.")]


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, and what of it is used now."""

    dimension: Dimension
    window_s: int
    model: Annotated[str | None, Meta(description="Only calls of this model; null: of all.")] = None
    algorithm: Algorithm
    limit: Quantity
    used: Quantity
    remaining: Quantity
    reset_s: Annotated[float, Meta(description="Until all of the limit is free again, in seconds.")]
    source: QuotaSource


class ConcurrencyUse(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests may be in flight at once, and how many are; null: cannot be told now."""

    limit: int
    held: int | None = None


class BudgetUse(msgspec.Struct, frozen=True, kw_only=True):
    """One budget, and what of it is spent in the current period."""

    amount: Amount
    used: Amount
    held: Annotated[
        str | None, Meta(description="Decimal USD that requests in flight may yet cost; null: cannot be told now.")
    ]
    remaining: Amount
    period: Period
    timezone: str
    starts_at: Annotated[datetime | None, Meta(description="Null of `total`.")]
    resets_at: Annotated[datetime | None, Meta(description="Null of `total`.")]
    source: QuotaSource
    on_accounting_down: Literal["deny"] | Allowance
    overspend_bound: Annotated[
        str, Meta(description="Decimal USD that may be spent beyond the amount while spending cannot be counted.")
    ]


class ScopeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that sit on an organization, a team or a key."""

    scope: ScopeKind
    id: UUID
    limits: Limits | None
    version: Version


class ScopeLimitsInUse(ScopeLimits, frozen=True, kw_only=True):
    """The limits that sit on an organization, a team or a key, and what of them is used now."""

    use: Annotated[list[LimitUse] | None, Meta(description="Null while it cannot be told.")]
    concurrency: ConcurrencyUse | None


class ScopeBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The budget that sits on an organization, a team or a key."""

    scope: ScopeKind
    id: UUID
    budget: Budget | None
    version: Version


class ScopeBudgetInUse(ScopeBudget, frozen=True, kw_only=True):
    """The budget that sits on an organization, a team or a key, and what of it is spent."""

    use: list[BudgetUse]
