"""How much of limits and budgets is used now, from the store: what the admin API shows."""

from collections.abc import Sequence

from app.domain.quotas.schemas import QuotaSource
from app.domain.quotas.use import Account, BudgetCharge, LimitsInUse, LimitWindow, WindowUse
from app.domain.tenants.policies import Budget
from app.domain.usage.entries import partition_of
from app.limits.opener import LedgerOpener
from app.limits.policy import BudgetRule, budget_rule, slots_key, window_key
from app.limits.store_time import StoreTime
from app.stores.accounts import AccountStore, BudgetAccount, Slots, Window

_MS_PER_S = 1_000


class StoreReader:
    """Reads from the store; an account that is not there yet is made, so that what is shown is what is enforced."""

    def __init__(self, store: AccountStore, opener: LedgerOpener, *, time: StoreTime) -> None:
        self._store = store
        self._opener = opener
        self._time = time

    async def limits_in_use(self, account: Account, windows: Sequence[LimitWindow]) -> LimitsInUse | None:
        """Return what of the windows is used."""
        partition = partition_of(account.organization_id)
        asked = [
            Window(
                window_key(
                    account.scope,
                    account.id.hex,
                    dimension=each.dimension,
                    window_s=each.window_s,
                    algorithm=each.algorithm,
                    model=each.model,
                ),
                each.limit,
                each.window_s * _MS_PER_S,
                each.algorithm,
                0,
            )
            for each in windows
        ]
        uses = await self._store.uses(asked, partition=partition)
        slots = Slots(slots_key(account.scope, account.id.hex), 0)
        (in_flight,) = await self._store.in_flight([slots], partition=partition)
        return LimitsInUse(
            windows=[WindowUse(used=use.used, reset_s=use.reset_ms / _MS_PER_S) for use in uses], in_flight=in_flight
        )

    async def budgets_in_use(
        self, account: Account, budgets: Sequence[tuple[Budget, QuotaSource]]
    ) -> list[BudgetCharge]:
        """Return what each budget has been charged in its current period, and what is held of it."""
        partition = partition_of(account.organization_id)
        self._time.heard(await self._store.now_ms())
        rules = [budget_rule(account.scope, account.id.hex, budget) for budget, _ in budgets]
        accounts = [rule.account(self._time.now_ms()) for rule in rules]
        return [await self._charge(rule, one, partition) for rule, one in zip(rules, accounts, strict=True)]

    async def _charge(self, rule: BudgetRule, account: BudgetAccount, partition: int) -> BudgetCharge:
        (balance,) = await self._store.balances([account], partition=partition)
        if balance is None:
            await self._opener.open(rule, account, partition=partition)
            (balance,) = await self._store.balances([account], partition=partition)
        if balance is None:
            return BudgetCharge(used_nusd=0)
        return BudgetCharge(used_nusd=balance.used_nusd, held_nusd=balance.held_nusd)
