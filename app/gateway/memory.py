"""How much memory there is, and how much of it is used. Law: read from the kernel's own files; where there are none, 0.

Source: kernel documentation, cgroup-v2 and cgroup-v1/memory, read 2026-07.
"""

import ctypes
import gc
import os
from pathlib import Path
from typing import NamedTuple

_SELF = Path("/proc/self")
_MOUNT = Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 1 << 60
"""A limit from here on is none: version 1 says it with a number."""


class _Names(NamedTuple):
    """What a version of cgroups calls its files, and in the statistics the cache that the kernel can give up."""

    limit: str
    used: str
    reclaimable: str


_V2 = _Names("memory.max", "memory.current", "inactive_file")
_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


class Container(NamedTuple):
    """The control group that bounds this process most: `limit_bytes`, and where its use is read."""

    limit_bytes: int
    folder: Path
    names: _Names

    def used_bytes(self) -> int:
        """Return what all of its processes use, less what the kernel would give up before it kills."""
        used = _number(self.folder / self.names.used) or 0
        return max(0, used - self._reclaimable())

    def _reclaimable(self) -> int:
        try:
            lines = (self.folder / "memory.stat").read_text().splitlines()
        except OSError:
            return 0
        found = (line.partition(" ")[2] for line in lines if line.startswith(f"{self.names.reclaimable} "))
        return int(next(found, "0"))


def container(*, process: Path = _SELF, mount: Path = _MOUNT) -> Container | None:
    """Return the control group with the lowest limit that this process is in; nothing if it is in none with one."""
    found = [
        Container(limit, folder, names)
        for folder, names in _folders(process, mount)
        if (limit := _number(folder / names.limit)) is not None and limit < _NO_LIMIT_BYTES
    ]
    return min(found, key=lambda each: each.limit_bytes, default=None)


def _folders(process: Path, mount: Path) -> list[tuple[Path, _Names]]:
    """Return where the limits may be: of the process's own group and of all above it."""
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "memory"}:
            continue
        root, names = (mount, _V2) if not controllers else (mount / "memory", _V1)
        own = root / path.lstrip("/")
        folders += [(folder, names) for folder in (own, *own.parents) if folder.is_relative_to(root)]
    return folders


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def resident_bytes() -> int:
    """Return how much of this process is in memory."""
    try:
        pages = int((_SELF / "statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Let go of what nobody refers to, and give free pages back to the system, where the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
