"""Numbers that outlive their process: one memory-mapped file a worker, which any process can add up.

A file holds doubles; beside it, a list of names says which double means what. A worker that is killed leaves its
numbers behind, whole; its parent folds them into the archive before the files go, so no counter ever goes back.

Law: whoever is killed at whatever moment, also in the middle of a fold, each number counts once.
"""

import fcntl
import mmap
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

_CELL_BYTES = 8
_CAPACITY = 1 << 17
"""How many cells a process has, 1 MiB of them: enough for all that is counted of 900 models at their providers."""
_OVERFLOW = 64
"""Cells at the end of a file that all series share that came too late; none needs more than these."""
_ARCHIVE = "archive"
_TOKEN_BYTES = 4

Key = tuple[str, tuple[str, ...], str]
"""A family's name, its label values, and which of the series' numbers this is (`value`, `sum`, `le:0.5`)."""


class _Archive(msgspec.Struct):
    """What the dead of one kind have counted; `folded` are those of them whose files may still be there."""

    folded: list[str] = []
    rows: list[tuple[Key, float]] = []


class Cells:
    """The numbers that this process adds to. Not thread-safe: one event loop, one writer.

    Without a directory the numbers live in memory only.
    """

    def __init__(self, directory: Path | None = None, *, name: str = "worker") -> None:
        """Open the file of this process; `name` says what kind of process it is (`gateway`, `admin`, `all`)."""
        self._used = 0
        self._names: list[Key] = []
        self._at: dict[Key, int] = {}
        self._file: int | None = None
        self._names_file: int | None = None
        if directory is None:
            self.values = memoryview(bytearray(_CAPACITY * _CELL_BYTES)).cast("d")
            return
        fold(directory, os.getpid())
        # The id of a process may be that of an earlier one; the token tells their files apart.
        stem = directory / f"{name}-{os.getpid()}-{secrets.token_hex(_TOKEN_BYTES)}"
        self._file = os.open(stem.with_suffix(".cells"), os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
        # Room that is promised but not there would kill the process when it is first written to.
        os.posix_fallocate(self._file, 0, _CAPACITY * _CELL_BYTES)
        self._map = mmap.mmap(self._file, _CAPACITY * _CELL_BYTES)
        self.values = memoryview(self._map).cast("d")
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND
        self._names_file = os.open(stem.with_suffix(".names"), flags, 0o600)

    def reserve(self, keys: Iterable[Key]) -> int:
        """Return the position of the first of consecutive new cells for `keys`, each zero.

        When the file is full they share the nameless cells at its end, so that a defect elsewhere cannot exhaust the
        disk.
        """
        wanted = list(keys)
        if self._used + len(wanted) > _CAPACITY - _OVERFLOW:
            return _CAPACITY - _OVERFLOW
        first = self._used
        self._used += len(wanted)
        self._names += wanted
        if self._names_file is not None:
            os.write(self._names_file, b"".join(msgspec.json.encode(key) + b"\n" for key in wanted))
        return first

    def is_nameless(self, at: int) -> bool:
        """Whether a position is among the cells at the end, which nobody reads."""
        return at >= _CAPACITY - _OVERFLOW

    def read(self) -> Iterator[tuple[Key, float]]:
        """Yield every number of this process."""
        yield from zip(self._names, self.values, strict=False)

    def close(self) -> None:
        """Let go of the file; it stays."""
        for descriptor in (self._file, self._names_file):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._names_file = None


def read_all(directory: Path, names: frozenset[str]) -> Iterator[tuple[int, Key, float]]:
    """Yield (process id, key, number) of all processes whose kind is in `names`; the archive's process id is 0."""
    for kind in sorted(names):
        with _locked(directory, kind):
            archive = _read_archive(directory, kind)
            rows = [(0, key, value) for key, value in archive.rows]
            for path in sorted(directory.glob(f"{kind}-*.names")):
                if path.stem not in archive.folded:
                    pid = _pid_of(path)
                    rows += [(pid, key, value) for key, value in _read_file(path)]
        yield from rows


@contextmanager
def _locked(directory: Path, kind: str) -> Iterator[None]:
    """Keep others from folding this kind meanwhile, so that no number is read twice or not at all."""
    with (directory / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pid_of(names: Path) -> int:
    return int(names.stem.split("-")[-2])


def _read_file(names: Path) -> Iterator[tuple[Key, float]]:
    """Yield what a process has counted; of its cells only those that have names are read."""
    try:
        lines = names.read_bytes().split(b"\n")[:-1]
        with names.with_suffix(".cells").open("rb") as file:
            cells = memoryview(file.read(len(lines) * _CELL_BYTES)).cast("d")
    except FileNotFoundError:
        return
    for line, value in zip(lines, cells, strict=False):
        yield msgspec.json.decode(line, type=Key), value


def _archive_path(directory: Path, kind: str) -> Path:
    return directory / f"{kind}.{_ARCHIVE}"


def _read_archive(directory: Path, kind: str) -> _Archive:
    try:
        return msgspec.json.decode(_archive_path(directory, kind).read_bytes(), type=_Archive)
    except FileNotFoundError:
        return _Archive()


def fold_dead(directory: Path) -> None:
    """Fold the numbers of every process that is gone."""
    for names in directory.glob("*.names"):
        pid = _pid_of(names)
        if not _is_alive(pid):
            fold(directory, pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def fold(directory: Path, pid: int) -> None:
    """Add the numbers of a dead process to the archive of its kind and remove its files; safe to repeat.

    A new process does so with its own id, which an earlier one may have had.
    """
    for names in directory.glob(f"*-{pid}-*.names"):
        kind = names.stem.rsplit("-", 2)[0]
        with _locked(directory, kind):
            _fold_file(directory, kind, names)


def _fold_file(directory: Path, kind: str, names: Path) -> None:
    """Fold one file, under the lock of its kind.

    The archive says in the same write that it has the file, so that whoever dies before the file is removed does not
    make it count twice.
    """
    archive = _read_archive(directory, kind)
    if names.exists() and names.stem not in archive.folded:
        totals = dict(archive.rows)
        for key, value in _read_file(names):
            totals[key] = totals.get(key, 0.0) + value
        left = [stem for stem in archive.folded if (directory / f"{stem}.names").exists()]
        fresh = _archive_path(directory, kind).with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(_Archive(folded=[*left, names.stem], rows=list(totals.items()))))
        fresh.replace(_archive_path(directory, kind))
    names.with_suffix(".cells").unlink(missing_ok=True)
    names.unlink(missing_ok=True)
