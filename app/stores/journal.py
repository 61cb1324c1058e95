"""Records that survive the process: in files of one folder, mapped into memory, which one process has at a time.

A record that was written is there after the process crashed, for the pages belong to the kernel; a `sync` also makes it
outlive the machine. Writing one is a copy: no system call, in which other threads would take the interpreter. Law: a
record that was cut off is as if it had never been, and nothing after it counts.
"""

import fcntl
import mmap
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

_HEAD = Struct("<II")
"""Length and CRC-32 of a record, before it; the length 0 is where the records end."""
_SUFFIX = ".journal"
_FILE_BYTES = 4 << 20
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
        self._map: mmap.mmap | None = None
        self._at = 0
        self._room = 0
        self.is_synced = True

    @property
    def current(self) -> int:
        """The number of the file that is written to, or was last."""
        return self._number

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
            if not 0 < length <= _MAX_RECORD_BYTES or len(record) < length or zlib.crc32(record) != checksum:
                return
            yield record
            at += _HEAD.size + length

    def fits(self, record: bytes) -> bool:
        """Whether the present file has room for a record."""
        return _HEAD.size + len(record) <= self._room - self._at

    def append(self, record: bytes) -> int:
        """Write a record; return the number of its file. Raises `OSError` where there is no room for another file."""
        size = _HEAD.size + len(record)
        if size > self._room - self._at:
            self.begin(at_least_bytes=size)
        target = self._map
        if target is None:
            raise OSError("the journal is closed")
        start = self._at
        target[start + _HEAD.size : start + size] = record
        # The head makes the record count, so it comes last.
        _HEAD.pack_into(target, start, len(record), zlib.crc32(record))
        self._at = start + size
        self.is_synced = False
        return self._number

    def begin(self, *, at_least_bytes: int = 0) -> None:
        """Begin the next file, and take all its room from the disk: a page that cannot be kept kills the process."""
        room = max(_FILE_BYTES, at_least_bytes)
        path = self._path(self._number + 1)
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(file, 0, room)
            mapped = mmap.mmap(file, room)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(file)
        self._let_go()
        self._number += 1
        self._map, self._at, self._room = mapped, 0, room

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        if self._map is not None:
            self.is_synced = True
            self._map.flush()

    def drop(self, number: int) -> None:
        """Remove a file that nobody needs any more."""
        self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Give the folder up; the files stay."""
        self._let_go()
        os.close(self._lock)

    def _let_go(self) -> None:
        """Leave the present file. Its mapping ends with its last user, which may be a sync in another thread."""
        self._map = None
        self._at = self._room = 0

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:010d}{_SUFFIX}"
