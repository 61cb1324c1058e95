"""From the usage queue into the database, each event with exactly one effect.

Entries are claimed, inserted by id (a repeated one inserts nothing) and only then acknowledged, so a crash anywhere
repeats work and loses none. Entries that the queue could not take wait in this process and go the same way.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from app.domain.usage.codec import decode_event
from app.domain.usage.schemas import UsageEvent
from app.kernel.clock import Clock
from app.kernel.errors import GatewayError
from app.observability.metrics import LEDGER_LAG, Metrics
from app.stores.entries import UsageEntry
from app.stores.errors import StoreUnavailable
from app.stores.protocols import Claimed, UsageQueue

_BATCH = 500
_MOST = 4_000
_GATHER_S = 0.2
"""A batch goes when it is full or this old: a transaction costs as much as many rows."""
_WAIT_S = 0.5
_PAUSE_S = 0.5
_LOG = logging.getLogger("gateway.ledger")

Insert = Callable[[Sequence[UsageEvent]], Awaitable[None]]
"""Inserts events, skipping those already there. Raises `GatewayError` when the database is down."""


class LedgerWriter:
    """Moves events from the queue into the database until it is stopped."""

    def __init__(self, queue: UsageQueue, insert: Insert, *, metrics: Metrics, clock: Clock) -> None:
        self._queue = queue
        self._insert = insert
        self._clock = clock
        self._lag = metrics.number(LEDGER_LAG)
        self._overflow: deque[UsageEntry] = deque()
        self._claimed: list[Claimed] = []
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    def accept(self, entries: Sequence[UsageEntry]) -> None:
        """Take entries that the queue could not; they are written from this process."""
        self._overflow.extend(entries)

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
        """Write one batch of each kind; return whether there was anything to write.

        A batch that could not be written is kept and comes first the next time.
        """
        moved = await self._write_overflow()
        if not self._claimed:
            self._claimed = await self._claim(wait_s=0.0 if moved else wait_s, moved=moved)
        if not self._claimed:
            self._lag.set(0.0)
            return moved
        await self._write(self._claimed)
        self._claimed = []
        return True

    async def _claim(self, *, wait_s: float, moved: bool) -> list[Claimed]:
        try:
            claimed = await self._queue.claim(limit=_BATCH, wait_s=wait_s)
        except StoreUnavailable:
            if not moved:
                raise
            return []
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

    async def _write_overflow(self) -> bool:
        if not self._overflow:
            return False
        entries = [self._overflow[at] for at in range(min(_BATCH, len(self._overflow)))]
        await self._insert_all(_decode(entries))
        for _ in entries:
            self._overflow.popleft()
        return True

    async def _write(self, claimed: Sequence[Claimed]) -> None:
        events = _decode([item.entry for item in claimed])
        if events:
            oldest = min(event.occurred_at for event in events)
            self._lag.set(max(0.0, (self._clock.now() - oldest).total_seconds()))
        for at in range(0, len(events), _BATCH):
            await self._insert_all(events[at : at + _BATCH])
        await self._queue.acknowledge(claimed)

    async def _insert_all(self, events: Sequence[UsageEvent]) -> None:
        """Insert a batch; one that the database refuses is halved until the offending event is alone and parked."""
        if not events:
            return
        try:
            await self._insert(events)
        except ValueError as error:
            if len(events) == 1:
                _park(msgspec.json.encode(events[0]), error)
                return
            middle = len(events) // 2
            await self._insert_all(events[:middle])
            await self._insert_all(events[middle:])


def _decode(entries: Sequence[UsageEntry]) -> list[UsageEvent]:
    events = []
    for entry in entries:
        try:
            events.append(decode_event(entry.payload))
        except msgspec.DecodeError as error:
            _park(entry.payload, error)
    return events


def _park(payload: bytes, error: Exception) -> None:
    """Log an event that can never be written, whole, so that it can be written by hand."""
    _LOG.error("a usage event cannot be written: %s: %s", error, payload.decode("utf-8", "backslashreplace"))
