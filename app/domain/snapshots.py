"""What the admin API has made of one kind, as this process knows it.

Law: no request waits for the database. The snapshot is replaced as a whole, and only when something has changed: a
signal says so at once, and the change log is read every two seconds for signals that were lost.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.kernel.errors import GatewayError

Snapshot = TypeVar("Snapshot")


class Directory(Generic[Snapshot]):
    """Keeps the snapshot of one worker process up to date."""

    def __init__(self, read: Callable[[], Awaitable[Snapshot]], *, empty: Snapshot, kind: str) -> None:
        """Begin with `empty`; `read` reads all there is, and `kind` is what that is called in the log."""
        self._read = read
        self._lock = asyncio.Lock()
        self._log = logging.getLogger(f"gateway.{kind}")
        self._kind = kind
        self._is_stale = True
        self._seen: frozenset[int] = frozenset()
        self.current = empty
        self.on_change: Callable[[], None] = _do_nothing
        """Called after `current` became another."""

    def forget(self) -> None:
        """Take note that something may have changed."""
        self._is_stale = True

    def note(self, changes: frozenset[int]) -> None:
        """Take note of the changes of this kind, by number, that the change log shows; it shows each several times."""
        if changes - self._seen:
            self._is_stale = True
        self._seen = changes

    async def refresh(self) -> None:
        """Read all anew if anything may have changed. Raises `GatewayError` when the database is down."""
        async with self._lock:
            if not self._is_stale:
                return
            # What changes while we read is read the next time.
            self._is_stale = False
            try:
                found = await self._read()
            except BaseException:
                self._is_stale = True
                raise
            if found != self.current:
                self.current = found
                self.on_change()

    async def try_refresh(self) -> None:
        """Read as `refresh` does; where that fails, what was known stays and the next try reads it."""
        try:
            await self.refresh()
        except GatewayError as error:
            self._log.warning("%s cannot be read: %s", self._kind, error)


def _do_nothing() -> None:
    """Do nothing."""
