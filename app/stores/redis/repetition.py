"""The last minute's usage, put again on a new server. Law: what a server confirmed and then lost is lost only with us.

A restarted server may lack its last second (AOF everysec), a promoted replica what had not reached it yet, a wiped one
everything. What they do have is recognised by its ids. Source: reliability.md section 5.7.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from app.kernel.clock import Clock
from app.stores.errors import StoreUnavailable

_KEPT_NS = 60_000_000_000
_KEPT_AT_MOST = 20_000
_AT_ONCE = 100
_AGAIN_AFTER_S = 0.5

Again = Callable[[], Awaitable[object]]
"""Does once more what a server confirmed; harmless where it did. Raises `StoreUnavailable`."""


class Repetition:
    """Remembers what was put in the last 60 s, at most 20,000 times, and puts it again when told to begin."""

    def __init__(self, *, clock: Clock) -> None:
        """Make an empty memory."""
        self._clock = clock
        self._kept: deque[tuple[int, Again]] = deque(maxlen=_KEPT_AT_MOST)
        self._task: asyncio.Task[None] | None = None

    def remember(self, again: Again) -> None:
        """Keep what the server has confirmed just now."""
        now_ns = self._clock.monotonic_ns()
        while self._kept and self._kept[0][0] < now_ns - _KEPT_NS:
            self._kept.popleft()
        self._kept.append((now_ns, again))

    def begin(self) -> None:
        """Start over putting everything that is remembered."""
        if self._task is not None:
            self._task.cancel()
        kept = [again for _, again in self._kept]
        self._task = asyncio.get_running_loop().create_task(self._repeat(kept))

    async def wait(self) -> None:
        """Return when everything has been put again."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def aclose(self) -> None:
        """Stop, finished or not."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _repeat(self, kept: Sequence[Again]) -> None:
        for start in range(0, len(kept), _AT_ONCE):
            await asyncio.gather(*[_at_last(again) for again in kept[start : start + _AT_ONCE]])


async def _at_last(again: Again) -> None:
    while True:
        try:
            await again()
        except StoreUnavailable:
            await asyncio.sleep(_AGAIN_AFTER_S)
        else:
            return
