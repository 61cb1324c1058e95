"""Records that survive the process: appended to files of one folder, which one process has at a time.

A record that was written is there after the process crashed; a `sync` also makes it outlive the machine. Law: a record
that was cut off is as if it had never been; nothing after it counts.
"""

import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

_HEAD = Struct("<II")
"""Length and CRC-32 of a record, before it."""
_SUFFIX = ".journal"
_MAX_RECORD_BYTES = 64 << 20


class JournalBusy(OSError):
    """Another process has the journal."""


class JournalFiles:
    """The files of one journal, numbered; the last is the one that is written to."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, making it if it is absent; raises `JournalBusy` if another process has it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise JournalBusy(f"another process uses {folder}") from None
        found = self.numbers()
        self._number = found[-1] if found else 0
        self._file: int | None = None
        self.size_bytes = 0
        self.is_synced = True

    def numbers(self) -> list[int]:
        """Return the numbers of the files there are, oldest first."""
        return sorted(int(path.stem) for path in self.folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())

    def read(self, number: int) -> Iterator[bytes]:
        """Yield the records of a file, up to the first that was cut off."""
        data = self._path(number).read_bytes()
        at = 0
        while at + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, at)
            record = data[at + _HEAD.size : at + _HEAD.size + length]
            if length > _MAX_RECORD_BYTES or len(record) < length or zlib.crc32(record) != checksum:
                return
            yield record
            at += _HEAD.size + length

    def append(self, record: bytes) -> int:
        """Write a record; return the number of its file. Raises `OSError`, and then has written nothing that counts."""
        file = self._file if self._file is not None else self.begin()
        data = _HEAD.pack(len(record), zlib.crc32(record)) + record
        try:
            written = os.write(file, data)
        except OSError:
            os.ftruncate(file, self.size_bytes)
            raise
        if written < len(data):
            # What came after a torn record would not be read: the file ends where the last whole record does.
            os.ftruncate(file, self.size_bytes)
            raise OSError("the journal's disk is full")
        self.size_bytes += len(data)
        self.is_synced = False
        return self._number

    def begin(self) -> int:
        """Begin the next file; return its descriptor."""
        previous, self._number = self._file, self._number + 1
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_EXCL
        self._file = os.open(self._path(self._number), flags, 0o600)
        self.size_bytes = 0
        if previous is not None:
            os.close(previous)
        return self._file

    @property
    def current(self) -> int:
        """The number of the file that is written to."""
        return self._number

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        if self._file is not None:
            os.fdatasync(self._file)
            self.is_synced = True

    def drop(self, number: int) -> None:
        """Remove a file that nobody needs any more."""
        self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Give the folder up; the files stay."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        os.close(self._lock)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:010d}{_SUFFIX}"
