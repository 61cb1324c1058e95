"""What limits and budgets would say of a request now. Law: only reads; nothing is held, and no account is made."""

import msgspec

from app.kernel.clock import Clock
from app.kernel.errors import GatewayError, ModelNotPriced
from app.limits.accounts import MIN_OUTPUT_TOKENS
from app.limits.denials import refusal_of
from app.limits.estimate import Demand
from app.limits.opener import LedgerOpener
from app.limits.plan import Plan
from app.limits.policy import BudgetRule
from app.stores.accounts import (
    MONEY,
    AccountStore,
    Balance,
    Denied,
    Money,
    Pending,
    Slots,
    Window,
    WindowUse,
    affordable_cap,
    money_of,
)
from app.stores.errors import StoreUnavailable

_NS_PER_MS = 1_000_000


class InUse(msgspec.Struct, frozen=True, kw_only=True):
    """What of a plan's rules is used, each in the plan's order.

    `windows` and `in_flight` are absent if nobody can tell. Without them, what budgets hold for requests in flight is
    not known either, and taken for nothing.
    """

    at_ms: int
    windows: tuple[WindowUse, ...] | None = None
    in_flight: tuple[int, ...] | None = None
    balances: tuple[Balance, ...] = ()


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of a request: the output cap that it would get and the money held, or why it would be refused.

    Of a refused one, `held_nusd` is what it would have to hold for all that it asks.
    """

    cap: int
    held_nusd: int = 0
    refusal: GatewayError | None = None


class Preview:
    """Reads what is used, from the store, or where that is another process's own, from the ledger."""

    def __init__(self, store: AccountStore | None, opener: LedgerOpener, *, clock: Clock) -> None:
        """Make one; without a store, budgets are as the ledger has them."""
        self._store = store
        self._opener = opener
        self._clock = clock

    async def in_use(self, plan: Plan) -> InUse:
        """Return what of a plan's rules is used now."""
        if self._store is not None:
            try:
                return await self._counted(self._store, plan)
            except StoreUnavailable:
                pass
        at_ms = self._clock.now_ns() // _NS_PER_MS
        nothing = Pending((), b"")
        balances = [Balance(await self._spent(budget, at_ms, nothing), 0) for budget in plan.budgets]
        return InUse(at_ms=at_ms, balances=tuple(balances))

    async def _counted(self, store: AccountStore, plan: Plan) -> InUse:
        partition = plan.policy.partition
        at_ms = await store.now_ms()
        windows = plan.windows(input_tokens=0, output_tokens=0)
        accounts = [budget.account(at_ms) for budget in plan.budgets]
        balances = []
        for budget, found in zip(plan.budgets, await store.balances(accounts, partition=partition), strict=True):
            if found is not None:
                balances.append(found)
            else:
                balances.append(Balance(await self._spent(budget, at_ms, await store.pending(partition)), 0))
        return InUse(
            at_ms=at_ms,
            windows=tuple(await store.uses(windows, partition=partition)),
            in_flight=tuple(await store.in_flight(plan.slots, partition=partition)),
            balances=tuple(balances),
        )

    async def _spent(self, budget: BudgetRule, at_ms: int, pending: Pending) -> int:
        return await self._opener.expected(budget, budget.account(at_ms), pending)


def foresee(plan: Plan, demand: Demand, use: InUse) -> Foreseen:
    """Return what a store would say to a request; how long it would have to wait is at most as told."""
    if demand.unpriced is not None and plan.counts_money:
        refusal = ModelNotPriced(f"a budget applies, and the model {demand.unpriced[:100]!r} has no price")
        return Foreseen(cap=demand.cap, refusal=refusal)
    refused_nusd = money_of(Money(demand.fixed_nusd, demand.rate_nusd), demand.cap)
    money = Money(demand.fixed_nusd, demand.rate_nusd, demand.cap, MIN_OUTPUT_TOKENS)
    windows = plan.windows(input_tokens=demand.input_tokens, output_tokens=demand.output_tokens)
    cap, denied = demand.cap, None
    if plan.budgets and (demand.fixed_nusd or demand.rate_nusd):
        cap, denied = _afford(plan.budgets, money, use)
    held_nusd = money_of(money, max(cap, 0))
    windows = tuple(
        msgspec.structs.replace(window, amount=held_nusd) if window.amount == MONEY else window for window in windows
    )
    denied = denied or _over_window(windows, use) or _over_slots(plan.slots, use)
    if denied is None:
        return Foreseen(cap=cap, held_nusd=held_nusd)
    return Foreseen(cap=demand.cap, held_nusd=refused_nusd, refusal=refusal_of(denied, plan))


def _afford(budgets: tuple[BudgetRule, ...], money: Money, use: InUse) -> tuple[int, Denied | None]:
    """Return the cap that all budgets pay for, and the refusal of the tightest if there is none."""
    left = [
        budget.amount_nusd - balance.used_nusd - balance.held_nusd
        for budget, balance in zip(budgets, use.balances, strict=True)
    ]
    tightest = left.index(min(left))
    cap = affordable_cap(money, left[tightest])
    if cap >= min(money.min_cap, money.cap):
        return cap, None
    balance = use.balances[tightest]
    used, held = balance.used_nusd, balance.held_nusd
    return cap, Denied(kind="budget", index=tightest, at_ms=use.at_ms, used=used, held=held)


def _over_window(windows: tuple[Window, ...], use: InUse) -> Denied | None:
    """Return the refusal that lasts longest; what no window could ever take is refused whatever is used."""
    uses = use.windows or (WindowUse(0, 0),) * len(windows)
    worst: Denied | None = None
    for index, (window, one) in enumerate(zip(windows, uses, strict=True)):
        if window.amount > window.limit:
            return Denied(kind="too_large", index=index, at_ms=use.at_ms, used=one.used, asked=window.amount)
        if one.used + window.amount > window.limit and (worst is None or one.reset_ms > (worst.retry_ms or 0)):
            worst = Denied(
                kind="window",
                index=index,
                at_ms=use.at_ms,
                used=one.used,
                asked=window.amount,
                retry_ms=one.reset_ms,
            )
    return worst


def _over_slots(slots: tuple[Slots, ...], use: InUse) -> Denied | None:
    for index, (slot, taken) in enumerate(zip(slots, use.in_flight or (0,) * len(slots), strict=True)):
        if taken >= slot.limit:
            return Denied(kind="concurrency", index=index, at_ms=use.at_ms, used=taken, held=taken)
    return None
