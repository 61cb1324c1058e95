"""The servers that are compared: the upstream itself, nginx in front of it, and the gateway in each of its modes.

Law: every contender gets the same bytes on the same path, and is one entry of the list that `run` makes.
"""

import contextlib
import http.client
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Final, Protocol, TypeVar

from processes import BenchError, free_port, memory_kib, started, tree
from stores import Stores

DIRECT: Final = "direct"
NGINX: Final = "nginx"
_HERE: Final = Path(__file__).resolve().parent
_ROOT: Final = _HERE.parents[1]
_READY_WITHIN_S: Final = 60.0
_COMMAND_WITHIN_S: Final = 60.0
_OK: Final = 200
_LIMITS: Final = ("--budget", "9000000", "--rpm", "100000000", "--tpm", "100000000000", "--concurrency", "100000")
T = TypeVar("T")
# nginx and the upstream look at no key, but they carry one like any other header.
_ANY_KEY: Final = "sk-gw-0000000000-" + "0" * 49


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A contender that answers."""

    name: str
    unary_port: int
    stream_port: int
    process: subprocess.Popen[bytes]
    log: Path
    key: str = _ANY_KEY
    ready_ms: float = 0.0
    store_roots: tuple[int, ...] = ()

    def pids(self) -> tuple[int, ...]:
        """Return the processes of the server itself."""
        return tree(self.process.pid)

    def store_pids(self) -> tuple[int, ...]:
        """Return the processes of the stores behind it."""
        return tuple(pid for root in self.store_roots for pid in tree(root))

    def memory_kib(self) -> tuple[int, int]:
        """Return the resident set of the largest process, and the proportional sets of all together, in KiB."""
        sets = [memory_kib(pid) for pid in self.pids()]
        return max(rss for rss, _ in sets), sum(pss for _, pss in sets)

    def require_alive(self) -> None:
        """Raise if the server has ended, with the last that it said."""
        if self.process.poll() is not None:
            raise BenchError(f"{self.name} ended by itself, code {self.process.returncode}:\n{_tail(self.log)}")


class Contender(Protocol):
    """A server that can be started, several times if need be, each time in a folder of its own."""

    @property
    def name(self) -> str:
        """The column of the table."""
        ...

    def start(self, folder: Path) -> contextlib.AbstractContextManager[Running]:
        """Run the server for the length of the block."""
        ...


@dataclass(frozen=True, slots=True)
class Direct:
    """The fake upstream, reached without anything in between."""

    name: str = field(default=DIRECT, init=False)

    @contextlib.contextmanager
    def start(self, folder: Path) -> Iterator[Running]:
        """Start the upstream."""
        log = folder / "upstream.log"
        environ = environment()
        with started([sys.executable, _HERE / "upstream.py"], cwd=folder, log=log, environ=environ) as process:
            port = int(_wait_for(lambda: log.read_text().partition("\n")[0], process=process, log=log))
            yield Running(name=self.name, unary_port=port, stream_port=port, process=process, log=log)


@dataclass(frozen=True, slots=True)
class Nginx:
    """One nginx worker, the measure of all others."""

    upstream_port: int
    name: str = field(default=NGINX, init=False)

    @contextlib.contextmanager
    def start(self, folder: Path) -> Iterator[Running]:
        """Start nginx with everything that it writes in `folder`."""
        unary_port, stream_port = free_port(), free_port()
        values = {
            "upstream_port": self.upstream_port,
            "unary_port": unary_port,
            "stream_port": stream_port,
            # Started by root, the worker would change to a user who may not enter the folder.
            "user_line": "user root;" if os.geteuid() == 0 else "",
        }
        path = _filled("nginx.conf", values, folder)
        log = folder / "nginx.log"
        command = [nginx_program(), "-p", str(folder), "-c", str(path)]
        with started(command, cwd=folder, log=log, environ=environment()) as process:
            _wait_for(lambda: _status(unary_port, "/") == _OK, process=process, log=log)
            yield Running(name=self.name, unary_port=unary_port, stream_port=stream_port, process=process, log=log)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gateway:
    """The gateway with one worker: embedded (SQLite, state in memory), or scaled when `stores` are given.

    `is_limited` gives the key limits and a budget that are never reached, so that every request reserves and settles.
    """

    name: str
    command: tuple[str, ...]
    upstream_port: int
    stores: Stores | None = None
    is_limited: bool = False

    @contextlib.contextmanager
    def start(self, folder: Path) -> Iterator[Running]:
        """Start the gateway, wait until it says that it is ready, and make a key."""
        port = free_port()
        values = {
            "database": self.stores.new_database() if self.stores else f"sqlite+aiosqlite:///{folder}/gateway.db",
            "state": self.stores.redis_url if self.stores else "memory://",
            "port": port,
            "admin_port": free_port(),
            "upstream_port": self.upstream_port,
        }
        config = str(_filled("gateway.yaml", values, folder))
        environ = environment(GATEWAY_MASTER_SECRET=secrets.token_hex(32))
        if self.stores:
            self._call("migrate", "--config", config, folder=folder, environ=environ)
        log = folder / "gateway.log"
        begun_ns = time.monotonic_ns()
        with started([*self.command, "serve", "--config", config], cwd=folder, log=log, environ=environ) as process:
            _wait_for(lambda: _status(port, "/readyz") == _OK, process=process, log=log)
            ready_ms = (time.monotonic_ns() - begun_ns) / 1e6
            limits = _LIMITS if self.is_limited else ()
            words = ("keys", "create", "--name", "bench", "--json", *limits, "--config", config)
            made = self._call(*words, folder=folder, environ=environ)
            yield Running(
                name=self.name,
                unary_port=port,
                stream_port=port,
                process=process,
                log=log,
                key=json.loads(made)["secret"],
                ready_ms=ready_ms,
                store_roots=self.stores.pids if self.stores else (),
            )

    def _call(self, *words: str, folder: Path, environ: Mapping[str, str]) -> str:
        """Run another command of the gateway and return what it prints."""
        done = subprocess.run(
            [*self.command, *words],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=_COMMAND_WITHIN_S,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"`{shlex.join([*self.command, *words])}` failed:\n{done.stdout}{done.stderr}")
        return done.stdout


def gateway_command() -> tuple[str, ...]:
    """Return how this installation's gateway is called."""
    installed = Path(sys.executable).parent / "llm-gateway"
    return (str(installed),) if installed.exists() else (sys.executable, "-m", "app")


