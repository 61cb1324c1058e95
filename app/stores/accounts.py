"""What a request reserves and is charged, as every account store takes it. Law: one call over all rules, all or none.

Keys are unique within their partition; every key of one organisation is in the same one. Times are milliseconds of the
store's own clock since the Unix epoch; money is nano-USD.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from app.stores.entries import UsageEntry

SLOTS = 100
"""How many slots a window has. The oldest slot that it touches counts whole, so that no window exceeds its limit."""

LEASE_MS = 30_000
"""How long a hold lives without being renewed."""

MONEY = -1
"""As a window's amount: what the request reserves in money, which only the store knows when the cap is elastic."""

Mode = Literal["settle", "orphan", "late"]
Algorithm = Literal["sliding_window", "token_bucket"]
Kind = Literal["window", "concurrency", "budget", "too_large"]


class Window(msgspec.Struct, frozen=True, gc=False):
    """A limit over time, and how much of it a request takes; `amount` may be `MONEY`."""

    key: str
    limit: int
    window_ms: int
    algorithm: Algorithm
    amount: int


class Slots(msgspec.Struct, frozen=True, gc=False):
    """A limit on requests in flight."""

    key: str
    limit: int


class BudgetAccount(msgspec.Struct, frozen=True, gc=False):
    """What may be spent in one period, [`start_ms`, `end_ms`); the end is 0 for a period that never ends."""

    key: str
    limit_nusd: int
    start_ms: int
    end_ms: int


class Money(msgspec.Struct, frozen=True, gc=False):
    """What a request may cost: `fixed_nusd`, and `rate_nusd` for every million tokens of its output `cap`.

    Where a budget does not pay for the cap, the cap is lowered, but not below `min_cap`.
    """

    fixed_nusd: int = 0
    rate_nusd: int = 0
    cap: int = 0
    min_cap: int = 0


class Reservation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All that one request asks for. `orphan` is what is to become of it if nobody settles; opaque to the store."""

    partition: int
    id: str
    windows: tuple[Window, ...] = ()
    slots: tuple[Slots, ...] = ()
    budgets: tuple[BudgetAccount, ...] = ()
    money: Money = Money()
    orphan: bytes = b""


class Granted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A hold: taken `at_ms`, with so large a cap, so much money held; `used` is each window's use, this one included.

    `balances` are those of each budget before it. Both are empty when the same reservation was granted before.
    """

    at_ms: int
    cap: int
    held_nusd: int
    used: tuple[int, ...] = ()
    balances: "tuple[Balance, ...]" = ()


