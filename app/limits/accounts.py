"""Reserve and settle: one awaited store step before the upstream call, and one after.

Law: all rules of all scopes, or none; whoever settles before the last byte has settled. Without the store, budgets are
closed (or open as far as they say), other limits are kept by this process at its share.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from app.kernel.clock import Clock
from app.kernel.errors import GatewayError, ModelNotPriced, Unavailable
from app.kernel.waiting import outcome_of
from app.limits.allowance import Allowances
from app.limits.denials import LimitReached, refusal_of, scope_of
from app.limits.estimate import Demand
from app.limits.headers import Headers
from app.limits.orphans import Seed, seeded
from app.limits.plan import Plan
from app.limits.policy import BudgetRule, Rule
from app.limits.store_time import StoreTime
from app.observability.metrics import DEGRADED, LIMIT_DENIALS, Metrics
from app.stores.accounts import (
    AccountStore,
    BudgetAccount,
    Charge,
    Charged,
    Denied,
    Granted,
    Money,
    Reservation,
    Unknown,
)
from app.stores.entries import UsageEntry
from app.stores.errors import StoreUnavailable
from app.stores.protocols import UsageQueue

MIN_OUTPUT_TOKENS = 16
"""A request whose budget does not pay for so many output tokens is refused."""

_TRIES = 4
_OPEN_S = 5.0
_LOG = logging.getLogger("gateway.limits")


class Amounts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a request came to, for its windows."""

    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int = 0


NOTHING = Amounts(requests=0)
_DONE = Charged("done")


class Grant:
    """A hold that this process must settle.

    `plan` has the rules of `reservation.windows`, in their order; `budgets` are those of its accounts. `keeper` is the
    store that has it: this process's own, where the shared one did not answer; `uncounted` is then what budgets allow.
    """

    __slots__ = ("budgets", "granted", "keeper", "plan", "reservation", "uncounted")

    def __init__(
        self,
        reservation: Reservation,
        granted: Granted,
        *,
        plan: Plan,
        budgets: tuple[BudgetRule, ...],
        keeper: AccountStore,
        uncounted: Reservation | None = None,
    ) -> None:
        self.reservation = reservation
        self.granted = granted
        self.plan = plan
        self.budgets = budgets
        self.keeper = keeper
        self.uncounted = uncounted

    @property
    def id(self) -> str:
        """The reservation's id."""
        return self.reservation.id

    @property
    def is_local(self) -> bool:
        """Whether this process alone keeps it, as the shared store did not answer."""
        return self.uncounted is not None

    @property
    def headers(self) -> Headers:
        """What the client is told of its limits; nothing if the same was granted before."""
        return self.plan.headers.headers(self.granted.used)


class Opener(Protocol):
    """Makes the accounts of budgets from the ledger."""

    async def open(self, budget: BudgetRule, account: BudgetAccount, *, partition: int, force: bool = False) -> None:
        """Make an account; raises `StoreUnavailable` or `GatewayError` if that cannot be done now."""
        ...


class Journal(Protocol):
    """Where a single process writes down what must survive its crash."""

    def reserved(self, reservation: Reservation, granted: Granted) -> None:
        """Write a hold down."""
        ...

    def ended(self, reservation_id: str, entries: Sequence[UsageEntry]) -> None:
        """Write the end of a request down."""
        ...


Fallback = Callable[[Sequence[UsageEntry]], Awaitable[None]]
"""Takes events that the store could not, durably."""

Missed = Callable[[Grant, Charge | None], None]
"""Is told of a grant whose charge the store did not take, or that was made without it (no charge)."""