def nginx_program() -> str:
    """Return the path of nginx; without it there is nothing to compare with."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin")
    if found is None:
        raise BenchError("nginx is not on PATH. The figures are ratios to nginx: install it (`apt-get install nginx`).")
    return found


def environment(**more: str) -> dict[str, str]:
    """Return the environment of the processes that are measured: this one's, made neutral.

    Vendors' keys would add providers, settings and proxies would change the way, and unwritten byte code would slow
    the start.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GATEWAY_") and not name.upper().endswith(("_API_KEY", "_TOKEN", "_PROXY"))
    }
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    path = os.pathsep.join(filter(None, [kept.get("PYTHONPATH"), str(_ROOT)]))
    return kept | {"PYTHONPATH": path} | more


def _filled(name: str, values: Mapping[str, object], folder: Path) -> Path:
    path = folder / name
    path.write_text(Template((_HERE / name).read_text()).substitute(values))
    return path


def _wait_for(probe: Callable[[], T], *, process: subprocess.Popen[bytes], log: Path) -> T:
    """Call `probe` every 5 ms until it gives something true, and return that."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := probe():
            return found
        time.sleep(0.005)
    raise BenchError(f"{log.stem} did not become ready; its output ends:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]


def _status(port: int, path: str) -> int:
    """Return the status of a GET, or 0 while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
