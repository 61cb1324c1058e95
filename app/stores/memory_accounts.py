"""Limits, holds and budgets of a single process. Law: a call decides and acts without suspending, so it is atomic."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import structs

from app.kernel.clock import Clock
from app.stores.accounts import (
    LEASE_MS,
    MONEY,
    AccountScope,
    Balance,
    BudgetAccount,
    Charge,
    Charged,
    Comparison,
    Denied,
    Expired,
    Granted,
    OutOfPeriod,
    Pending,
    Reservation,
    Slots,
    Unknown,
    Verdict,
    Window,
    WindowUse,
    affordable_cap,
    money_of,
)
from app.stores.counting import counts_for
from app.stores.entries import UsageEntry
from app.stores.windows import Bucket, Ring

_NS_PER_MS = 1_000_000
_MAX_ENDED = 20_000
_KEPT_MS = 172_800_000
"""How long a budget's account outlives its period, for requests that began in it."""


class Queue(Protocol):
    """What accounts need of the usage queue beside them; `on_put` is told of each entry that did not come again."""

    on_put: Callable[[UsageEntry], None]

    async def put(self, entries: Sequence[UsageEntry]) -> None:
        """Take entries."""
        ...

    def pending(self, partition: int) -> tuple[list[UsageEntry], int]:
        """Return a partition's entries that are not acknowledged, and how many entries were ever put."""
        ...

    def put_since(self, count: int, partition: int) -> list[UsageEntry] | None:
        """Return what was put after the first `count`; `None` if some of it is acknowledged."""
        ...


class _Hold:
    """A granted reservation that is not settled yet; `ticks_ms` are of the monotonic clock."""

    __slots__ = ("expires_ms", "granted", "orphan", "reservation", "ticks_ms")

    def __init__(self, reservation: Reservation, granted: Granted, *, ticks_ms: int) -> None:
        self.reservation = reservation
        self.granted = granted
        self.orphan = reservation.orphan
        self.ticks_ms = ticks_ms
        self.expires_ms = ticks_ms + LEASE_MS


class _Account:
    """What was used and is held of a budget in one period."""

    __slots__ = ("end_ms", "held_nusd", "scope", "start_ms", "used_nusd")

    def __init__(self, account: BudgetAccount, scope: AccountScope, *, used_nusd: int, held_nusd: int) -> None:
        self.start_ms, self.end_ms = account.start_ms, account.end_ms
        self.scope = (scope.position, scope.id)
        self.used_nusd = used_nusd
        self.held_nusd = held_nusd

    def holds(self, at_ms: int) -> bool:
        """Whether a moment falls into the period."""
        return self.start_ms <= at_ms and (not self.end_ms or at_ms < self.end_ms)


