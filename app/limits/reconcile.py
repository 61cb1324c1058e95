"""Whether all books agree: events, roll-ups, balances, and what the store says of every budget.

Law: a difference is told (a number, a line in the audit), never quietly put right.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from uuid import UUID

import msgspec

from app.db.engine import Connection, Database
from app.domain.quotas.repository import budgets_set, every_organization
from app.domain.quotas.settings import budget_of_file
from app.domain.usage.balances import find_drift
from app.domain.usage.entries import partition_of
from app.kernel.clock import Clock
from app.limits.opener import LedgerOpener
from app.limits.policy import BudgetRule, budget_rule
from app.limits.store_time import StoreTime
from app.observability.metrics import LEDGER_DRIFT, Metrics
from app.settings.model import Settings
from app.stores.accounts import AccountStore, BudgetAccount

_BACK = timedelta(hours=2)
_TRIES = 5


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """An account on which books disagree, and by how much, in nano-USD."""

    scope: str
    scope_id: UUID
    what: str
    expected_nusd: int
    found_nusd: int

    @property
    def drift_nusd(self) -> int:
        """How much too much was found."""
        return self.found_nusd - self.expected_nusd


class Scoped(msgspec.Struct, frozen=True):
    """A budget that is in force, and the partition of its account."""

    rule: BudgetRule
    partition: int


async def all_budgets(connection: Connection, *, settings: Settings) -> list[Scoped]:
    """Return every budget that is in force: those of the admin API, and the file's for each organisation."""
    found = [
        Scoped(budget_rule(account.scope, account.id.hex, budget), partition_of(account.organization_id))
        async for account, budget in budgets_set(connection)
    ]
    if settings.budget is not None:
        budget = budget_of_file(settings.budget)
        found += [
            Scoped(budget_rule(account.scope, account.id.hex, budget), partition_of(account.organization_id))
            async for account in every_organization(connection)
        ]
    return found


Report = Callable[[list[Difference]], Awaitable[None]]
"""Writes differences down where administrators look."""


class Reconciler:
    """Compares all books of the last hours, and every budget's account."""

    def __init__(
        self,
        store: AccountStore,
        database: Database,
        *,
        opener: LedgerOpener,
        report: Report,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._store = store
        self._database = database
        self._opener = opener
        self._report = report
        self._drift = metrics.number(LEDGER_DRIFT)
        self._clock = clock
        self._time = StoreTime(clock)

    async def run(self, budgets: Iterable[Scoped]) -> list[Difference]:
        """Compare; return the differences, which have been reported. Raises when a book cannot be read now."""
        found = await self._in_the_database()
        self._time.heard(await self._store.now_ms())
        for budget in budgets:
            difference = await self._of_account(budget)
            if difference is not None:
                found.append(difference)
        self._drift.set(float(sum(abs(each.drift_nusd) for each in found)))
        if found:
            await self._report(found)
        return found

    def leave_to_another(self) -> None:
        """Say nothing more of an earlier comparison: another process compares now, and its word is the newer."""
        self._drift.set(0.0)

    async def _in_the_database(self) -> list[Difference]:
        now = self._clock.now()
        async with self._database.snapshot() as connection:
            drifts = await find_drift(connection, since=now - _BACK, until=now)
        found = []
        for drift in drifts:
            for what, amount in (("balances", drift.balance_nusd), ("usage_hourly", drift.hourly_nusd)):
                if amount != drift.events_nusd:
                    found.append(
                        Difference(
                            scope=drift.scope_kind,
                            scope_id=drift.scope_id,
                            what=f"{what} {drift.hour:%Y-%m-%dT%H:00Z}",
                            expected_nusd=drift.events_nusd,
                            found_nusd=amount,
                        )
                    )
        return found

    async def _of_account(self, budget: Scoped) -> Difference | None:
        """Return by how much the store's account is wrong; nothing if it is right, or not there."""
        rule, account = budget.rule, budget.rule.account(self._time.now_ms())
        for _ in range(_TRIES):
            pending = await self._store.pending(budget.partition)
            base = await self._opener.expected(rule, account, pending)
            compared = await self._store.check_account(
                account, partition=budget.partition, scope=rule.account_scope, base_nusd=base, mark=pending.mark
            )
            if compared is not None:
                return _difference(rule, account, compared.used_nusd, compared.expected_nusd)
        return None


def _difference(rule: BudgetRule, account: BudgetAccount, used: int, expected: int) -> Difference | None:
    if used == expected:
        return None
    return Difference(
        scope=rule.scope,
        scope_id=UUID(rule.account_scope.id),
        what=f"budget {account.key.rpartition(':')[2]}",
        expected_nusd=expected,
        found_nusd=used,
    )
