"""The holds of this process that are under way: their leases are renewed, and what they came to is written down.

Law: a hold that is not renewed within its lease is charged by somebody else; most requests end before the first time.
"""

import asyncio
import logging
from collections.abc import Callable

from app.kernel.clock import Clock
from app.limits.accounts import Grant
from app.limits.orphans import progressed
from app.stores.accounts import AccountStore
from app.stores.errors import StoreUnavailable

_LOOK_S = 0.25
_DUE_AFTER_S = 1.5
"""A checkpoint is at most these two together old, and what the store takes: less than two seconds of tokens."""
_NS_PER_S = 1_000_000_000
_AT_ONCE = 200
_LOG = logging.getLogger("gateway.limits")

Checkpoint = Callable[[], bytes]
"""Returns what a request has come to, as the ledger's events."""


class _Held:
    __slots__ = ("at_ns", "checkpoint", "grant")

    def __init__(self, grant: Grant, checkpoint: Checkpoint, at_ns: int) -> None:
        self.grant = grant
        self.checkpoint = checkpoint
        self.at_ns = at_ns


class Holds:
    """Renews each hold before two seconds have gone since it was taken or renewed. One for each worker."""

    def __init__(self, *, clock: Clock, written: Callable[[str, bytes], None] | None = None) -> None:
        """Begin with none; `written` is told of each checkpoint, by the reservation's id."""
        self._clock = clock
        self._written = written
        self._held: dict[str, _Held] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def add(self, grant: Grant, checkpoint: Checkpoint) -> None:
        """Take a hold over."""
        self._held[grant.id] = _Held(grant, checkpoint, self._clock.monotonic_ns())

    def remove(self, grant: Grant) -> None:
        """Leave a hold to whoever settles it."""
        self._held.pop(grant.id, None)

    def start(self) -> None:
        """Begin to renew."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="limits-holds")

    async def stop(self) -> None:
        """Stop renewing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self.beat()
            except Exception:  # noqa: BLE001 - a supervisor: the next beat comes soon
                _LOG.exception("holds cannot be renewed")

    async def beat(self) -> None:
        """Renew every hold that is due."""
        before_ns = self._clock.monotonic_ns() - int(_DUE_AFTER_S * _NS_PER_S)
        due = [held for held in self._held.values() if held.at_ns <= before_ns]
        for start in range(0, len(due), _AT_ONCE):
            await asyncio.gather(*[self._renew(held) for held in due[start : start + _AT_ONCE]])

    async def _renew(self, held: _Held) -> None:
        grant = held.grant
        if grant.id not in self._held:
            return
        held.at_ns = self._clock.monotonic_ns()
        reservation = grant.reservation
        events = held.checkpoint()
        orphan = progressed(reservation.budgets, events) if events else reservation.orphan
        if self._written is not None and reservation.budgets:
            self._written(grant.id, orphan)
        store: AccountStore = grant.keeper
        try:
            await store.renew(reservation, grant.granted, orphan=orphan)
        except StoreUnavailable:
            _LOG.debug("a hold cannot be renewed now")
