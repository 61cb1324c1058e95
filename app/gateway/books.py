"""The money side of a worker that serves inference: accounts, holds, and what happens when a store does not answer."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from app.db.engine import folder_of
from app.gateway.core import Core
from app.kernel.errors import GatewayError
from app.kernel.ids import uuid7_text
from app.ledger.spool import Spool
from app.limits.accounts import Accounts, Backing
from app.limits.estimate import Estimator
from app.limits.holds import Holds
from app.limits.policies import Policies
from app.limits.recovery import Recovery
from app.limits.sweeper import Sweeper
from app.observability.metrics import LEDGER_QUEUE
from app.settings.model import Settings
from app.stores.entries import UsageEntry
from app.stores.errors import StoreUnavailable
from app.stores.memory import MemoryUsageQueue
from app.stores.memory_accounts import MemoryAccountStore

_LOOK_S = 2.0
_PRESENT_S = 10.0
_MOST_QUEUED = 1_000_000
"""So many events that no database takes are enough: from here on nothing is admitted that must be counted."""
_LOG = logging.getLogger("gateway.books")


class Books:
    """Made inside the worker's loop, after its core."""

    def __init__(self, core: Core) -> None:
        settings, stores = core.settings, core.stores
        self._core = core
        self._process = uuid7_text()
        self._workers = settings.gateway.workers
        self._queued = core.metrics.number(LEDGER_QUEUE)
        self._queue_depth = 0
        self._task: asyncio.Task[None] | None = None
        self.policies = Policies(settings)
        self.estimator = Estimator()
        self.spool = Spool(spool_folder(settings), self._write, adopt=self._put_again)
        self.recovery = Recovery(
            stores.accounts,
            core.opener,
            spool=self.spool.take,
            is_written=lambda: self.spool.is_empty,
            on_corrected=self._on_corrected,
        )
        backing = Backing(
            opener=core.opener,
            fallback=self.recovery.take,
            missed=self.recovery.missed,
            spawn=core.tasks.spawn,
            local=MemoryAccountStore(MemoryUsageQueue(clock=core.clock), clock=core.clock),
            share=lambda: self._workers,
            is_overfull=lambda: self._queue_depth >= _MOST_QUEUED,
            journal=core.journal,
        )
        self.accounts = Accounts(stores.accounts, stores.usage, backing=backing, metrics=core.metrics, clock=core.clock)
        progressed = None if core.journal is None else core.journal.progressed
        self.holds = Holds(clock=core.clock, written=progressed)
        self._sweeper = Sweeper(stores.accounts, stores.leases, opener=core.opener, metrics=core.metrics)

    async def start(self) -> None:
        """Begin to renew, sweep and look around. Call it when the stores are open."""
        self.accounts.time.heard(await self._core.stores.accounts.now_ms())
        self.holds.start()
        self.recovery.start()
        self._sweeper.start()
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="books")

    async def aclose(self) -> None:
        """Stop, when every request is settled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._sweeper.stop()
        await self.holds.stop()
        await self.recovery.stop()
        try:
            await self.spool.flush()
        except GatewayError:
            _LOG.warning("the database is down: usage stays in the spool for the next start")
        self.spool.close()

    def _on_corrected(self, account_key: str) -> None:
        self.accounts.allowances.forget(account_key)

    async def _write(self, entries: Sequence[UsageEntry]) -> None:
        await self._core.entries.write(entries)

    async def _put_again(self, entries: Sequence[UsageEntry]) -> None:
        """Hand over what another process had spooled; accounts that were made since learn of what proves new."""
        if self._core.stores.kind != "memory":
            try:
                await self._core.stores.usage.put([msgspec.structs.replace(entry, again=True) for entry in entries])
            except StoreUnavailable:
                _LOG.debug("the store does not take the spool of another process: it goes to the database")
            else:
                return
        await self._write(entries)

    async def _watch(self) -> None:
        """Empty the spool, and keep count of the workers and of what waits for the ledger."""
        adopted = False
        while True:
            try:
                if not adopted:
                    await self.spool.adopt()
                    adopted = True
                await self.spool.flush()
            except GatewayError as error:
                _LOG.debug("the spool waits: %s", error)
            except Exception:  # noqa: BLE001 - a supervisor: the next look comes in two seconds
                _LOG.exception("the spool waits")
            try:
                workers = await self._core.stores.presence.announce(self._process, ttl_s=_PRESENT_S)
                self._workers = max(1, workers)
                self._queue_depth = await self._core.stores.usage.depth()
                self._queued.set(float(self._queue_depth))
            except StoreUnavailable:
                pass
            self._core.stores.sweep()
            await asyncio.sleep(_LOOK_S)


def spool_folder(settings: Settings) -> Path:
    """Return where usage is kept that no store takes: beside the embedded database, or where the settings say."""
    if settings.has_sqlite and settings.origin("spool") == "default":
        return folder_of(settings.database.reveal()) / "spool"
    return Path(settings.spool)
