"""A folder that the workers of one parent share while it runs. Law: it goes with the parent, also after a crash.

It lies in memory where the system has such a place. The parent holds a lock in it, so the next start can tell the
folder of a parent that was killed from one that is in use.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "llm-gateway-"
_LOCK = "lock"


@contextlib.contextmanager
def shared_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make the folder, mode 0700, and remove it at the end; also remove those that were left behind."""
    place = parent or _place()
    for left in place.glob(f"{_PREFIX}*"):
        _remove_abandoned(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    owner = os.getpid()
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            if os.getpid() == owner:
                shutil.rmtree(folder, ignore_errors=True)


def _place() -> Path:
    memory = Path("/dev/shm")  # noqa: S108 - a fresh folder of ours inside it
    return memory if os.access(memory, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _remove_abandoned(folder: Path) -> None:
    try:
        if folder.stat().st_uid != os.getuid():
            return
        with (folder / _LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return
