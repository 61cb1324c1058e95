"""A real Redis Cluster on this machine: three primaries, each killable, and replicas if wanted.

Law: formed by the nodes' own commands alone; a node that is down costs its own slots and no others.
"""

from collections.abc import Callable, Sequence
from typing import Self

from redis.exceptions import RedisError

from servers.process import ServerFailed, free_port, wait_until
from servers.redis import RedisProcess

SLOTS = 16_384
_NODE_TIMEOUT_MS = 1500
_FORMED_WITHIN_S = 30
_CARRIED_AT_ONCE = 100


class RedisCluster:
    """The primaries, in the order of their slots, and their replicas, in the order of the primaries."""

    def __init__(self, primaries: Sequence[RedisProcess], replicas: Sequence[RedisProcess]) -> None:
        self.primaries = tuple(primaries)
        self.replicas = tuple(replicas)

    @classmethod
    def launch(cls, *, primaries: int = 3, with_replicas: bool = False, options: Sequence[str] = ()) -> Self:
        """Start a cluster (AOF everysec) and wait until every node finds it whole; ready in two or three seconds."""
        nodes: list[RedisProcess] = []
        try:
            nodes += [_launch_node(options) for _ in range(primaries * (2 if with_replicas else 1))]
            cluster = cls(nodes[:primaries], nodes[primaries:])
            cluster._form()
        except BaseException:
            for node in nodes:
                node.close()
            raise
        return cluster

    @property
    def nodes(self) -> tuple[RedisProcess, ...]:
        """Every server."""
        return self.primaries + self.replicas

    @property
    def url(self) -> str:
        """The URL that names the primaries."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.primaries)

    def flush(self) -> None:
        """Empty every primary, and forget every script."""
        for node in self.primaries:
            node.execute("FLUSHALL")
            node.execute("SCRIPT", "FLUSH")

    def owner(self, slot: int) -> RedisProcess:
        """Return the primary that says that it serves the slot."""
        return next(node for node in self.primaries if any(first <= slot <= last for first, last in _ranges(node)))

    def slot_of(self, key: str) -> int:
        """Return the slot of a key, as the server computes it."""
        slot: int = self.primaries[0].execute("CLUSTER", "KEYSLOT", key)
        return slot

    def wait_whole(self, *, within_s: float = _FORMED_WITHIN_S) -> None:
        """Wait until every running primary finds every slot served and every node reachable."""
        self._wait("the cluster does not become whole", lambda: all(map(self._is_whole, self.nodes)), within_s=within_s)

    # --- Moving slots

    def open_move(self, slot: int, *, to: RedisProcess) -> None:
        """Begin to move a slot: from now on its present owner answers ASK for keys that it has not."""
        source = self.owner(slot)
        to.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
        source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(to))

    def carry_keys(self, slot: int, *, to: RedisProcess) -> int:
        """Carry the slot's keys over, and return how many there were."""
        source, carried = self.owner(slot), 0
        while keys := source.execute("CLUSTER", "GETKEYSINSLOT", slot, _CARRIED_AT_ONCE):
            source.execute("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
            carried += len(keys)
        return carried

    def close_move(self, slot: int, *, to: RedisProcess) -> None:
        """Give the slot to its new owner: from now on the former one answers MOVED."""
        for node in (to, *(node for node in self.primaries if node is not to)):
            node.execute("CLUSTER", "SETSLOT", slot, "NODE", _id(to))

    def move(self, slot: int, *, to: RedisProcess) -> None:
        """Move a slot with its keys."""
        if self.owner(slot) is not to:
            self.open_move(slot, to=to)
            self.carry_keys(slot, to=to)
            self.close_move(slot, to=to)

    # --- Life

    def close(self) -> None:
        """Stop every node and remove its files."""
        for node in self.nodes:
            node.close()

    def _form(self) -> None:
        share = -(-SLOTS // len(self.primaries))
        for number, node in enumerate(self.primaries):
            node.execute("CLUSTER", "ADDSLOTSRANGE", number * share, min((number + 1) * share, SLOTS) - 1)
        for number, node in enumerate(self.nodes, 1):
            node.execute("CLUSTER", "SET-CONFIG-EPOCH", number)
        for other in self.nodes[1:]:
            self.nodes[0].execute("CLUSTER", "MEET", "127.0.0.1", other.port, _bus_port(other))
        self._wait("the cluster does not form", lambda: all(map(self._knows_all, self.nodes)))
        for primary, replica in zip(self.primaries, self.replicas, strict=False):
            replica.execute("CLUSTER", "REPLICATE", _id(primary))
        self.wait_whole()
        self._wait("the replicas do not follow", lambda: all(map(_follows, self.replicas)))

    def _knows_all(self, node: RedisProcess) -> bool:
        return len(_described(node)) == len(self.nodes) and all("handshake" not in row for row in _described(node))

    def _is_whole(self, node: RedisProcess) -> bool:
        try:
            served = sum(last - first + 1 for row in _described(node) for first, last in _ranges_of(row))
            is_ok = "cluster_state:ok" in node.execute("CLUSTER", "INFO")
            return is_ok and served == SLOTS and not any("fail" in row.split()[2] for row in _described(node))
        except RedisError:
            return False

    def _wait(self, complaint: str, condition: Callable[[], bool], *, within_s: float = _FORMED_WITHIN_S) -> None:
        if not wait_until(condition, within_s=within_s):
            raise ServerFailed(f"{complaint}:\n{self.nodes[0].execute('CLUSTER', 'NODES')}")


def _launch_node(options: Sequence[str]) -> RedisProcess:
    # Redis would take the port 10,000 above its own, which there may not be.
    words = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    policy = ("--cluster-node-timeout", str(_NODE_TIMEOUT_MS), "--cluster-require-full-coverage", "no")
    return RedisProcess.launch(durable=True, options=[*words, *policy, *options])


def _bus_port(node: RedisProcess) -> int:
    return int(node.execute("CONFIG", "GET", "cluster-port")["cluster-port"])


def _id(node: RedisProcess) -> str:
    return str(node.execute("CLUSTER", "MYID"))


def _described(node: RedisProcess) -> list[str]:
    """Return the rows of CLUSTER NODES, one for each node that this one knows."""
    return str(node.execute("CLUSTER", "NODES")).splitlines()


def _ranges(node: RedisProcess) -> list[tuple[int, int]]:
    return next((_ranges_of(row) for row in _described(node) if "myself" in row.split()[2]), [])


def _ranges_of(row: str) -> list[tuple[int, int]]:
    """Return the slots at the end of a row; those in brackets are on the move and counted without them."""
    words = [word for word in row.split()[8:] if not word.startswith("[")]
    return [(int(first), int(last or first)) for first, _, last in (word.partition("-") for word in words)]


def _follows(replica: RedisProcess) -> bool:
    return bool(replica.execute("INFO", "replication").get("master_link_status") == "up")
