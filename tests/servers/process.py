"""Processes that tests start, break and stop.

Law: a process started here is listed with the watchdog before anyone can use it, so none outlives the session.
"""

import atexit
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import psutil  # type: ignore[import-untyped]  # psutil ships no types

_LOG_TAIL_BYTES = 4000
_POLL_S = 0.02
_WORLD_EXECUTE = 0o001


class ServerFailed(Exception):
    """A server of the tests did not start, stop or answer; the message says what to do about it."""


class _Watchdog:
    """The process that outlives this one just long enough to clean up after it."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("watchdog.py")
        theirs, self._pipe = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)], stdin=theirs, start_new_session=True
        )
        os.close(theirs)
        self._owner = os.getpid()
        atexit.register(self._release)
        # A forked child must not hold the pipe open after we are gone.
        os.register_at_fork(after_in_child=functools.partial(os.close, self._pipe))

    def tell(self, line: str) -> None:
        os.write(self._pipe, f"{line}\n".encode())

    def _release(self) -> None:
        if os.getpid() == self._owner:
            os.close(self._pipe)
            self._process.wait(timeout=10)


@functools.cache
def _watchdog() -> _Watchdog:
    return _Watchdog()


class Account:
    """The user that a server runs as: ourselves, or `nobody` for servers that refuse to run as root."""

    def __init__(self, name: str | None = None) -> None:
        self.entry = pwd.getpwnam(name) if name is not None else None

    @classmethod
    def unprivileged(cls) -> Self:
        """Return an account that is not root's."""
        return cls("nobody" if os.geteuid() == 0 else None)

    def may_reach(self, path: Path) -> bool:
        """Say whether every folder above `path` lets this account through."""
        if self.entry is None:
            return True
        return all(folder.stat().st_mode & _WORLD_EXECUTE for folder in path.resolve().parents)

    def own(self, path: Path) -> None:
        """Give `path` to this account."""
        if self.entry is not None:
            os.chown(path, self.entry.pw_uid, self.entry.pw_gid)


class Workspace:
    """A folder of our own that is removed at `close`, or by the watchdog."""

    def __init__(self, name: str, *, account: Account | None = None) -> None:
        account = account or Account()
        parent = Path(tempfile.gettempdir())
        if not account.may_reach(parent / "x"):
            parent = Path("/tmp")
        self.path = Path(tempfile.mkdtemp(prefix=f"gateway-test-{name}-", dir=parent))
        _watchdog().tell(f"+ dir {self.path}")
        account.own(self.path)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        _watchdog().tell(f"- dir {self.path}")


class ServerProcess:
    """One process with its log file and the ways to break it.

    The same object may start again after `kill` or `terminate`; the log is appended to. Start it from any thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cwd: Path,
        environ: Mapping[str, str] | None = None,
        account: Account | None = None,
    ) -> None:
        self.command = list(command)
        self.log = log
        self._cwd = cwd
        self._environ = environ
        self._account = (account or Account()).entry
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._running().pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs; a stopped (SIGSTOP) process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run, negative for a signal; `None` while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process; returns at once."""
        if self.is_alive:
            raise ServerFailed(f"{self.command[0]} runs already, with pid {self.pid}")
        self._forget()
        with self.log.open("ab") as log:
            self._process = self._spawn(log)
        _watchdog().tell(f"+ pid {self._process.pid}")

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        entry = self._account
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self._cwd,
            env=self._environ,
            start_new_session=True,
            user=None if entry is None else entry.pw_uid,
            group=None if entry is None else entry.pw_gid,
            extra_groups=None if entry is None else [],
        )

    def kill(self, *, patience_s: float = 20) -> None:
        """SIGKILL the process and wait until it is gone and its children have noticed; raises if they do not."""
        family = self.children()
        self.send(signal.SIGKILL)
        self._running().wait(timeout=10)
        self._forget()
        # PostgreSQL's backends and the gateway's workers end by themselves when their parent is gone.
        orphans = psutil.wait_procs(family, timeout=patience_s)[1]
        for orphan in orphans:
            orphan.kill()
        if orphans:
            raise ServerFailed(f"{self.command[0]} left children behind when it was killed: {orphans}")

    def pause(self) -> None:
        """SIGSTOP the process: it holds its sockets and answers nothing."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT the process."""
        self.send(signal.SIGCONT)

    def send(self, number: int) -> None:
        """Send a signal to this one process, if it still runs."""
        self._running().send_signal(number)

    def terminate(self, number: int = signal.SIGTERM, *, within_s: float = 20) -> int:
        """Ask the process to end, wait for it and return its exit code; if it does not, kill it and raise."""
        if not self.is_alive:
            self._forget()
            return self.exit_code or 0
        self.resume()
        self.send(number)
        try:
            code = self._running().wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(
                f"{self.command[0]} did not end within {within_s} s of signal {number}\n{self.tail()}"
            ) from None
        self._forget()
        return code

    def children(self) -> list[psutil.Process]:
        """Return all processes below this one."""
        try:
            family: list[psutil.Process] = psutil.Process(self._running().pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return family

    def tail(self) -> str:
        """Return the end of the log."""
        try:
            return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailed(f"{self.command[0]} was never started")
        return self._process

    def _forget(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            _watchdog().tell(f"- pid {self._process.pid}")


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(probe: Callable[[], bool], *, within_s: float, process: ServerProcess | None = None) -> bool:
    """Call `probe` until it is true; return false when the time is up or `process` has ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if probe():
            return True
        if process is not None and not process.is_alive:
            return False
        time.sleep(_POLL_S)
    return False


def start_on_free_port(
    make: Callable[[int], ServerProcess], *, ready: Callable[[int], bool], advice: str, attempts: int = 3
) -> tuple[ServerProcess, int]:
    """Start `make(port)` on a free port and wait until `ready(port)`.

    The port may be taken between our look and the server's bind, so a start that fails early is tried again elsewhere.
    """
    tail = ""
    for _ in range(attempts):
        port = free_port()
        process = make(port)
        process.start()
        if wait_until(functools.partial(ready, port), within_s=30, process=process):
            return process, port
        tail = process.tail()
        process.kill()
        if "in use" not in tail:
            break
    raise ServerFailed(f"{process.command[0]} did not start.\n{advice}\n--- its log ends:\n{tail}")
