"""Notices that a server has lost everything although it answers. Law: a partition has a key that only a wipe removes.

A wiped server keeps its run id and its connections, so that nothing else tells.
"""

import asyncio
import logging
from collections.abc import Callable

from app.kernel.clock import Clock
from app.kernel.ids import uuid7_text
from app.stores.errors import StoreError
from app.stores.redis.commands import Commands

_LOOK_S = 0.5
_SETTLED_AFTER_S = 1.5
"""How long after a wipe every process has noticed it and put its last minute again."""
_NS_PER_S = 1_000_000_000

_log = logging.getLogger(__name__)


class Epochs:
    """Looks twice a second whether a partition was wiped."""

    def __init__(self, commands: Commands, *, partitions: int, clock: Clock) -> None:
        self._commands = commands
        self._clock = clock
        self._keys = [f"{{p{partition:02d}}}:epoch" for partition in range(partitions)]
        self._seen: dict[str, bytes] = {}
        self._since_ns: dict[str, int] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    def on_wipe(self, callback: Callable[[], None]) -> None:
        """Call back when a partition has lost everything."""
        self._callbacks.append(callback)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="redis-epochs")

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except StoreError as error:
                _log.debug("epochs cannot be read: %s", error)
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Look now, wherever a server answers. Raises `StoreUnavailable` if none does."""
        fresh = uuid7_text().encode()
        asked = [self._commands.call("SET", key, fresh, "NX", "GET") for key in self._keys]
        found = await asyncio.gather(*asked, return_exceptions=True)
        failures = [each for each in found if isinstance(each, BaseException)]
        if len(failures) == len(found):
            raise failures[0]
        now_ns = self._clock.monotonic_ns()
        is_wiped = False
        for key, value in zip(self._keys, found, strict=True):
            if isinstance(value, BaseException):
                continue
            epoch = value if isinstance(value, bytes) else fresh
            known = self._seen.get(key)
            if epoch != known:
                self._seen[key] = epoch
                self._since_ns[key] = now_ns if known is not None or epoch == fresh else 0
                is_wiped = is_wiped or known is not None
        if is_wiped:
            _log.error("Redis has lost its data; what is known of the last minute is put again")
            for callback in self._callbacks:
                callback()

    def settles_in_s(self, partition: int) -> float:
        """Return how long to wait until every process has put again what a wipe of the partition lost."""
        since_ns = self._since_ns.get(self._keys[partition], 0)
        if not since_ns:
            return 0.0
        return max(0.0, _SETTLED_AFTER_S - (self._clock.monotonic_ns() - since_ns) / _NS_PER_S)
