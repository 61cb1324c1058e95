"""What the store must still be told once it answers again, and the accounts that were spent from without it.

Law: a charge that the store missed releases its hold there; an account that anything may have been missed of is made
anew from the ledger, when the ledger has it all.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import structs

from app.domain.usage.entries import Scopes
from app.kernel.errors import GatewayError
from app.limits.accounts import Fallback, Grant, Opener
from app.limits.policy import BudgetRule, rule_of_account
from app.stores.accounts import AccountStore, BudgetAccount, Charge
from app.stores.entries import UsageEntry
from app.stores.errors import StoreUnavailable

_LOOK_S = 0.5
_MAX_MISSED = 20_000
_LOG = logging.getLogger("gateway.limits")


class Recovery:
    """Tells the store what it missed. One for each worker."""

    def __init__(
        self,
        store: AccountStore,
        opener: Opener,
        *,
        spool: Fallback,
        is_written: Callable[[], bool],
        on_corrected: Callable[[str], None],
    ) -> None:
        """Begin with nothing missed.

        `spool` takes entries the slow way, and `is_written` is whether all that took it is in the ledger;
        `on_corrected` is told of each account that is right again, by its key.
        """
        self._spool = spool
        self._store = store
        self._opener = opener
        self._is_written = is_written
        self._on_corrected = on_corrected
        self._missed: deque[Charge] = deque(maxlen=_MAX_MISSED)
        self._wrong: dict[str, tuple[BudgetRule, BudgetAccount, int]] = {}
        self._uncounted: set[tuple[int, Scopes]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the store knows everything."""
        return not (self._missed or self._wrong or self._uncounted)

    async def take(self, entries: Sequence[UsageEntry]) -> None:
        """Take entries that the store could not, durably.

        Some accounts of their scopes learn of them from the ledger, and others from nobody: all are made anew.
        """
        await self._spool(entries)
        self._uncounted.update((entry.partition, entry.scopes) for entry in entries)

    def missed(self, grant: Grant, charge: Charge | None) -> None:
        """Take note of a grant whose charge the store did not take, or that was made without the store."""
        if charge is not None:
            self._missed.append(charge)
        if not grant.budgets:
            return
        reservation = grant.uncounted or grant.reservation
        for budget, account in zip(grant.budgets, reservation.budgets, strict=True):
            self._wrong[account.key] = (budget, account, reservation.partition)

    def start(self) -> None:
        """Begin to look whether the store answers."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="limits-recovery")

    async def stop(self) -> None:
        """Try once more, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._once()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self.is_complete:
                await self._once()

    async def _once(self) -> None:
        try:
            await self.recover()
        except (StoreUnavailable, GatewayError) as error:
            _LOG.debug("the store cannot be told yet what it missed: %s", error)
        except Exception:  # noqa: BLE001 - a supervisor: what was missed is told the next time
            _LOG.exception("the store cannot be told what it missed")

    async def recover(self) -> None:
        """Tell everything now; raises `StoreUnavailable` or `GatewayError` while that cannot be done.

        What one server of a cluster cannot be told holds back nothing for the others.
        """
        failure: StoreUnavailable | None = None
        for _ in range(len(self._missed)):
            charge = self._missed.popleft()
            try:
                await self._store.charge(structs.replace(charge, mode="late"))
            except StoreUnavailable as error:
                self._missed.append(charge)
                failure = error
        if failure is not None:
            raise failure
        if not self._is_written():
            return
        for key, (budget, account, partition) in list(self._wrong.items()):
            # Taken out first: what is missed meanwhile puts it back.
            del self._wrong[key]
            try:
                await self._opener.open(budget, account, partition=partition, force=True)
            except BaseException:
                self._wrong.setdefault(key, (budget, account, partition))
                raise
            self._on_corrected(key)
        for partition, scopes in tuple(self._uncounted):
            self._uncounted.discard((partition, scopes))
            try:
                await self._count_again(scopes, partition=partition)
            except BaseException:
                self._uncounted.add((partition, scopes))
                raise

    async def _count_again(self, scopes: Scopes, *, partition: int) -> None:
        for account in await self._store.accounts_of(scopes, partition=partition):
            await self._opener.open(rule_of_account(account), account, partition=partition, force=True)
