"""The last way into the ledger: usage events on this machine's disk, when no store and no database takes them.

Law: an answer that a provider has billed is never refused for want of a place to write its price; whatever is spooled
reaches the database once, by this process or the next.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from app.kernel.errors import GatewayError
from app.kernel.ids import uuid7_text
from app.stores.entries import UsageEntry
from app.stores.journal import JournalBusy, JournalFiles

_DATABASE_S = 0.5
_LOG = logging.getLogger("gateway.ledger")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[UsageEntry]).decode

Insert = Callable[[Sequence[UsageEntry]], Awaitable[None]]
"""Puts entries into the database. Raises `GatewayError` while it is down."""


class Spool:
    """Takes events that the store could not: into the database, else onto the disk. One for each worker."""

    def __init__(self, folder: Path, insert: Insert, *, adopt: Insert) -> None:
        """Use `folder`, which all workers of a machine share; each has a folder of its own in it once it needs one.

        `adopt` takes what other processes have left: the store's accounts may not know of it.
        """
        self._folder = folder
        self._insert = insert
        self._adopt = adopt
        self._files: JournalFiles | None = None
        self._waiting: list[UsageEntry] = []

    @property
    def is_empty(self) -> bool:
        """Whether everything that was taken is in the database."""
        return not self._waiting

    async def take(self, entries: Sequence[UsageEntry]) -> None:
        """Return when the entries are safe."""
        try:
            async with asyncio.timeout(_DATABASE_S):
                await self._insert(entries)
        except (GatewayError, TimeoutError):
            self._waiting += entries
            await self._write(entries)

    async def _write(self, entries: Sequence[UsageEntry]) -> None:
        try:
            if self._files is None:
                self._files = JournalFiles(self._folder / uuid7_text())
            self._files.append(_encode(list(entries)))
            await asyncio.to_thread(self._files.sync)
        except OSError:
            _LOG.exception("usage cannot be spooled: it is lost if this process ends before the database is back")

    async def flush(self) -> None:
        """Put what waits into the database; raises `GatewayError` while it is down."""
        while self._waiting:
            batch = self._waiting[:500]
            await self._insert(batch)
            del self._waiting[: len(batch)]
        if self._files is not None:
            files, self._files = self._files, None
            _remove(files)

    async def adopt(self) -> None:
        """Hand over what processes that are gone have left; raises `GatewayError` while nobody takes it."""
        if not self._folder.is_dir():
            return
        for folder in sorted(self._folder.iterdir()):
            if self._files is not None and folder == self._files.folder:
                continue
            try:
                files = JournalFiles(folder)
            except (JournalBusy, OSError):
                continue
            try:
                for number in files.numbers():
                    for record in files.read(number):
                        await self._adopt(_decode(record))
            except BaseException:
                files.close()
                raise
            _remove(files)

    def close(self) -> None:
        """Leave what waits to the next process."""
        if self._files is not None:
            self._files.close()


def _remove(files: JournalFiles) -> None:
    files.close()
    shutil.rmtree(files.folder, ignore_errors=True)
