"""Kills what a dead test session left behind; run as a script, fed by `process.py` through its standard input.

Each line is `+ pid N`, `- pid N`, `+ dir PATH` or `- dir PATH`. End of file means that the session is gone, by
whatever death: every process group still listed is killed, and every folder still listed is removed.
"""

import os
import shutil
import signal
import sys
from pathlib import Path


def _kill(pid: int) -> None:
    for send in (os.killpg, os.kill):
        try:
            send(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def main() -> None:
    """Follow the session until its end, then clean up."""
    listed: dict[str, set[str]] = {"pid": set(), "dir": set()}
    for line in sys.stdin:
        sign, kind, value = line.rstrip("\n").split(" ", 2)
        if sign == "+":
            listed[kind].add(value)
        else:
            listed[kind].discard(value)
    for pid in listed["pid"]:
        _kill(int(pid))
    for folder in listed["dir"]:
        shutil.rmtree(Path(folder), ignore_errors=True)


if __name__ == "__main__":
    main()
