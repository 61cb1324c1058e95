"""Processes of the benchmark: started so that none outlives it, and read for their CPU time and memory.

Law: Linux only, from `/proc` and the kernel's clocks; nothing is sampled, so nothing is missed.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_STOP_S: Final = 30.0
_CPUCLOCK_SCHED: Final = 2
_LIBC: Final = ctypes.CDLL(None)


class BenchError(Exception):
    """The benchmark cannot run; the message says what to do."""


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], *, cwd: Path, log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the length of the block, its output in `log`; at the end its whole tree is gone.

    It is told to end by SIGTERM, also by the kernel if this process dies; what is left after 30 s is killed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  this process has no threads that could hold a lock
        )
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything below it."""
    below = tree(process.pid)
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in below[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def tree(root: int) -> tuple[int, ...]:
    """Return `root` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return tuple(found)


def cpu_ns(pids: Sequence[int]) -> dict[int, int]:
    """Return the CPU time that each process has used, user and system, all its threads; those that ended are absent.

    Reads each process's own CPU clock; its number is made as the kernel's MAKE_PROCESS_CPUCLOCK makes it. `/proc`
    has the same figure, but only in ticks of 10 ms.
    """
    used = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            used[pid] = time.clock_gettime_ns(~pid << 3 | _CPUCLOCK_SCHED)
    return used


def memory_kib(pid: int) -> tuple[int, int]:
    """Return the resident set of a process and its proportional share of it, in KiB; zeros once it has ended."""
    wanted = {"Rss:": 0, "Pss:": 0}
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        lines = []
    for line in lines:
        name, _, rest = line.partition(" ")
        if name in wanted:
            wanted[name] = int(rest.split()[0])
    return wanted["Rss:"], wanted["Pss:"]


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _parent(entry: Path) -> int | None:
    try:
        # The command's name, in parentheses, may itself hold spaces and parentheses.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
