"""A real Redis that a real Sentinel watches: a master, replicas if wanted, and the way to let the master die.

Law: Sentinel alone says who is the master; what is asked of the master is asked of the one that it names.
"""

import functools
from typing import Any, Self

from redis.exceptions import RedisError

from servers.process import ServerFailed, ServerProcess, Workspace, start_on_free_port, wait_until
from servers.redis import ADVICE, Redis, RedisProcess, answers

SERVICE = "main"
_CONFIG = """
port {port}
bind 127.0.0.1
sentinel monitor {service} 127.0.0.1 {master} 1
"""
_CLOCKS_MS = {"down-after-milliseconds": 500, "failover-timeout": 3000}
_AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""A master waits five seconds for further replicas, of which there are none."""
_WITHIN_S = 60


class RedisSentinel:
    """The servers, the present master first, and the one sentinel that watches them."""

    def __init__(self, master: RedisProcess, sentinel: ServerProcess, *, port: int, workspace: Workspace) -> None:
        self.port = port
        self._servers = [master]
        self._sentinel = sentinel
        self._workspace = workspace

    @classmethod
    def launch(cls) -> Self:
        """Start a master and its sentinel."""
        master, workspace = RedisProcess.launch(options=_AT_ONCE), Workspace("sentinel")

        def make(port: int) -> ServerProcess:
            config = workspace.path / "sentinel.conf"
            config.write_text(_CONFIG.format(port=port, master=master.port, service=SERVICE))
            command = [master.program, str(config), "--sentinel"]
            return ServerProcess(command, log=workspace.path / "log", cwd=workspace.path)

        try:
            process, port = start_on_free_port(make, ready=answers, advice=ADVICE)
        except BaseException:
            master.close()
            workspace.close()
            raise
        return cls(master, process, port=port, workspace=workspace)

    @property
    def master(self) -> RedisProcess:
        """The server that Sentinel calls the master, as far as `fail_over` has seen."""
        return self._servers[0]

    @property
    def url(self) -> str:
        """The URL of the present master itself."""
        return self.master.url

    @property
    def watched_url(self) -> str:
        """The URL that names the sentinel and the service."""
        return f"redis+sentinel://127.0.0.1:{self.port}/{SERVICE}/0"

    def execute(self, *words: str | bytes | int) -> Any:
        """Run one command on the present master."""
        return self.master.execute(*words)

    def flush(self) -> None:
        """Empty the master, and forget every script."""
        self.master.flush()

    def add_replica(self) -> RedisProcess:
        """Start a replica of the master and return it when it has all, and Sentinel knows it."""
        replica = RedisProcess.launch(options=["--replicaof", f"127.0.0.1 {self.master.port}", *_AT_ONCE])
        self._servers.append(replica)
        self._wait("the replica is not in step", lambda: "master_link_status:up" in _replication(replica))
        # Sentinel looks for replicas every ten seconds, and at once where it is new to a master.
        self._ask("REMOVE", SERVICE)
        self._ask("MONITOR", SERVICE, "127.0.0.1", str(self.master.port), "1")
        for option, value in _CLOCKS_MS.items():
            self._ask("SET", SERVICE, option, str(value))
        self._wait("Sentinel does not find the replica", lambda: replica.port in self._replica_ports())
        return replica

    def fail_over(self, replica: RedisProcess) -> None:
        """Kill the master and wait until Sentinel has made a master of the replica."""
        self.master.kill()
        self._wait("there was no failover", lambda: self._master_port() == replica.port)
        self._wait("the replica is no master", lambda: "role:master" in _replication(replica))
        self._servers.remove(replica)
        self._servers.insert(0, replica)

    def close(self) -> None:
        """Stop everything and remove the files."""
        self._sentinel.kill()
        self._workspace.close()
        for server in self._servers:
            server.close()

    def _replica_ports(self) -> list[int]:
        # A replica that has just been found has a role of its own to tell before it may be chosen.
        return [int(each["port"]) for each in self._ask("REPLICAS", SERVICE) if each["master-link-status"] == "ok"]

    def _master_port(self) -> int:
        _, port = self._ask("GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(port)

    def _ask(self, *words: str) -> Any:
        return Redis(f"redis://127.0.0.1:{self.port}/0").execute("SENTINEL", *words)

    def _wait(self, complaint: str, is_so: Any) -> None:
        if not wait_until(functools.partial(_without_errors, is_so), within_s=_WITHIN_S):
            raise ServerFailed(f"{complaint}:\n{self._sentinel.tail()}")


def _replication(server: RedisProcess) -> str:
    """Return what a server says of its replication, in Redis's own form."""
    facts = server.execute("INFO", "replication")
    return "\n".join(f"{key}:{value}" for key, value in facts.items()) if isinstance(facts, dict) else str(facts)


def _without_errors(is_so: Any) -> bool:
    try:
        return bool(is_so())
    except RedisError:
        return False
