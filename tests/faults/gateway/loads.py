"""A gateway whose capacity is set by its own cap, not by the machine: a provider that takes its time, and a crowd."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
from faults.money.crowd import Crowd, Told, gathered, new_tag
from faults.money.stand import environ, tree_of
from outside.caller import Caller
from servers.gateway import GatewayProcess

from providers.testing import FakeProvider, Script, serve_in_thread

SERVICE_MS = 200
ROUNDS = 3
"""How often a figure is measured at most: what a busy machine spoils once is not the product's."""
_RELOADED = re.compile(r"\bgateway\S*: new settings are in force")
"""What the parent says of the worker that is asked; the admin plane's says so too, and may be sooner."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What stands."""

    gateway: GatewayProcess
    provider: FakeProvider
    crowd: Crowd
    tree: dict[str, Any] = field(default_factory=dict)

    def rss_bytes(self) -> int:
        """Return how much memory the worker has."""
        return sum(int(psutil.Process(pid).memory_info().rss) for pid in self.gateway.pids())

    def connections(self) -> int:
        """Return how many connections the worker has."""
        return sum(len(psutil.Process(pid).net_connections(kind="tcp")) for pid in self.gateway.pids())

    def reconfigure(self, **settings: Any) -> None:
        """Change settings of the file and have them read."""
        before = self._reloads()
        self.gateway.write_config(self.tree | settings)
        self.gateway.reload()
        ends_s = time.monotonic() + 20
        while self._reloads() == before:
            assert time.monotonic() < ends_s, "the settings were not read again"
            time.sleep(0.05)

    def _reloads(self) -> int:
        return sum(_RELOADED.search(line) is not None for line in self.gateway.log_lines())

    def new_key(self) -> str:
        """Return a key in an organisation of its own, which the worker knows."""
        name = new_tag()
        organization = self.gateway.admin("POST", "/organizations", json={"name": name})
        team = self.gateway.admin("POST", "/teams", json={"name": name, "organization_id": organization["id"]})
        with Caller(self.gateway, team_id=team["id"]) as caller:
            assert caller.http.get("/v1/models").status_code == httpx.codes.OK
            return caller.key

    def shed(self) -> dict[str, float]:
        """Return the counter of what was shed, by reason."""
        text = httpx.get(f"{self.gateway.base_url}/metrics", timeout=20).text
        rows = [line for line in text.splitlines() if line.startswith("gateway_shed_total{")]
        return {row.partition('reason="')[2].partition('"')[0]: float(row.rpartition(" ")[2]) for row in rows}


@contextmanager
def under_load(**settings: Any) -> Iterator[Load]:
    """Put up a gateway of one process; its model `timed` takes `SERVICE_MS`."""
    with ExitStack() as stack:
        provider = stack.enter_context(serve_in_thread())
        tree = tree_of(provider, **settings)
        provider.script(Script(head_delay_ms=SERVICE_MS), model="timed")
        tree["models"]["timed"] = dict(tree["models"]["plain"], targets=[{"provider": "fake", "model": "timed"}])
        gateway = stack.enter_context(closing(GatewayProcess.launch(tree, environ=environ())))
        crowd = stack.enter_context(gathered(gateway.port))
        yield Load(gateway=gateway, provider=provider, crowd=crowd, tree=tree)


def percentile(values: list[float], part: float) -> float:
    """Return the value that so large a part of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def statuses(told: list[Told]) -> Mapping[int, int]:
    """Return how many were told what."""
    found: dict[int, int] = {}
    for each in told:
        found[each.status] = found.get(each.status, 0) + 1
    return found
