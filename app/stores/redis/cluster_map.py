"""What is known of a cluster: its nodes, and which of them serves which slot. Law: looking never delays a command.

The map is asked for anew when anybody calls it stale (on MOVED, on any trouble with a node) and every 30 s.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.stores.errors import StoreError, StoreUnavailable
from app.stores.redis.connection import HotConnection, Statistics
from app.stores.redis.endpoint import Endpoint, Locate
from app.stores.redis.slots import SLOTS
from app.stores.redis.topology import Address, Topology, read_topology
from app.stores.url import Credentials, StoreUrl

_REST_S = 0.25
"""The least time between two looks at the cluster, however much goes wrong."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Node:
    """One server of the cluster; `looks_unlisted` counts how often in a row the map had no slot for it."""

    address: Address
    hot: HotConnection
    looks_unlisted: int = 0


class ClusterMap:
    """The nodes of one cluster with a connection to each primary, kept up to date by a task from the first look on.

    `by_slot` has the node of each slot, absent where none is known; `trouble` says why one may be.
    """

    def __init__(self, url: StoreUrl, *, timeout_s: float, refresh_s: float) -> None:
        """Make a map that knows only the URL's nodes; `refresh_s` is how old it may become when nothing happens."""
        self.statistics = Statistics()
        self.by_slot: list[Node | None] = [None] * SLOTS
        self.trouble = "the cluster has not been asked yet"
        self.looks = 0
        self._seeds = url.nodes
        self._credentials = url.credentials
        self._timeout_s = timeout_s
        self._refresh_s = refresh_s
        self._nodes: dict[Address, Node] = {}
        self._topology = Topology(())
        self._on_new_server: list[Callable[[], None]] = []
        self._watch: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._stale = asyncio.Event()
        self._turn = 0
        self._is_closed = False

    @property
    def is_whole(self) -> bool:
        """Whether every slot has a node."""
        return self._topology.is_whole

    @property
    def nodes(self) -> list[Node]:
        """Every node with a connection."""
        return list(self._nodes.values())

    @property
    def primaries(self) -> list[Node]:
        """The nodes that serve slots."""
        return [self.node(address) for address in self._topology.primaries]

    def on_new_server(self, callback: Callable[[], None]) -> None:
        """Call back whenever a node was restarted, or one has gone and others serve its slots: a replica, mostly."""
        self._on_new_server.append(callback)

    def any_node(self) -> Node | None:
        """Return a node for a command without a key, a connected one if there is any."""
        nodes = self._nodes.values()
        return next((node for node in nodes if node.hot.connected), next(iter(nodes), None))

    def node(self, address: Address) -> Node:
        """Return the node at an address, known or new; whoever asks for it wants it kept."""
        node = self._nodes.get(address)
        if node is None:
            if self._is_closed:
                raise StoreUnavailable(self.trouble)
            locate = _fixed(address, self._credentials)
            hot = HotConnection(
                locate, timeout_s=self._timeout_s, statistics=self.statistics, on_trouble=self.call_stale
            )
            hot.on_new_server(self._tell_new_server)
            node = self._nodes[address] = Node(address, hot)
        node.looks_unlisted = 0
        return node

    def move(self, slot: int, node: Node) -> None:
        """Note a node's word on one slot; the others are asked for soon."""
        self.by_slot[slot] = node
        self.call_stale()

    def call_stale(self) -> None:
        """Have the watch, if it runs, look again."""
        self._stale.set()

    async def locate(self) -> Endpoint:
        """Return where one node is, the next one at each call, for those who may talk to any."""
        addresses = sorted(self._topology.primaries) or list(self._seeds)
        self._turn += 1
        return _endpoint(addresses[self._turn % len(addresses)], self._credentials)

    async def aclose(self) -> None:
        """Close every connection for good."""
        self._is_closed = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        self.trouble = "the connection to Redis is closed"
        self._looked.set()
        self._topology, self.by_slot = Topology(()), [None] * SLOTS
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            await node.hot.aclose()

    def look_soon(self) -> None:
        """Have the map asked for; the first time, that begins the watch."""
        self._stale.set()
        if self._watch is None and not self._is_closed:
            self._watch = asyncio.get_running_loop().create_task(self._keep_looking(), name="redis-cluster-watch")

    async def look_by(self, deadline: float) -> None:
        """Wait until the cluster was looked at once; raises `StoreUnavailable` when that takes too long."""
        if self._looked.is_set():
            return
        self.look_soon()
        try:
            async with asyncio.timeout_at(deadline):
                await self._looked.wait()
        except TimeoutError:
            raise StoreUnavailable("the cluster did not say in time who serves which slots") from None

    async def _keep_looking(self) -> None:
        while True:
            self._stale.clear()
            self.looks += 1
            try:
                await self._look()
            except Exception:  # noqa: BLE001 - a supervisor: however a look fails, another follows
                _log.exception("a defect: looking at the cluster failed in an unforeseen way")
            self._looked.set()
            await asyncio.sleep(_REST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_s):
                    await self._stale.wait()

    async def _look(self) -> None:
        topology = await self._discover()
        if topology is None:
            self._stale.set()
            return
        if not topology.is_whole:
            self.trouble = f"{SLOTS - topology.served} slots of the cluster have no node"
            self._stale.set()
        await self._use(topology)

    async def _discover(self) -> Topology | None:
        """Return the word of a node we are connected to, a different one each time, else the best of everybody's."""
        connected = [node for node in self._nodes.values() if node.hot.connected]
        self._turn += 1
        turn = self._turn % len(connected) if connected else 0
        for node in connected[turn:] + connected[:turn]:
            topology = await self._ask(node)
            if topology is not None and topology.is_whole:
                return topology
        return await self._ask_all({*self._nodes, *self._seeds})

    async def _ask_all(self, addresses: Iterable[Address]) -> Topology | None:
        """Ask many at once; returns the first whole topology, or the fullest when all have spoken."""
        best: Topology | None = None
        asking = [asyncio.ensure_future(self._ask(self.node(address))) for address in addresses]
        try:
            for answered in asyncio.as_completed(asking):
                topology = await answered
                if topology is not None and (best is None or topology.served > best.served):
                    best = topology
                if best is not None and best.is_whole:
                    break
        finally:
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return best

    async def _ask(self, node: Node) -> Topology | None:
        try:
            return read_topology(await node.hot.call("CLUSTER", "SLOTS"), asked=node.address)
        except StoreError as error:
            host, port = node.address
            self.trouble = f"{host}:{port} names no node of the cluster: {error}"
            return None

    async def _use(self, topology: Topology) -> None:
        """Replace the map, let go of nodes that are in it no more, and tell of slots whose node has gone."""
        by_slot: list[Node | None] = [None] * SLOTS
        for first, last, address in topology.ranges:
            by_slot[first : last + 1] = [self.node(address)] * (last - first + 1)
        has_gone = bool(self._topology.primaries - topology.primaries)
        self.by_slot, self._topology = by_slot, topology
        if has_gone:
            _log.warning("the cluster's primaries have changed")
            self._tell_new_server()
        await self._let_go(keep=topology.primaries)

    async def _let_go(self, *, keep: frozenset[Address]) -> None:
        """Close nodes that have served no slot for two looks, so that what is under way at the first can end."""
        unlisted = [node for address, node in self._nodes.items() if address not in keep]
        for node in unlisted:
            node.looks_unlisted += 1
            if node.looks_unlisted > 1:
                del self._nodes[node.address]
                await node.hot.aclose()

    def _tell_new_server(self) -> None:
        for callback in self._on_new_server:
            callback()


def _endpoint(address: Address, credentials: Credentials) -> Endpoint:
    return Endpoint(*address, None, 0, credentials, None)


def _fixed(address: Address, credentials: Credentials) -> Locate:
    async def locate() -> Endpoint:
        return _endpoint(address, credentials)

    return locate
