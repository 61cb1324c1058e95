"""Charges the holds that nobody renewed. Law: one process at a time, and each hold at its last checkpoint.

What the ledger knows already is not charged again; so it takes both the store and the database.
"""

import asyncio
import logging
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from app.domain.usage.entries import entry_of
from app.kernel.errors import GatewayError
from app.kernel.ids import uuid7_text
from app.limits.opener import LedgerOpener
from app.limits.orphans import read_orphan
from app.limits.policy import rule_of_account
from app.observability.metrics import ORPHANS, Metrics
from app.stores.accounts import AccountStore, Charge, Expired, Reservation
from app.stores.errors import StoreUnavailable
from app.stores.protocols import Leases

_SWEEP_S = 3.0
_LEASE_S = 10.0
_LEASE = "ledger:sweep"
_AT_ONCE = 200
_MS_PER_S = 1_000
_LOG = logging.getLogger("gateway.limits")


class Sweeper:
    """Looks every three seconds for holds whose lease has ended."""

    def __init__(self, store: AccountStore, leases: Leases, *, opener: LedgerOpener, metrics: Metrics) -> None:
        self._store = store
        self._opener = opener
        self._leases = leases
        self._orphans = metrics.number(ORPHANS)
        self._holder = uuid7_text()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="limits-sweeper")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                if await self._leases.acquire(_LEASE, holder=self._holder, ttl_s=_LEASE_S):
                    await self.sweep()
            except (StoreUnavailable, GatewayError) as error:
                _LOG.debug("holds cannot be swept now: %s", error)
            except Exception:  # noqa: BLE001 - a supervisor: the next look comes in three seconds
                _LOG.exception("holds cannot be swept")

    async def sweep(self) -> int:
        """Charge every hold whose lease has ended; return how many there were."""
        swept = 0
        while expired := await self._store.expired(limit=_AT_ONCE):
            for hold in expired:
                await self._charge(hold)
            swept += len(expired)
        if swept:
            self._orphans.add(swept)
            _LOG.warning("%d holds of requests that nobody settled were charged", swept)
        return swept

    async def _charge(self, hold: Expired) -> None:
        """Charge a hold, or let go of it, if whoever took it has settled it without the store and could not tell."""
        charge = orphan_charge(hold)
        ids = {UUID(entry.id) for entry in charge.entries}
        if ids and await self._opener.known(ids, partition=hold.partition):
            for account in charge.reservation.budgets:
                await self._opener.open(rule_of_account(account), account, partition=hold.partition, force=True)
            charge = msgspec.structs.replace(charge, entries=(), mode="late", orphan=b"")
        await self._store.charge(charge)


def orphan_charge(hold: Expired) -> Charge:
    """Return the charge of a hold that nobody settled, at what its payload says it came to."""
    granted = hold.granted
    try:
        orphan = read_orphan(hold.orphan)
        events = orphan.usage_events(datetime.fromtimestamp(granted.at_ms / _MS_PER_S, UTC))
    except msgspec.DecodeError:
        _LOG.exception("a hold cannot be read: it is given up uncharged")
        reservation = Reservation(partition=hold.partition, id=hold.id)
        return Charge(
            reservation=reservation,
            granted=granted,
            amounts=(),
            entries=(),
            mode="orphan",
            orphan=hold.orphan,
        )
    return Charge(
        reservation=Reservation(partition=hold.partition, id=hold.id, budgets=orphan.budgets),
        granted=granted,
        amounts=(),
        entries=tuple(entry_of(event) for event in events),
        mode="orphan",
        orphan=hold.orphan,
    )
