"""How much of limits and budgets is used: what is asked, of whom, and what the database alone can say."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from app.db.engine import Database
from app.domain.quotas.periods import period_at
from app.domain.quotas.schemas import QuotaSource
from app.domain.tenants.policies import Budget, Limits, ScopeKind
from app.domain.usage.balances import account_total
from app.kernel.clock import Clock
from app.settings.policy import Algorithm, Dimension

_MINUTE_S = 60


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What limits and budgets sit on; `organization_id` is the one that it is or belongs to."""

    scope: ScopeKind
    id: UUID
    organization_id: UUID


class LimitWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One window of an account: at most `limit` (a count; of `cost` nano-USD) in `window_s` seconds."""

    dimension: Dimension
    window_s: int
    model: str | None = None
    algorithm: Algorithm
    limit: int
    source: QuotaSource


class WindowUse(msgspec.Struct, frozen=True, kw_only=True):
    """What of a window is taken, in the window's unit, holds included, and in how many seconds all of it is free."""

    used: int
    reset_s: float


class LimitsInUse(msgspec.Struct, frozen=True, kw_only=True):
    """What of an account's windows is used, in the order that they were asked in, and its requests in flight."""

    windows: Sequence[WindowUse]
    in_flight: int | None = None


class BudgetCharge(msgspec.Struct, frozen=True, kw_only=True):
    """What a budget's current period has been charged; `held_nusd` is absent where it cannot be told."""

    used_nusd: int
    held_nusd: int | None = None


class UseReader(Protocol):
    """Tells what is used now. Both methods raise `StoreUnavailable` when it cannot be told."""

    async def limits_in_use(self, account: Account, windows: Sequence[LimitWindow]) -> LimitsInUse | None:
        """Return what of the windows is used; nothing if nobody counts them."""
        ...

    async def budgets_in_use(
        self, account: Account, budgets: Sequence[tuple[Budget, QuotaSource]]
    ) -> list[BudgetCharge]:
        """Return what each budget has been charged in its current period, in the order that they were asked in."""
        ...


class LedgerReader:
    """Reads from the ledger in the database: what was charged, but neither windows nor what is in flight."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def limits_in_use(self, account: Account, windows: Sequence[LimitWindow]) -> LimitsInUse | None:
        """Return nothing: the ledger knows no windows."""
        del account, windows
        return None

    async def budgets_in_use(
        self, account: Account, budgets: Sequence[tuple[Budget, QuotaSource]]
    ) -> list[BudgetCharge]:
        """Return the sum of the events of each period."""
        charges = []
        now = self._clock.now()
        async with self._database.reading() as connection:
            for budget, _ in budgets:
                since = period_at(now, period=budget.period, timezone=budget.timezone).starts_at
                used_nusd = await account_total(
                    connection, scope_kind=account.scope, scope_id=account.id, since=since, until=None
                )
                charges.append(BudgetCharge(used_nusd=used_nusd))
        return charges


def windows_of(limits: Limits, *, source: QuotaSource) -> list[LimitWindow]:
    """Return the windows that limits amount to: requests and tokens per minute, then the rules."""
    per_minute: tuple[tuple[Dimension, int | None], ...] = (
        ("requests", limits.requests_per_minute),
        ("tokens", limits.tokens_per_minute),
    )
    found = [
        LimitWindow(dimension=dimension, window_s=_MINUTE_S, algorithm=limits.algorithm, limit=limit, source=source)
        for dimension, limit in per_minute
        if limit is not None
    ]
    return found + [
        LimitWindow(
            dimension=rule.dimension,
            window_s=rule.window_s,
            model=rule.model,
            algorithm=limits.algorithm,
            limit=rule.quantity,
            source=source,
        )
        for rule in limits.rules
    ]
