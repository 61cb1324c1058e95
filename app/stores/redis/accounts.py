"""Limits, holds and budgets on Redis. Law: a call is one script over keys of one partition, in the server's time.

Partition NN has `{pNN}:h:<id>` for each hold, `{pNN}:leases` for when they end, and the keys of its rules.
"""

import asyncio
from collections.abc import Sequence
from typing import cast

from app.stores.accounts import (
    LEASE_MS,
    AccountScope,
    Balance,
    BudgetAccount,
    Charge,
    Charged,
    Comparison,
    Denied,
    Expired,
    Granted,
    Kind,
    OutOfPeriod,
    Pending,
    Reservation,
    Slots,
    Unknown,
    Verdict,
    Window,
    WindowUse,
)
from app.stores.entries import UsageEntry, note_of
from app.stores.errors import StoreUnavailable
from app.stores.redis.commands import Commands
from app.stores.redis.consumer import PARTITION_NAMES, STREAMS, account_sets, read_entry
from app.stores.redis.epochs import Epochs
from app.stores.redis.link import Argument
from app.stores.redis.repetition import Repetition
from app.stores.redis.scripts import Script, load_script

_KINDS: tuple[Kind, ...] = ("window", "concurrency", "budget", "too_large")
_REFUSED, _GRANTED, _UNKNOWN = 0, 1, 2
_DONE, _ORPHANED = 1, 2
_MAKE, _CORRECT, _COMPARE = 0, 1, 2
_MARK_S, _ORPHAN_MARK_S, _CREDITED_S = 120, 86_400, 86_400
_OUTLIVES_MS = 172_800_000
"""How long a budget's account outlives its period, for requests that began in it."""
_MS_PER_S, _US_PER_MS = 1_000, 1_000


