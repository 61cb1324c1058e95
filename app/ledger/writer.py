"""From the usage queue into the database, each event with exactly one effect.

Entries are claimed, inserted by id (a repeated one inserts nothing) and only then acknowledged, so a crash anywhere
repeats work and loses none.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Protocol

from app.kernel.clock import Clock
from app.kernel.errors import GatewayError
from app.ledger.writing import EntryWriter
from app.observability.metrics import LEDGER_LAG, Metrics
from app.stores.errors import StoreUnavailable
from app.stores.protocols import Claimed, UsageQueue

_BATCH = 500
_MOST = 4_000
_GATHER_S = 0.2
"""A batch goes when it is full or this old: a transaction costs as much as many rows."""
_WAIT_S = 0.5
_PAUSE_S = 0.5
_MS_PER_S, _NS_PER_MS = 1_000, 1_000_000
_LOG = logging.getLogger("gateway.ledger")


class Beside(Protocol):
    """What goes with the writing of entries."""

    async def prepare(self, claimed: Sequence[Claimed]) -> list[Claimed]:
        """Return the entries that may be written now; the others come again. Raises `GatewayError`."""
        ...

    def written(self, claimed: Sequence[Claimed]) -> None:
        """Take note that the database has these entries."""
        ...


class LedgerWriter:
    """Moves events from the queue into the database until it is stopped."""

    def __init__(
        self, queue: UsageQueue, entries: EntryWriter, *, beside: Beside, metrics: Metrics, clock: Clock
    ) -> None:
        self._queue = queue
        self._entries = entries
        self._beside = beside
        self._clock = clock
        self._lag = metrics.number(LEDGER_LAG)
        self._claimed: list[Claimed] = []
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._is_stopping = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ledger-writer")

    async def stop(self, *, patience_s: float = 5.0) -> None:
        """Write what is there, within `patience_s`, and stop. A batch that is being written is written to its end."""
        if self._task is None:
            return
        self._is_stopping = True
        task, self._task = self._task, None
        with contextlib.suppress(TimeoutError, StoreUnavailable, GatewayError):
            async with asyncio.timeout(patience_s):
                await task
                while await self.step(wait_s=0.0):
                    pass

    async def _run(self) -> None:
        while not self._is_stopping:
            try:
                await self.step(wait_s=_WAIT_S)
            except (StoreUnavailable, GatewayError) as error:
                _LOG.warning("the ledger waits: %s", error)
                await asyncio.sleep(_PAUSE_S)
            except Exception:  # noqa: BLE001 - a supervisor: nothing may end the ledger but its stop
                _LOG.exception("the ledger waits")
                await asyncio.sleep(_PAUSE_S)

    async def step(self, *, wait_s: float) -> bool:
        """Write one batch; return whether there was anything to write.

        A batch that could not be written is kept and comes first the next time.
        """
        if not self._claimed:
            self._claimed = await self._claim(wait_s=wait_s)
        if not self._claimed:
            self._lag.set(0.0)
            return False
        await self._write(self._claimed)
        self._claimed = []
        return True

    async def _claim(self, *, wait_s: float) -> list[Claimed]:
        claimed = await self._queue.claim(limit=_BATCH, wait_s=wait_s)
        if claimed and wait_s > 0:
            await self._gather(claimed)
        return claimed

    async def _gather(self, claimed: list[Claimed]) -> None:
        """Add what else comes soon; a store that fails meanwhile costs only the addition."""
        if len(claimed) < _BATCH:
            await asyncio.sleep(_GATHER_S)
        with contextlib.suppress(StoreUnavailable):
            while len(claimed) < _MOST and (more := await self._queue.claim(limit=_BATCH, wait_s=0.0)):
                claimed += more

    async def _write(self, claimed: Sequence[Claimed]) -> None:
        oldest_ms = min(item.queued_ms for item in claimed)
        self._lag.set(max(0.0, (self._clock.now_ns() // _NS_PER_MS - oldest_ms) / _MS_PER_S))
        ready = await self._beside.prepare(claimed)
        for at in range(0, len(ready), _BATCH):
            await self._entries.write([item.entry for item in ready[at : at + _BATCH]])
        self._beside.written(ready)
        await self._queue.acknowledge(ready)
