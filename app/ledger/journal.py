"""What an installation of one process writes down so that its crash loses nothing: holds, their progress, usage events.

Law: written before the answer's last byte, forgotten when the database has it. What is written outlives the process at
once, and the machine a second later, when it is synced to the disk.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from app.stores.accounts import Expired, Granted, Reservation
from app.stores.entries import UsageEntry
from app.stores.journal import JournalFiles

_SPARE_BYTES, _HEAD_BYTES = 1 << 20, 8
_SYNC_S = 1.0
_LOG = logging.getLogger("gateway.ledger")


class _Record(msgspec.Struct, array_like=True, frozen=True):
    """A hold (`h`), its progress (`p`), or the end of a request (`e`) with its entries."""

    kind: str
    id: str
    partition: int = 0
    granted: tuple[int, int, int] = (0, 0, 0)
    orphan: bytes = b""
    entries: tuple[UsageEntry, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


class Found(msgspec.Struct, frozen=True):
    """What a crash left: entries that the database may lack, and holds that nobody settled."""

    entries: list[UsageEntry]
    holds: list[Expired]


class Journal:
    """The journal of this process."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; raises `JournalBusy` or another `OSError`."""
        self._files = JournalFiles(folder)
        self._holds: dict[str, _Record] = {}
        self._needed: dict[int, set[str]] = {}
        self._where: dict[str, int] = {}
        self._numbers: list[int] = []
        self._task: asyncio.Task[None] | None = None

    # -- before anything is served ------------------------------------------------------------------------------------

    def left(self) -> Found:
        """Return what an earlier process left."""
        holds: dict[str, _Record] = {}
        entries: dict[str, UsageEntry] = {}
        for record in self._left_records():
            if record.kind == "e":
                holds.pop(record.id, None)
                entries.update((entry.id, entry) for entry in record.entries)
            elif record.kind == "h":
                holds[record.id] = record
            elif record.id in holds:
                holds[record.id] = msgspec.structs.replace(holds[record.id], orphan=record.orphan)
        return Found(list(entries.values()), [_hold(record) for record in holds.values()])

    def _left_records(self) -> Iterator[_Record]:
        for number in self._files.numbers():
            for data in self._files.read(number):
                try:
                    yield _decode(data)
                except msgspec.DecodeError:
                    _LOG.exception("a record of the journal cannot be read")

    def forget_left(self) -> None:
        """Remove what an earlier process left, now that the database has it."""
        for number in self._files.numbers():
            self._files.drop(number)

    # -- while serving ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to sync."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="journal-sync")

    async def aclose(self) -> None:
        """Stop; what the database has not stays for the next process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if not self._holds and not self._where:
            self.forget_left()
        self._files.close()

    def reserved(self, reservation: Reservation, granted: Granted) -> None:
        """Write a hold down. Raises `OSError`."""
        numbers = (granted.at_ms, granted.cap, granted.held_nusd)
        record = _Record("h", reservation.id, reservation.partition, numbers, reservation.orphan)
        self._append(record, needed=(record.id,))
        self._holds[record.id] = record

    def progressed(self, hold_id: str, orphan: bytes) -> None:
        """Write down what a hold has come to."""
        known = self._holds.get(hold_id)
        if known is None:
            return
        self._holds[hold_id] = msgspec.structs.replace(known, orphan=orphan)
        try:
            self._append(_Record("p", hold_id, orphan=orphan), needed=())
        except OSError:
            _LOG.exception("the progress of a request cannot be written down")

    def ended(self, hold_id: str, entries: Sequence[UsageEntry]) -> None:
        """Write the end of a request down, with what goes to the ledger. Raises `OSError`."""
        is_held = self._holds.pop(hold_id, None) is not None
        if not entries and not is_held:
            return
        self._append(_Record("e", hold_id, entries=tuple(entries)), needed=[entry.id for entry in entries])
        if is_held:
            self._release((hold_id,))

    def written(self, ids: Iterable[str]) -> None:
        """Take note that the database has these entries."""
        self._release(ids)

    def _append(self, record: _Record, *, needed: Sequence[str]) -> None:
        data = _encode(record)
        if not self._files.fits(data):
            self._rotate(len(data))
        number = self._files.append(data)
        if not self._numbers or self._numbers[-1] != number:
            self._numbers.append(number)
        if needed:
            self._needed.setdefault(number, set()).update(needed)
            for name in needed:
                self._where[name] = number

    def _rotate(self, next_bytes: int) -> None:
        """Begin a new file, with the holds of the old one in it: a long stream must not keep every file."""
        held = [_encode(record) for record in self._holds.values()]
        self._files.begin(at_least_bytes=_SPARE_BYTES + next_bytes + sum(_HEAD_BYTES + len(data) for data in held))
        number = self._files.current
        self._numbers.append(number)
        for hold_id, data in zip(list(self._holds), held, strict=True):
            self._release((hold_id,))
            self._files.append(data)
            self._needed.setdefault(number, set()).add(hold_id)
            self._where[hold_id] = number

    def _release(self, names: Iterable[str]) -> None:
        for name in names:
            number = self._where.pop(name, None)
            if number is None:
                continue
            needed = self._needed[number]
            needed.discard(name)
            if not needed and number != self._files.current:
                self._forget()

    def _forget(self) -> None:
        """Remove files of which nothing is needed, the oldest first: what ends a hold must not go before the hold."""
        for number in list(self._numbers):
            if number == self._files.current or self._needed.get(number):
                return
            self._numbers.remove(number)
            self._needed.pop(number, None)
            self._files.drop(number)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_S)
            self._forget()
            if not self._files.is_synced:
                try:
                    await asyncio.to_thread(self._files.sync)
                except OSError:
                    _LOG.exception("the journal cannot be synced")


def _hold(record: _Record) -> Expired:
    at_ms, cap, held_nusd = record.granted
    granted = Granted(at_ms=at_ms, cap=cap, held_nusd=held_nusd)
    return Expired(record.partition, record.id, granted, record.orphan)
