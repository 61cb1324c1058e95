"""The last minute's usage, put again on a new server. Law: what a server confirmed and then lost is lost only with us.

A restarted server may lack its last second (AOF everysec), a promoted replica what had not reached it yet. Entries that
it does have are recognised by their ids. Source: reliability.md section 5.7.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from app.kernel.clock import Clock
from app.stores.errors import StoreUnavailable
from app.stores.protocols import UsageEntry

_KEPT_NS = 60_000_000_000
_KEPT_AT_MOST = 20_000
_AT_ONCE = 100
_AGAIN_AFTER_S = 0.5


class Repetition:
    """Remembers what was put in the last 60 s, at most 20,000 entries, and puts it again when told to begin."""

    def __init__(self, put: Callable[[Sequence[UsageEntry]], Awaitable[None]], *, clock: Clock) -> None:
        """Make an empty memory; `put` is called with up to 100 entries at a time, until it succeeds."""
        self._put = put
        self._clock = clock
        self._kept: deque[tuple[int, UsageEntry]] = deque(maxlen=_KEPT_AT_MOST)
        self._task: asyncio.Task[None] | None = None

    def remember(self, entries: Sequence[UsageEntry]) -> None:
        """Keep entries that the server has confirmed just now."""
        now_ns = self._clock.monotonic_ns()
        while self._kept and self._kept[0][0] < now_ns - _KEPT_NS:
            self._kept.popleft()
        self._kept.extend((now_ns, entry) for entry in entries)

    def begin(self) -> None:
        """Start over putting everything that is remembered."""
        if self._task is not None:
            self._task.cancel()
        entries = [entry for _, entry in self._kept]
        self._task = asyncio.get_running_loop().create_task(self._repeat(entries))

    async def wait(self) -> None:
        """Return when everything has been put again."""
        if self._task is not None:
            await self._task

    async def aclose(self) -> None:
        """Stop, finished or not."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _repeat(self, entries: Sequence[UsageEntry]) -> None:
        for start in range(0, len(entries), _AT_ONCE):
            await self._put_at_last(entries[start : start + _AT_ONCE])

    async def _put_at_last(self, entries: Sequence[UsageEntry]) -> None:
        while True:
            try:
                return await self._put(entries)
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_AFTER_S)