class Denied(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A refusal by the rule at `index` of its kind; nothing was written.

    `asked` is what the request takes of a window, in money what it would hold. `retry_ms` is when waiting helps, absent
    if it does not. `held` is what requests in flight hold: of the slots that are `used`, or beside what a budget has
    used; a window counts both as one, and does not tell them apart. `windows_used` is what is used of every window.
    """

    kind: Kind
    index: int
    at_ms: int
    used: int
    held: int = 0
    asked: int = 0
    retry_ms: int | None = None
    windows_used: tuple[int, ...] = ()


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """Budgets whose accounts the store does not have; they must be made first. Nothing was written."""

    indexes: tuple[int, ...]
    at_ms: int


class OutOfPeriod(msgspec.Struct, frozen=True, gc=False):
    """The store's time is outside of a budget's period, so the caller's clock is wrong. Nothing was written.

    So is a reservation answered that has ended already: it was given up while it was on its way.
    """

    at_ms: int


Verdict = Granted | Denied | Unknown | OutOfPeriod


class Charge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What becomes of a hold: each window's true amount, and the entries of the usage queue, all of the same scopes.

    What they cost is added to every account of their scopes and period, whether the request reserved of it or not: it
    may have been made since.

    `mode` is `settle`, `orphan` (only if the hold is still there, and its lease has ended), or `late` (a settlement
    that the store may have missed: a hold is released, but without one nothing is charged). `orphan` is by what the
    sweeper charged it, if that is what is late. What was held is the store's to know, not `granted`'s.
    """

    reservation: Reservation
    granted: Granted
    amounts: tuple[int, ...]
    entries: tuple[UsageEntry, ...]
    mode: Mode = "settle"
    orphan: bytes = b""


class Charged(msgspec.Struct, frozen=True, gc=False):
    """What a charge did: `done`; `before`, for one that was made already; or `orphaned`.

    An orphaned request was charged by the sweeper: `orphan` is by what.
    """

    state: Literal["done", "before", "orphaned"]
    orphan: bytes = b""


class Expired(msgspec.Struct, frozen=True, gc=False):
    """A hold that nobody renewed: its reservation's id and partition, what was granted, and its orphan."""

    partition: int
    id: str
    granted: Granted
    orphan: bytes


class Pending(msgspec.Struct, frozen=True, gc=False):
    """What the queue of a partition held at one moment; `mark` lets `open_account` add what came since."""

    entries: tuple[UsageEntry, ...]
    mark: bytes


class Balance(msgspec.Struct, frozen=True, gc=False):
    """The state of a budget's account."""

    used_nusd: int
    held_nusd: int


class Comparison(msgspec.Struct, frozen=True, gc=False):
    """What an account says, and what the ledger does."""

    used_nusd: int
    expected_nusd: int


class WindowUse(msgspec.Struct, frozen=True, gc=False):
    """The state of a window: what is used of it, and in how many milliseconds all of it is free again."""

    used: int
    reset_ms: int


class AccountScope(msgspec.Struct, frozen=True, gc=False):
    """Whose spending an account counts: the position in `UsageEntry.scopes`, and the id there."""

    position: int
    id: str


class AccountStore(Protocol):
    """Limits, holds and budgets. Every method raises `StoreUnavailable` when the store does not answer.

    `reserve` and `charge` are idempotent by the reservation's id, so that they may be sent again when no answer came.
    """

    async def now_ms(self) -> int:
        """Return the store's time."""
        ...

    async def reserve(self, reservation: Reservation) -> Verdict:
        """Take what is asked for of every rule, or of none."""
        ...

    async def charge(self, charge: Charge) -> Charged:
        """Release a hold, charge what was used, and put the entries into the usage queue, as one step."""
        ...

    async def renew(self, reservation: Reservation, granted: Granted, *, orphan: bytes) -> bool:
        """Extend a hold's lease, and replace its orphan; false when the hold is gone."""
        ...

    async def expired(self, *, limit: int) -> list[Expired]:
        """Return holds whose lease has ended, of all partitions, at most `limit` of each."""
        ...

    async def pending(self, partition: int) -> Pending:
        """Return the entries that are in the queue of a partition now."""
        ...

    async def open_account(
        self, account: BudgetAccount, *, partition: int, scope: AccountScope, base_nusd: int, mark: bytes, force: bool
    ) -> bool:
        """Make a budget's account: `base_nusd` and what the queue took since `mark`; held is what it was, or nothing.

        An account that is there stays as it is, unless `force` corrects what is used. False when the queue has given
        away entries since the mark, so that nobody can tell: read all anew.
        """
        ...

    async def check_account(
        self, account: BudgetAccount, *, partition: int, scope: AccountScope, base_nusd: int, mark: bytes
    ) -> Comparison | None:
        """Compare what an account says was used with what it should, as `open_account` would make it; change nothing.

        `None` when nobody can tell, or when there is no such account.
        """
        ...

    async def credit(self, entry: UsageEntry, *, receipt: bytes) -> None:
        """Add an entry that was put `again`, and proved new, to the accounts that were made before it came; once."""
        ...

    async def balances(self, accounts: Sequence[BudgetAccount], *, partition: int) -> list[Balance | None]:
        """Return the state of accounts; `None` for those that the store does not have."""
        ...

    async def accounts_of(self, scopes: tuple[str, str, str], *, partition: int) -> list[BudgetAccount]:
        """Return the accounts that count the spending of any of these scopes, with limits of 0."""
        ...

    async def uses(self, windows: Sequence[Window], *, partition: int) -> list[WindowUse]:
        """Return the state of windows."""
        ...

    async def in_flight(self, slots: Sequence[Slots], *, partition: int) -> list[int]:
        """Return how many requests are in flight."""
        ...


def money_of(money: Money, cap: int) -> int:
    """Return what a request with this cap may cost, rounded up."""
    return money.fixed_nusd - (-cap * money.rate_nusd // 1_000_000)


def affordable_cap(money: Money, available_nusd: int) -> int:
    """Return the largest cap, up to the one asked for, that the available money pays for; negative if none."""
    left = available_nusd - money.fixed_nusd
    if left < 0:
        return -1
    if money.rate_nusd == 0:
        return money.cap
    return min(money.cap, left * 1_000_000 // money.rate_nusd)