class RedisAccountStore:
    """Accounts shared by every process on the same Redis."""

    def __init__(self, hot: Commands, *, repetition: Repetition, epochs: Epochs) -> None:
        """Make accounts over a connection that belongs to somebody else."""
        self._hot = hot
        self._repetition = repetition
        self._epochs = epochs
        self._reserve = load_script("reserve")
        self._charge = load_script("charge", after=("spend",))
        self._renew = load_script("renew")
        self._expired = load_script("expired")
        self._open = load_script("open_account")
        self._credit = load_script("credit", after=("spend",))
        self._use = load_script("window_use")

    async def now_ms(self) -> int:
        """Return the server's time."""
        seconds, micros = cast("list[bytes]", await self._hot.call("TIME"))
        return int(seconds) * _MS_PER_S + int(micros) // _US_PER_MS

    async def reserve(self, reservation: Reservation) -> Verdict:
        """Take what is asked for of every rule, or of none; a lost answer is asked for once more, by the same id."""
        name = PARTITION_NAMES[reservation.partition]
        keys: list[Argument] = [f"{name}:h:{reservation.id}", f"{name}:leases"]
        money = reservation.money
        args: list[Argument] = [
            reservation.id,
            LEASE_MS,
            reservation.orphan,
            money.fixed_nusd,
            money.rate_nusd,
            money.cap,
            money.min_cap,
            len(reservation.windows),
            len(reservation.slots),
            len(reservation.budgets),
        ]
        for window in reservation.windows:
            keys.append(name + window.key)
            args += (window.limit, window.window_ms, window.amount, int(window.algorithm == "token_bucket"))
        for slots in reservation.slots:
            keys.append(name + slots.key)
            args.append(slots.limit)
        for budget in reservation.budgets:
            keys.append(name + budget.key)
            args += (budget.limit_nusd, budget.start_ms, budget.end_ms)
        reply = cast("list[int]", await self._twice(self._reserve, keys, args))
        return _verdict(reply, windows=len(reservation.windows))

    async def charge(self, charge: Charge) -> Charged:
        """Release a hold, charge what was used, and append the entries, as one step; remembered for a new server."""
        state, *rest = await self._make(charge, charge.mode)
        if state == _ORPHANED:
            return Charged("orphaned", cast("bytes", rest[0]))
        # What was made before may have been made by this very call, whose first answer was lost.
        if state == _DONE or rest[0]:
            self._repetition.remember(lambda: self._make(charge, "late"))
        return Charged("done" if state == _DONE else "before")

    async def _make(self, charge: Charge, mode: str) -> "list[int | bytes]":
        reservation = charge.reservation
        name = PARTITION_NAMES[reservation.partition]
        keys: list[Argument] = [
            f"{name}:h:{reservation.id}",
            f"{name}:leases",
            STREAMS[reservation.partition],
            *account_sets(name, charge.entries[0].scopes if charge.entries else ("", "", "")),
            *[name + window.key for window in reservation.windows],
            *[name + slots.key for slots in reservation.slots],
            *[name + budget.key for budget in reservation.budgets],
        ]
        args: list[Argument] = [
            reservation.id,
            mode,
            charge.orphan,
            len(reservation.windows),
            len(reservation.slots),
            len(reservation.budgets),
            len(charge.entries),
            _MARK_S,
            _ORPHAN_MARK_S,
        ]
        for window, actual in zip(reservation.windows, charge.amounts, strict=True):
            args += (window.limit, window.window_ms, window.amount, actual, int(window.algorithm == "token_bucket"))
        for entry in charge.entries:
            args += (entry.id, entry.payload, note_of(entry))
        return cast("list[int | bytes]", await self._twice(self._charge, keys, args))

    async def _twice(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> object:
        """Run a script that is idempotent by an id; a lost connection is tried once more."""
        try:
            return await self._hot.script(script, keys, args)
        except StoreUnavailable as first:
            try:
                return await self._hot.script(script, keys, args)
            except StoreUnavailable as second:
                second.may_have_run |= first.may_have_run
                raise

    # -- leases -------------------------------------------------------------------------------------------------------

    async def renew(self, reservation: Reservation, granted: Granted, *, orphan: bytes) -> bool:
        """Extend a hold's lease, and replace its orphan; false when the hold is gone."""
        name = PARTITION_NAMES[reservation.partition]
        keys = [f"{name}:h:{reservation.id}", f"{name}:leases", *[name + slots.key for slots in reservation.slots]]
        value = f"{granted.at_ms}:{granted.cap}:{granted.held_nusd}\n".encode() + orphan
        return await self._hot.script(self._renew, keys, (reservation.id, LEASE_MS, value)) == 1

    async def expired(self, *, limit: int) -> list[Expired]:
        """Return holds whose lease has ended, of all partitions that can be asked, at most `limit` of each."""
        asked = [self._hot.script(self._expired, (f"{name}:leases",), (limit,)) for name in PARTITION_NAMES]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(failures) == len(answers):
            raise failures[0]
        found: list[Expired] = []
        for partition, answer in enumerate(answers):
            if not isinstance(answer, BaseException):
                for reservation_id in cast("list[bytes]", answer):
                    found += await self._orphan(partition, reservation_id.decode())
        return found

    async def _orphan(self, partition: int, reservation_id: str) -> list[Expired]:
        """Return a hold with what it becomes; one that has ended meanwhile is taken off the list."""
        name = PARTITION_NAMES[partition]
        hold = cast("bytes | None", await self._hot.call("GET", f"{name}:h:{reservation_id}"))
        head, newline, orphan = (hold or b"").partition(b"\n")
        if not newline or head == b"orphaned":
            await self._hot.call("ZREM", f"{name}:leases", reservation_id)
            return []
        at_ms, cap, held_nusd = map(int, head.split(b":"))
        return [Expired(partition, reservation_id, Granted(at_ms=at_ms, cap=cap, held_nusd=held_nusd), orphan)]

    # -- accounts -----------------------------------------------------------------------------------------------------

    async def pending(self, partition: int) -> Pending:
        """Return the entries that are in the stream now; after a wipe only when everybody has put his own again."""
        await self._epochs.look()
        await self._repetition.wait()
        await asyncio.sleep(self._epochs.settles_in_s(partition))
        stream = STREAMS[partition]
        if await self._hot.call("EXISTS", stream) == 0:
            return Pending((), b"0-0 0")
        about, rows = await asyncio.gather(
            self._hot.call("XINFO", "STREAM", stream), self._hot.call("XRANGE", stream, "-", "+")
        )
        known = cast("list[bytes | int]", about)
        facts = dict(zip(known[::2], known[1::2], strict=True))
        last = cast("bytes", facts[b"last-generated-id"])
        taken = cast("int", facts[b"entries-added"])
        until = _stream_id(last)
        entries = tuple(
            read_entry(partition, fields)
            for receipt, fields in cast("list[tuple[bytes, list[bytes]]]", rows)
            if _stream_id(receipt) <= until
        )
        return Pending(entries, b"%s %d" % (last, taken))

    async def open_account(
        self, account: BudgetAccount, *, partition: int, scope: AccountScope, base_nusd: int, mark: bytes, force: bool
    ) -> bool:
        """Make or correct a budget's account; false when the stream has lost entries since the mark."""
        how = _CORRECT if force else _MAKE
        reply = await self._run_open(account, scope, partition=partition, base_nusd=base_nusd, mark=mark, how=how)
        return reply[0] == 1

    async def check_account(
        self, account: BudgetAccount, *, partition: int, scope: AccountScope, base_nusd: int, mark: bytes
    ) -> Comparison | None:
        """Compare what an account says was used with what it should; change nothing."""
        reply = await self._run_open(account, scope, partition=partition, base_nusd=base_nusd, mark=mark, how=_COMPARE)
        return Comparison(reply[1], reply[2]) if reply[0] == 1 else None

    async def _run_open(
        self,
        account: BudgetAccount,
        scope: AccountScope,
        *,
        partition: int,
        base_nusd: int,
        mark: bytes,
        how: int,
    ) -> list[int]:
        last, taken = mark.split(b" ")
        name = PARTITION_NAMES[partition]
        keys = (name + account.key, STREAMS[partition], f"{name}:accounts:{scope.position}{scope.id}")
        args = (
            *(base_nusd, last, taken, scope.position, scope.id),
            *(account.start_ms, account.end_ms, how, _OUTLIVES_MS),
        )
        return cast("list[int]", await self._hot.script(self._open, keys, args))

    async def credit(self, entry: UsageEntry, *, receipt: bytes) -> None:
        """Add an entry that was put `again`, and proved new, to the accounts that were made before it came."""
        name = PARTITION_NAMES[entry.partition]
        keys = (f"{name}:credited:{entry.id}", *account_sets(name, entry.scopes))
        await self._hot.script(self._credit, keys, (entry.cost_nusd, receipt, entry.at_ms, _CREDITED_S))

    async def balances(self, accounts: Sequence[BudgetAccount], *, partition: int) -> list[Balance | None]:
        """Return the state of accounts; `None` for those that are not there."""
        name = PARTITION_NAMES[partition]
        asked = [self._hot.call("HMGET", name + account.key, "used", "held") for account in accounts]
        found = cast("list[list[bytes | None]]", await asyncio.gather(*asked))
        return [None if used is None else Balance(int(used), int(held or 0)) for used, held in found]

    async def accounts_of(self, scopes: tuple[str, str, str], *, partition: int) -> list[BudgetAccount]:
        """Return the accounts that count the spending of any of these scopes, with limits of 0."""
        name = PARTITION_NAMES[partition]
        sets = await asyncio.gather(*[self._hot.call("SMEMBERS", key) for key in account_sets(name, scopes)])
        keys = sorted({member.decode() for found in cast("list[list[bytes]]", sets) for member in found})
        asked = [self._hot.call("HMGET", key, "start", "end") for key in keys]
        bounds = cast("list[list[bytes | None]]", await asyncio.gather(*asked))
        return [
            BudgetAccount(key.removeprefix(name), 0, int(start), int(end or 0))
            for key, (start, end) in zip(keys, bounds, strict=True)
            if start is not None
        ]

    async def uses(self, windows: Sequence[Window], *, partition: int) -> list[WindowUse]:
        """Return the state of windows."""
        name = PARTITION_NAMES[partition]
        asked = [
            self._hot.script(
                self._use,
                (name + window.key,),
                (window.limit, window.window_ms, int(window.algorithm == "token_bucket")),
            )
            for window in windows
        ]
        return [WindowUse(*pair) for pair in cast("list[list[int]]", await asyncio.gather(*asked))]

    async def in_flight(self, slots: Sequence[Slots], *, partition: int) -> list[int]:
        """Return how many requests are in flight."""
        name, now_ms = PARTITION_NAMES[partition], await self.now_ms()
        asked = [self._hot.call("ZCOUNT", name + each.key, now_ms + 1, "+inf") for each in slots]
        return cast("list[int]", await asyncio.gather(*asked))


def _verdict(reply: list[int], *, windows: int) -> Verdict:
    state = reply[0]
    if state == _GRANTED:
        end = 4 + windows
        balances = tuple(map(Balance, reply[end::2], reply[end + 1 :: 2])) if len(reply) > end else ()
        return Granted(at_ms=reply[1], cap=reply[2], held_nusd=reply[3], used=tuple(reply[4:end]), balances=balances)
    if state == _REFUSED:
        _, kind, index, at_ms, used, held, retry_ms, asked, *windows_used = reply
        return Denied(
            kind=_KINDS[kind - 1],
            index=index,
            at_ms=at_ms,
            used=used,
            held=held,
            asked=asked,
            retry_ms=None if retry_ms < 0 else retry_ms,
            windows_used=tuple(windows_used),
        )
    if state == _UNKNOWN:
        return Unknown(tuple(reply[2:]), reply[1])
    return OutOfPeriod(reply[1])


def _stream_id(text: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = text.partition(b"-")
    return int(milliseconds), int(sequence)