Spawn = Callable[[Coroutine[Any, Any, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """What accounts rest on beside the store. `journal` is there where the store does not outlive the process.

    `local` keeps limits while the store is away, divided by `share()`, the number of workers. `is_overfull` is whether
    so much waits for the ledger that nothing more may be admitted that must be counted.
    """

    opener: Opener
    fallback: Fallback
    missed: Missed
    spawn: Spawn
    local: AccountStore
    share: Callable[[], int]
    is_overfull: Callable[[], bool]
    journal: Journal | None = None


class Accounts:
    """Every scope's limits and budgets, and the way into the ledger. One for each worker."""

    def __init__(
        self,
        store: AccountStore,
        queue: UsageQueue,
        *,
        backing: Backing,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._store = store
        self._queue = queue
        self._opener = backing.opener
        self._fallback = backing.fallback
        self._local = backing.local
        self._share = backing.share
        self._is_overfull = backing.is_overfull
        self._spawn = backing.spawn
        self._metrics = metrics
        self._journal = backing.journal
        self._on_missed = backing.missed
        self._degraded = metrics.number(DEGRADED, "state")
        self.time = StoreTime(clock)
        self.allowances = Allowances()
        self._opening: dict[str, asyncio.Future[None]] = {}

    # -- reserving ----------------------------------------------------------------------------------------------------

    async def reserve(self, plan: Plan, demand: Demand, *, seed: Seed, given_back: int = 0) -> Grant:
        """Take what a request may use; `seed` is what it comes to if nobody settles.

        `given_back` is how many grants the request has given back: each hold has an id of its own, for what has ended
        cannot be had again.

        Raises `RateLimited`, `QuotaExceeded`, `ModelNotPriced`, or `Unavailable` where a budget cannot be counted.
        """
        is_free = demand.is_priced and not demand.fixed_nusd and not demand.rate_nusd
        budgets = () if is_free else plan.budgets
        if demand.unpriced is not None and plan.counts_money:
            raise ModelNotPriced(f"a budget applies, and the model {demand.unpriced[:100]!r} has no price")
        if budgets and self._is_overfull():
            raise _uncountable()
        windows = plan.windows(input_tokens=demand.input_tokens, output_tokens=demand.output_tokens)
        money = Money(demand.fixed_nusd, demand.rate_nusd, demand.cap, MIN_OUTPUT_TOKENS)
        for _ in range(_TRIES):
            at_ms = self.time.now_ms()
            accounts = self._accounts_of(budgets)
            reservation = Reservation(
                partition=plan.policy.partition,
                id=seed.request_id if not given_back else f"{seed.request_id}:{given_back}",
                windows=windows,
                slots=plan.slots,
                budgets=accounts,
                money=money,
                orphan=seeded(accounts, seed),
            )
            try:
                verdict = await self._ask(reservation, plan, budgets)
                self.time.heard(verdict.at_ms)
                if isinstance(verdict, Unknown) and accounts == self._accounts_of(budgets):
                    await self._open(reservation, budgets, verdict.indexes)
            except StoreUnavailable:
                return await self._reserve_here(reservation, plan, budgets=budgets, at_ms=at_ms)
            if isinstance(verdict, Granted):
                grant = Grant(reservation, verdict, plan=plan, budgets=budgets, keeper=self._store)
                self._write_down(grant)
                return grant
            if isinstance(verdict, Denied):
                raise self._refusal(verdict, plan)
        raise _uncountable()

    def _accounts_of(self, budgets: tuple[BudgetRule, ...]) -> tuple[BudgetAccount, ...]:
        """Return the accounts of the present periods, by the store's time as far as it is known."""
        if not budgets:
            return ()
        at_ms = self.time.now_ms()
        return tuple([budget.account(at_ms) for budget in budgets])

    async def _ask(self, reservation: Reservation, plan: Plan, budgets: tuple[BudgetRule, ...]) -> Any:
        """Ask the store; what it may have granted although nobody heard it is given back."""
        try:
            return await self._store.reserve(reservation)
        except asyncio.CancelledError:
            self._spawn(self._void(reservation, plan, budgets))
            raise
        except StoreUnavailable as error:
            if error.may_have_run:
                self._on_missed(*self._unheard(reservation, plan, budgets))
            raise

    async def _void(self, reservation: Reservation, plan: Plan, budgets: tuple[BudgetRule, ...]) -> None:
        grant, charge = self._unheard(reservation, plan, budgets)
        try:
            await self._store.charge(charge)
        except StoreUnavailable:
            self._on_missed(grant, charge)

    def _unheard(self, reservation: Reservation, plan: Plan, budgets: tuple[BudgetRule, ...]) -> tuple[Grant, Charge]:
        """Return a grant of which nobody knows what it is, and the charge that gives it back."""
        granted = Granted(at_ms=self.time.now_ms(), cap=0, held_nusd=0)
        grant = Grant(reservation, granted, plan=plan, budgets=budgets, keeper=self._store)
        return grant, _nothing(reservation, granted)

    def _write_down(self, grant: Grant) -> None:
        """Let a hold survive this process, if nobody else keeps it; only a budget is worth that."""
        if self._journal is None or not grant.reservation.budgets:
            return
        try:
            self._journal.reserved(grant.reservation, grant.granted)
        except OSError as error:
            self._spawn(self._void(grant.reservation, grant.plan, grant.budgets))
            raise _uncountable() from error

    async def told(self, plan: Plan) -> Headers:
        """Return what a client is told of its limits by an answer that takes nothing of them; one read, if any."""
        if plan.headers.is_empty:
            return ()
        windows, partition = plan.windows(input_tokens=0, output_tokens=0), plan.policy.partition
        try:
            uses = await self._store.uses(windows, partition=partition)
        except StoreUnavailable:
            uses = await self._local.uses(windows, partition=partition)
        return plan.headers.seen(uses)

    def _refusal(self, denied: Denied, plan: Plan) -> GatewayError:
        refusal = refusal_of(denied, plan)
        if not isinstance(refusal, LimitReached):
            self._metrics.number(LIMIT_DENIALS, *scope_of(denied, plan)).add()
        return refusal

    def count(self, refusal: LimitReached) -> None:
        """Count a refusal that its client is told; others may be waited out."""
        self._metrics.number(LIMIT_DENIALS, *refusal.counted_as).add()

    async def _open(self, reservation: Reservation, budgets: tuple[BudgetRule, ...], indexes: Sequence[int]) -> None:
        """Make the accounts that the store does not have, each once however many ask at the same time."""
        for index in indexes:
            account = reservation.budgets[index]
            pending = self._opening.get(account.key)
            if pending is None:
                opening = self._opener.open(budgets[index], account, partition=reservation.partition)
                pending = self._opening[account.key] = asyncio.ensure_future(opening)
                pending.add_done_callback(functools.partial(self._opened, account.key))
            try:
                async with asyncio.timeout(_OPEN_S):
                    await outcome_of(pending)
            except (TimeoutError, GatewayError) as error:
                raise _uncountable() from error

    def _opened(self, key: str, done: "asyncio.Future[None]") -> None:
        self._opening.pop(key, None)
        if not done.cancelled():
            done.exception()

    async def _reserve_here(
        self, reservation: Reservation, plan: Plan, *, budgets: tuple[BudgetRule, ...], at_ms: int
    ) -> Grant:
        """Reserve without the store: budgets are closed but for what they allow; limits hold at this worker's share."""
        self._degraded.add()
        allowed = self.allowances.take(reservation, budgets)
        if not allowed:
            raise _uncountable()
        share = max(1, self._share())
        divided = msgspec.structs.replace(
            reservation,
            windows=tuple(msgspec.structs.replace(w, limit=max(1, w.limit // share)) for w in reservation.windows),
            slots=tuple(msgspec.structs.replace(s, limit=max(1, s.limit // share)) for s in reservation.slots),
            budgets=(),
        )
        verdict = await self._local.reserve(divided)
        if isinstance(verdict, Denied):
            self.allowances.spend(reservation, 0)
            raise self._refusal(verdict, plan)
        if not isinstance(verdict, Granted):
            raise _uncountable()
        # By the store's time, as its accounts are: this machine's may be in another period.
        verdict = msgspec.structs.replace(verdict, at_ms=at_ms)
        return Grant(divided, verdict, plan=plan, budgets=budgets, keeper=self._local, uncounted=reservation)

    # -- settling -----------------------------------------------------------------------------------------------------

    async def settle(self, grant: Grant | None, entries: Sequence[UsageEntry], amounts: Amounts) -> Charged | None:
        """Release a hold, charge what was used and hand the events to the ledger; `None` if they went the slow way.

        Settling again does nothing. Returns within about half a second whatever happens to the store.
        """
        if self._journal is not None:
            self._end(grant, entries)
        try:
            if grant is None:
                await self._queue.put(entries)
                return _DONE
            if grant.keeper is self._store:
                return await self._store.charge(charge_of(grant, entries, amounts))
        except StoreUnavailable:
            self._degraded.add()
        await self._settle_slowly(grant, entries, amounts)
        return None

    def _end(self, grant: Grant | None, entries: Sequence[UsageEntry]) -> None:
        if self._journal is None:
            return
        try:
            self._journal.ended("" if grant is None else grant.id, entries)
        except OSError:
            _LOG.exception("the journal cannot be written: usage that is not in the database yet would not survive")

    async def adjust(self, grant: Grant, entries: Sequence[UsageEntry]) -> None:
        """Correct what the sweeper charged for a request that was alive after all; once, by an id of its own."""
        if self._journal is not None:
            self._end(None, entries)
        budgets = grant.reservation.budgets
        reservation = Reservation(partition=grant.reservation.partition, id=f"{grant.id}:adj", budgets=budgets)
        charge = Charge(reservation=reservation, granted=grant.granted, amounts=(), entries=tuple(entries))
        try:
            await self._store.charge(charge)
        except StoreUnavailable:
            await self._fallback(entries)
            self._on_missed(grant, charge)

    async def _settle_slowly(self, grant: Grant | None, entries: Sequence[UsageEntry], amounts: Amounts) -> None:
        if entries:
            await self._fallback(entries)
        if grant is None:
            return
        charge = charge_of(grant, entries, amounts)
        if grant.keeper is self._local:
            await self._local.charge(msgspec.structs.replace(charge, entries=()))
            self._spend_uncounted(grant, amounts.cost_nusd)
        else:
            self._on_missed(grant, charge)

    def _spend_uncounted(self, grant: Grant, cost_nusd: int) -> None:
        if grant.uncounted is not None and grant.budgets:
            self.allowances.spend(grant.uncounted, cost_nusd)
            self._on_missed(grant, None)

    async def void(self, grant: Grant) -> None:
        """Give a hold back from which nothing was used."""
        if self._journal is not None:
            self._end(grant, ())
        charge = _nothing(grant.reservation, grant.granted)
        try:
            await grant.keeper.charge(charge)
        except StoreUnavailable:
            self._on_missed(grant, charge)
        if grant.keeper is self._local and grant.uncounted is not None:
            self.allowances.spend(grant.uncounted, 0)


def charge_of(grant: Grant, entries: Sequence[UsageEntry], amounts: Amounts) -> Charge:
    """Return the charge that ends a grant."""
    return Charge(
        reservation=grant.reservation,
        granted=grant.granted,
        amounts=tuple([_actual(rule, amounts) for rule in grant.plan.rules]),
        entries=tuple(entries),
    )


def _nothing(reservation: Reservation, granted: Granted) -> Charge:
    """Return the charge of a request that used nothing, not even itself."""
    amounts = (0,) * len(reservation.windows)
    return Charge(reservation=reservation, granted=granted, amounts=amounts, entries=(), mode="late")


def _actual(rule: Rule, amounts: Amounts) -> int:
    dimension = rule.dimension
    if dimension == "requests":
        return amounts.requests
    if dimension == "tokens":
        return amounts.input_tokens + amounts.output_tokens
    if dimension == "input_tokens":
        return amounts.input_tokens
    return amounts.output_tokens if dimension == "output_tokens" else amounts.cost_nusd


def _uncountable() -> Unavailable:
    return Unavailable("spending cannot be counted now", code="accounting_unavailable", retry_after_s=1)