class MemoryAccountStore:
    """Accounts inside this process. Windows and leases follow the monotonic clock, periods the wall clock."""

    def __init__(self, queue: Queue, *, clock: Clock) -> None:
        """Make accounts without any use, which hand their entries to `queue`."""
        self._queue = queue
        queue.on_put = self.spend
        self._clock = clock
        self._rings: dict[str, Ring] = {}
        self._buckets: dict[str, Bucket] = {}
        self._in_flight: dict[str, dict[str, None]] = {}
        self._budgets: dict[str, _Account] = {}
        self._accounts_of: dict[tuple[int, str], set[str]] = {}
        self._holds: dict[str, _Hold] = {}
        self._ended: dict[str, bytes] = {}
        self._end_order: deque[str] = deque()

    async def now_ms(self) -> int:
        """Return the wall time."""
        return self._clock.now_ns() // _NS_PER_MS

    # -- reserving ----------------------------------------------------------------------------------------------------

    async def reserve(self, reservation: Reservation) -> Verdict:
        """Take what is asked for of every rule, or of none."""
        at_ms, ticks_ms = self._clock.now_ns() // _NS_PER_MS, self._clock.monotonic_ns() // _NS_PER_MS
        known = self._holds.get(reservation.id)
        if known is not None:
            return structs.replace(known.granted, used=(), balances=())
        if reservation.id in self._ended:
            return OutOfPeriod(at_ms)
        cap = reservation.money.cap
        if reservation.budgets:
            afforded = self._afford(reservation, at_ms)
            if isinstance(afforded, Denied):
                return self._with_use(afforded, reservation, ticks_ms=ticks_ms)
            if not isinstance(afforded, int):
                return afforded
            cap = afforded
        amount = money_of(reservation.money, cap)
        refusal = self._refusal(reservation, amount, at_ms=at_ms, ticks_ms=ticks_ms)
        if refusal is not None:
            return self._with_use(refusal, reservation, ticks_ms=ticks_ms)
        balances = tuple([self._balance(budget.key) for budget in reservation.budgets])
        used = self._take(reservation, amount, ticks_ms=ticks_ms)
        granted = Granted(at_ms=at_ms, cap=cap, held_nusd=amount, used=used, balances=balances)
        self._holds[reservation.id] = _Hold(reservation, granted, ticks_ms=ticks_ms)
        return granted

    def _afford(self, reservation: Reservation, at_ms: int) -> int | Verdict:
        """Return the cap that all budgets pay for, or why there is none."""
        unknown = [index for index, budget in enumerate(reservation.budgets) if budget.key not in self._budgets]
        if unknown:
            return Unknown(tuple(unknown), at_ms)
        tightest, available = 0, None
        for index, budget in enumerate(reservation.budgets):
            if at_ms < budget.start_ms or (budget.end_ms and at_ms >= budget.end_ms):
                return OutOfPeriod(at_ms)
            account = self._budgets[budget.key]
            left = budget.limit_nusd - account.used_nusd - account.held_nusd
            if available is None or left < available:
                tightest, available = index, left
        money = reservation.money
        cap = affordable_cap(money, available or 0)
        if cap < min(money.min_cap, money.cap):
            account = self._budgets[reservation.budgets[tightest].key]
            return Denied(kind="budget", index=tightest, at_ms=at_ms, used=account.used_nusd, held=account.held_nusd)
        return cap

    def _balance(self, key: str) -> Balance:
        account = self._budgets[key]
        return Balance(account.used_nusd, account.held_nusd)

    def _refusal(self, reservation: Reservation, money: int, *, at_ms: int, ticks_ms: int) -> Denied | None:
        """Return the refusal that lasts longest, if any rule refuses."""
        worst: Denied | None = None
        for index, window in enumerate(reservation.windows):
            amount = money if window.amount == MONEY else window.amount
            used, retry_ms = self._look(window, amount, ticks_ms)
            if amount > window.limit:
                return Denied(kind="too_large", index=index, at_ms=at_ms, used=used, asked=amount)
            if retry_ms and (worst is None or retry_ms > (worst.retry_ms or 0)):
                worst = Denied(kind="window", index=index, at_ms=at_ms, used=used, asked=amount, retry_ms=retry_ms)
        if worst is not None:
            return worst
        for index, slots in enumerate(reservation.slots):
            taken = len(self._in_flight.get(slots.key, ()))
            if taken >= slots.limit:
                return Denied(kind="concurrency", index=index, at_ms=at_ms, used=taken, held=taken)
        return None

    def _with_use(self, denied: Denied, reservation: Reservation, *, ticks_ms: int) -> Denied:
        """Return a refusal that also says what is used of every window."""
        used = tuple([self._look(window, 0, ticks_ms)[0] for window in reservation.windows])
        return structs.replace(denied, windows_used=used)

    def _look(self, window: Window, amount: int, ticks_ms: int) -> tuple[int, int]:
        """Return what is used of a window, and in how many milliseconds it has room for `amount`: 0 if it has now."""
        if window.algorithm == "token_bucket":
            bucket = self._buckets.get(window.key)
            if bucket is None:
                return 0, 0
            balance = bucket.look(ticks_ms, window.limit)
            wait_ms = 0 if balance >= amount else bucket.wait_ms(amount, balance=balance, limit=window.limit)
            return window.limit - balance, wait_ms
        ring = self._rings.get(window.key)
        if ring is None:
            return 0, 0
        ring.advance(ticks_ms)
        excess = ring.total + amount - window.limit
        return ring.total, 0 if excess <= 0 else ring.wait_ms(ticks_ms, excess)

    def _take(self, reservation: Reservation, money: int, *, ticks_ms: int) -> tuple[int, ...]:
        used = []
        for window in reservation.windows:
            amount = money if window.amount == MONEY else window.amount
            if window.algorithm == "token_bucket":
                bucket = self._buckets.get(window.key)
                if bucket is None:
                    bucket = Bucket(window.window_ms, limit=window.limit, now_ms=ticks_ms)
                    self._buckets[window.key] = bucket
                bucket.refill(ticks_ms, window.limit)
                bucket.balance -= amount
                used.append(window.limit - bucket.balance)
                continue
            ring = self._rings.get(window.key)
            if ring is None:
                ring = self._rings[window.key] = Ring(window.window_ms)
            ring.add(ticks_ms // ring.slot_ms, amount)
            used.append(ring.total)
        for slots in reservation.slots:
            self._in_flight.setdefault(slots.key, {})[reservation.id] = None
        for budget in reservation.budgets:
            self._budgets[budget.key].held_nusd += money
        return tuple(used)

    # -- charging -----------------------------------------------------------------------------------------------------

    async def charge(self, charge: Charge) -> Charged:
        """Release a hold, charge what was used, and put the entries into the usage queue, as one step."""
        reservation = charge.reservation
        ended = self._ended.get(reservation.id)
        if ended is not None:
            return Charged("orphaned", ended) if ended and charge.mode == "settle" else Charged("before")
        hold = self._holds.get(reservation.id)
        if charge.mode == "orphan" and (hold is None or hold.expires_ms > self._clock.monotonic_ns() // _NS_PER_MS):
            return Charged("before")
        if hold is not None:
            del self._holds[reservation.id]
            self._release(hold, charge)
        self._end(reservation.id, hold.orphan if hold is not None and charge.mode == "orphan" else charge.orphan)
        is_known = hold is not None or charge.mode == "settle"
        await self._queue.put(
            charge.entries if is_known else [structs.replace(entry, again=True) for entry in charge.entries]
        )
        return Charged("done")

    def spend(self, entry: UsageEntry) -> None:
        """Add what an entry cost to every account of its scopes and period."""
        for scope in enumerate(entry.scopes):
            for key in self._accounts_of.get(scope, ()):
                account = self._budgets.get(key)
                if account is not None and account.holds(entry.at_ms):
                    account.used_nusd += entry.cost_nusd

    def _release(self, hold: _Hold, charge: Charge) -> None:
        reservation = hold.reservation
        # A sweeper does not know the windows; what was reserved of them stays until they have passed.
        for window, actual in zip(reservation.windows, charge.amounts, strict=False):
            reserved = hold.granted.held_nusd if window.amount == MONEY else window.amount
            if actual == reserved:
                continue
            if window.algorithm == "token_bucket":
                if (bucket := self._buckets.get(window.key)) is not None:
                    bucket.balance = min(window.limit, bucket.balance + reserved - actual)
            elif (ring := self._rings.get(window.key)) is not None:
                ring.correct(hold.ticks_ms // ring.slot_ms, actual - reserved)
        self._leave(hold)
        for budget in reservation.budgets:
            if (account := self._budgets.get(budget.key)) is not None:
                account.held_nusd -= hold.granted.held_nusd

    def _leave(self, hold: _Hold) -> None:
        for slots in hold.reservation.slots:
            taken = self._in_flight.get(slots.key)
            if taken is not None:
                taken.pop(hold.reservation.id, None)
                if not taken:
                    del self._in_flight[slots.key]

    def _end(self, reservation_id: str, orphan: bytes) -> None:
        self._ended[reservation_id] = orphan
        self._end_order.append(reservation_id)
        if len(self._end_order) > _MAX_ENDED:
            self._ended.pop(self._end_order.popleft(), None)

    # -- leases -------------------------------------------------------------------------------------------------------

    async def renew(self, reservation: Reservation, granted: Granted, *, orphan: bytes) -> bool:
        """Extend a hold's lease, and replace its orphan; false when the hold is gone."""
        del granted
        hold = self._holds.pop(reservation.id, None)
        if hold is None:
            return False
        hold.orphan = orphan
        hold.expires_ms = self._clock.monotonic_ns() // _NS_PER_MS + LEASE_MS
        self._holds[reservation.id] = hold
        return True

    async def expired(self, *, limit: int) -> list[Expired]:
        """Return holds whose lease has ended: they are in the order of their leases."""
        now_ms = self._clock.monotonic_ns() // _NS_PER_MS
        found: list[Expired] = []
        for reservation_id, hold in self._holds.items():
            if hold.expires_ms > now_ms or len(found) >= limit:
                break
            found.append(Expired(hold.reservation.partition, reservation_id, hold.granted, hold.orphan))
        return found

    # -- accounts -----------------------------------------------------------------------------------------------------

    async def pending(self, partition: int) -> Pending:
        """Return the entries that are in the queue of a partition now."""
        entries, mark = self._queue.pending(partition)
        return Pending(tuple(entries), b"%d" % mark)

    async def open_account(
        self, account: BudgetAccount, *, partition: int, scope: AccountScope, base_nusd: int, mark: bytes, force: bool
    ) -> bool:
        """Make or correct a budget's account; false when the queue has given away entries since the mark."""
        if account.key in self._budgets and not force:
            return True
        since = self._queue.put_since(int(mark), partition)
        if since is None:
            return False
        used = base_nusd + sum(entry.cost_nusd for entry in since if counts_for(account, scope, entry))
        known = self._budgets.get(account.key)
        self._budgets[account.key] = _Account(account, scope, used_nusd=used, held_nusd=known.held_nusd if known else 0)
        self._accounts_of.setdefault((scope.position, scope.id), set()).add(account.key)
        return True

    async def check_account(
        self, account: BudgetAccount, *, partition: int, scope: AccountScope, base_nusd: int, mark: bytes
    ) -> Comparison | None:
        """Compare what an account says was used with what it should; change nothing."""
        known, since = self._budgets.get(account.key), self._queue.put_since(int(mark), partition)
        if known is None or since is None:
            return None
        expected = base_nusd + sum(entry.cost_nusd for entry in since if counts_for(account, scope, entry))
        return Comparison(known.used_nusd, expected)

    async def credit(self, entry: UsageEntry, *, receipt: bytes) -> None:
        """Do nothing: nothing is ever put again in one process."""

    async def balances(self, accounts: Sequence[BudgetAccount], *, partition: int) -> list[Balance | None]:
        """Return the state of accounts; `None` for those that are not there."""
        del partition
        found = [self._budgets.get(account.key) for account in accounts]
        return [None if state is None else Balance(state.used_nusd, state.held_nusd) for state in found]

    async def accounts_of(self, scopes: tuple[str, str, str], *, partition: int) -> list[BudgetAccount]:
        """Return the accounts that count the spending of any of these scopes, with limits of 0."""
        del partition
        keys = {key for scope in enumerate(scopes) for key in self._accounts_of.get(scope, ())}
        return [BudgetAccount(key, 0, self._budgets[key].start_ms, self._budgets[key].end_ms) for key in sorted(keys)]

    async def uses(self, windows: Sequence[Window], *, partition: int) -> list[WindowUse]:
        """Return the state of windows."""
        del partition
        ticks_ms = self._clock.monotonic_ns() // _NS_PER_MS
        return [self._use(window, ticks_ms) for window in windows]

    def _use(self, window: Window, ticks_ms: int) -> WindowUse:
        used, _ = self._look(window, 0, ticks_ms)
        if window.algorithm == "token_bucket":
            bucket = self._buckets.get(window.key)
            wait_ms = 0 if bucket is None else bucket.wait_ms(used, balance=0, limit=window.limit)
            return WindowUse(used, wait_ms)
        ring = self._rings.get(window.key)
        return WindowUse(used, 0 if ring is None else ring.reset_ms(ticks_ms))

    async def in_flight(self, slots: Sequence[Slots], *, partition: int) -> list[int]:
        """Return how many requests are in flight."""
        del partition
        return [len(self._in_flight.get(each.key, ())) for each in slots]

    def sweep(self) -> None:
        """Forget what is as if it had never been: empty windows, full buckets, budgets of periods long past."""
        now_ms, ticks_ms = self._clock.now_ns() // _NS_PER_MS, self._clock.monotonic_ns() // _NS_PER_MS
        for key, ring in list(self._rings.items()):
            ring.advance(ticks_ms)
            if not ring.counts:
                del self._rings[key]
        for key, bucket in list(self._buckets.items()):
            if bucket.at + bucket.window < ticks_ms // bucket.grain_ms:
                del self._buckets[key]
        for key, account in list(self._budgets.items()):
            if account.end_ms and account.end_ms + _KEPT_MS < now_ms and not account.held_nusd:
                del self._budgets[key]
                its = self._accounts_of[account.scope]
                its.discard(key)
                if not its:
                    del self._accounts_of[account.scope]
