"""One provider's adapter as a user runs it: `python -m app adapter NAME` in a process of its own.

Law: tests reach it through its sockets, signals and output only.
"""

import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from servers.gateway import REPOSITORY
from servers.process import ServerFailed, ServerProcess, Workspace, free_port, wait_until

_READY_WITHIN_S = 30
_PRINTED_WITHIN_S = 20


class AdapterProcess:
    """One running adapter service; `words` are the command's arguments, `environ` is added to a bare environment."""

    def __init__(
        self, *words: str, config: Mapping[str, Any] | None = None, port: int | None = None, **environ: str
    ) -> None:
        self.workspace = Workspace("adapter")
        self.port = port or free_port()
        arguments = list(words)
        if config is not None:
            self.file = self.workspace.path / "gateway.yaml"
            self.file.write_text(yaml.safe_dump(dict(config)))
            arguments += ["--config", str(self.file)]
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.process = ServerProcess(
            [sys.executable, "-W", "error", "-m", "app", "adapter", *arguments, "--port", str(self.port)],
            log=self.workspace.path / "log",
            cwd=self.workspace.path,
            environ={**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **environ},
        )
        self.process.start()
        if not wait_until(lambda: "Ready." in self.log, within_s=_READY_WITHIN_S, process=self.process):
            log = self.log
            self.close()
            raise ServerFailed(log)

    @property
    def url(self) -> str:
        """What a gateway's file says as its `base_url`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self.process.log.read_text(errors="replace")

    def wait_for(self, pattern: str) -> None:
        """Wait until it has printed something in which `pattern` (a regular expression) is found."""
        if not wait_until(lambda: re.search(pattern, self.log) is not None, within_s=_PRINTED_WITHIN_S):
            raise ServerFailed(f"{pattern!r} was not printed:\n{self.log}")

    def close(self) -> None:
        """End the process if it still runs, however, and remove its folder."""
        if self.process.is_alive:
            self.process.kill()
        self.workspace.close()
