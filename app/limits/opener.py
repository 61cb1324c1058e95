"""Makes the accounts of budgets from the ledger: on the first touch, after a wipe, and to correct one.

Law: an account is the ledger's sum and what is on its way there, each event once, told as of one moment.
"""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from app.db.engine import Database
from app.domain.usage.balances import account_total, known_events
from app.kernel.errors import Unavailable
from app.limits.policy import BudgetRule
from app.stores.accounts import AccountStore, BudgetAccount, Pending
from app.stores.counting import counts_for

_TRIES = 8
_PAUSE_S = 0.05
_MS_PER_S = 1_000


class LedgerOpener:
    """Opens accounts in `store` from `database`."""

    def __init__(self, store: AccountStore, database: Database) -> None:
        self._store = store
        self._database = database

    async def expected(self, rule: BudgetRule, account: BudgetAccount, pending: Pending) -> int:
        """Return what an account has used: the ledger's sum, and what of the queue is not in the ledger yet."""
        scope = rule.account_scope
        counted = {UUID(entry.id): entry.cost_nusd for entry in pending.entries if counts_for(account, scope, entry)}
        async with self._database.snapshot() as connection:
            base = await account_total(
                connection,
                scope_kind=rule.scope,
                scope_id=UUID(scope.id),
                since=_moment(account.start_ms),
                until=_moment(account.end_ms),
            )
            known = await known_events(connection, counted)
        return base + sum(cost for event_id, cost in counted.items() if event_id not in known)

    async def known(self, ids: Collection[UUID], *, partition: int) -> set[UUID]:
        """Return those of a partition's events that are in the ledger or on their way there."""
        pending = await self._store.pending(partition)
        coming = {UUID(entry.id) for entry in pending.entries}
        async with self._database.reading() as connection:
            written = await known_events(connection, ids)
        return written | coming.intersection(ids)

    async def open(self, budget: BudgetRule, account: BudgetAccount, *, partition: int, force: bool = False) -> None:
        """Make an account, or with `force` correct one; raises `StoreUnavailable` or `GatewayError`."""
        for _ in range(_TRIES):
            pending = await self._store.pending(partition)
            base_nusd = await self.expected(budget, account, pending)
            if await self._store.open_account(
                account,
                partition=partition,
                scope=budget.account_scope,
                base_nusd=base_nusd,
                mark=pending.mark,
                force=force,
            ):
                return
            await asyncio.sleep(_PAUSE_S)
        raise Unavailable("a budget's account cannot be made now", code="accounting_unavailable", retry_after_s=1)


def _moment(at_ms: int) -> datetime | None:
    return datetime.fromtimestamp(at_ms / _MS_PER_S, UTC) if at_ms else None
