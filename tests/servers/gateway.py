"""The gateway as a user runs it: `python -m app serve` in a process of its own, with nothing inherited but PATH.

Law: tests reach it through its sockets, signals and output only.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import yaml

from servers.process import ServerFailed, ServerProcess, Workspace, free_port, wait_until

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "app")
ADMIN_KEY = "an-admin-key-for-tests-0123456789abcdef"
MASTER_SECRET = "a-master-secret-for-tests-0123456789abcdef"
READY_WITHIN_S = 20
STOPPED_WITHIN_S = 40
_PRINTED_WITHIN_S = 3

_INFERENCE_KEY = re.compile(r"sk-gw-(?!admin-)[A-Za-z0-9]{10}-[A-Za-z0-9_-]+")
_ADMIN_KEY = re.compile(r"sk-gw-admin-[A-Za-z0-9_-]+")
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "LD_LIBRARY_PATH")


class GatewayProcess:
    """One gateway. Made by `launch`; may be stopped and started again with the same ports, files and environment."""

    def __init__(
        self, *, workspace: Workspace, config: Path | None, environ: Mapping[str, str], command: Sequence[str]
    ) -> None:
        self.config = config
        self.folder = workspace.path
        self.port, self.admin_port = int(environ["GATEWAY_GATEWAY__PORT"]), int(environ["GATEWAY_ADMIN__PORT"])
        self._workspace = workspace
        self._environ = environ
        self._command = tuple(command)
        arguments = () if config is None else ("--config", str(config))
        self._process = ServerProcess(
            [*command, "serve", *arguments], log=self.folder / "gateway.log", cwd=self.folder, environ=environ
        )
        self._key: str | None = None
        # Never used for TLS; without a context of certificates it is made twenty times faster.
        self._client = httpx.Client(verify=False, timeout=20)

    @classmethod
    def launch(
        cls,
        config: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        migrates: bool = False,
        command: Sequence[str] = COMMAND,
    ) -> Self:
        """Start a gateway on free ports and wait until both planes are ready.

        `config` is the file's content, or `None` to run without a file. Relative paths in it are relative to the
        gateway's own folder. `environ` is added to a bare environment. `migrates` runs `migrate` first.
        """
        gateway = cls.prepare(config, environ=environ, command=command)
        try:
            if migrates:
                gateway.run("migrate")
            gateway.start()
        except BaseException:
            gateway.close()
            raise
        return gateway

    @classmethod
    def prepare(
        cls,
        config: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> Self:
        """Make the gateway's folder, file and environment, and start nothing."""
        workspace = Workspace("gateway")
        port, admin_port = free_port(), free_port()
        file = None
        if config is not None:
            file = workspace.path / "gateway.yaml"
            file.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        ports = {
            "GATEWAY_GATEWAY__PORT": str(port),
            "GATEWAY_ADMIN__PORT": str(admin_port),
            "GATEWAY_ADMIN__GATEWAY_URL": f"http://127.0.0.1:{port}",
        }
        return cls(
            workspace=workspace, config=file, environ={**_bare_environ(), **ports, **(environ or {})}, command=command
        )

    # --- Addresses

    @property
    def base_url(self) -> str:
        """The gateway plane."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """What an OpenAI client takes as its `base_url`."""
        return f"{self.base_url}/v1"

    @property
    def admin_url(self) -> str:
        """The admin plane."""
        return f"http://127.0.0.1:{self.admin_port}"

    # --- Life

    def start(self) -> None:
        """Start the process and wait until both planes answer `GET /readyz` with 200."""
        self._process.start()
        if wait_until(self.is_ready, within_s=READY_WITHIN_S, process=self._process):
            return
        state = "is not ready" if self._process.is_alive else f"ended with exit code {self._process.exit_code}"
        tail = self._process.tail()
        self._process.terminate(signal.SIGKILL)
        raise ServerFailed(f"The gateway {state}. Its output ends:\n{tail}")

    def is_ready(self) -> bool:
        """Say whether both planes are ready."""
        try:
            answers = [self._client.get(f"{url}/readyz") for url in (self.base_url, self.admin_url)]
        except httpx.TransportError:
            return False
        return all(answer.status_code == httpx.codes.OK for answer in answers)

    def stop(self) -> None:
        """SIGTERM: the gateway must drain and exit with 0 in time."""
        code = self._process.terminate(signal.SIGTERM, within_s=STOPPED_WITHIN_S)
        if code != 0:
            raise ServerFailed(f"The gateway ended with exit code {code} on SIGTERM:\n{self._process.tail()}")

    def kill(self) -> None:
        """SIGKILL the parent; the workers must then end by themselves."""
        self._process.kill()

    def reload(self) -> None:
        """SIGHUP the parent; returns at once."""
        self._process.send(signal.SIGHUP)

    def send(self, number: int) -> None:
        """Send the parent any signal."""
        self._process.send(number)

    def close(self) -> None:
        """End the process if it still runs, however, and remove its folder."""
        self._client.close()
        self._process.terminate(signal.SIGKILL)
        self._workspace.close()

    @property
    def pid(self) -> int:
        """The parent's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the parent runs."""
        return self._process.is_alive

    @property
    def exit_code(self) -> int | None:
        """The parent's exit code, negative for a signal; `None` while it runs."""
        return self._process.exit_code

    def pids(self) -> list[int]:
        """Return the process ids of the workers that serve inference; an admin plane of its own is not among them."""
        return [worker.pid for worker in self.workers() if _listens_on(worker, self.port)]

    def workers(self) -> list[psutil.Process]:
        """Return all workers, of both planes: the parent's own children."""
        return [child for child in self._process.children() if child.ppid() == self.pid]

    # --- Configuration and other commands

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace the file's content, for a reload."""
        if self.config is None:
            raise ServerFailed("This gateway runs without a file.")
        self.config.write_text(yaml.safe_dump(dict(config), sort_keys=False))

    def run(self, *words: str, expects: int = 0) -> subprocess.CompletedProcess[str]:
        """Run another command (`migrate`, `keys create`) on the same configuration; raises on another exit code."""
        arguments = () if self.config is None else ("--config", str(self.config))
        done = subprocess.run(
            [*self._command, *words, *arguments],
            cwd=self.folder,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != expects:
            raise ServerFailed(f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    # --- Output

    def log_lines(self) -> list[str]:
        """Return all lines that the gateway has printed since the first start."""
        return self._process.log.read_text(errors="replace").splitlines()

    def log_records(self) -> list[dict[str, Any]]:
        """Return those lines that are JSON objects."""
        return [json.loads(line) for line in self.log_lines() if line.startswith("{")]

    def wait_for_line(self, pattern: str, *, within_s: float = 20) -> str:
        """Return the first line in which `pattern` (a regular expression) is found, waiting for it."""
        found: list[str] = []

        def look() -> bool:
            found.extend(line for line in self.log_lines() if re.search(pattern, line))
            return bool(found)

        if not wait_until(look, within_s=within_s):
            raise ServerFailed(f"No line with {pattern!r} came. The output ends:\n{self._process.tail()}")
        return found[0]

    # --- Keys

    @property
    def printed_key(self) -> str | None:
        """The inference key that a first run prints."""
        return self._printed(_INFERENCE_KEY)

    @property
    def printed_admin_key(self) -> str | None:
        """The admin key that a first run prints."""
        return self._printed(_ADMIN_KEY)

    def _printed(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.search("\n".join(self.log_lines()))
        return None if found is None else found[0]

    @property
    def admin_key(self) -> str:
        """An admin key that works: that of the environment, or the one that the first run prints."""
        given = self._environ.get("GATEWAY_ADMIN_KEY")
        if given:
            return given
        if not wait_until(lambda: self.printed_admin_key is not None, within_s=_PRINTED_WITHIN_S):
            raise ServerFailed(f"No admin key is in the environment, and none was printed:\n{self._process.tail()}")
        return self.printed_admin_key or ""

    @property
    def key(self) -> str:
        """An inference key that works: the printed one, or one made through the admin API when first asked for."""
        if self._key is None:
            if "GATEWAY_ADMIN_KEY" not in self._environ:
                # Only a first run prints keys, and it prints one of each.
                wait_until(lambda: self.printed_key is not None, within_s=_PRINTED_WITHIN_S)
            self._key = self.printed_key or self.create_key()
        return self._key

    def create_key(self, **fields: Any) -> str:
        """Make an inference key through the admin API and return its secret."""
        answer = self.admin("POST", "/keys", json={"name": "made for a test", **fields})
        secret: str = answer["secret"]
        return secret

    def admin(self, method: str, path: str, *, json: Any = None) -> Any:
        """Call the admin API (`path` below `/admin/v1`) and return its JSON; raises on an answer that is no success."""
        headers = {"authorization": f"Bearer {self.admin_key}"}
        answer = self._client.request(method, f"{self.admin_url}/admin/v1{path}", json=json, headers=headers)
        if not answer.is_success:
            raise ServerFailed(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None


def _listens_on(worker: psutil.Process, port: int) -> bool:
    try:
        sockets = worker.net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return False
    return any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in sockets)


def _bare_environ() -> dict[str, str]:
    """Return an environment without settings and vendor keys of whoever runs the tests."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
