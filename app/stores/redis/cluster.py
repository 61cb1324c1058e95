"""Redis Cluster as one connection. Law: a command goes a second time only where a node said that it did not run it.

Each primary has a `HotConnection` of its own, so a node that is down fails its own slots, at once, and no others.
The map of slots is asked for anew on MOVED, on any trouble with a node, and every 30 s; the hot path only reads it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app.stores.errors import StoreError, StoreReplyError, StoreUnavailable
from app.stores.redis.connection import TIMEOUT_S, HotConnection, Statistics
from app.stores.redis.endpoint import Endpoint, Locate
from app.stores.redis.link import Argument
from app.stores.redis.scripts import Script, run_script
from app.stores.redis.slots import SLOTS, first_key, slot_of
from app.stores.redis.topology import Address, Topology, read_redirection, read_topology
from app.stores.url import Credentials, StoreUrl

REFRESH_S = 30.0
"""How old the map of slots may become when nothing happens."""

_REST_S = 0.25
"""The least time between two looks at the cluster, however much goes wrong."""

_START_WITHIN_S = 2.0
_MOST_REDIRECTIONS = 3
_LEAST_HOP_S = 0.05
"""What a redirected command gets at least: a node's whole link dies of a command that is overdue."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Node:
    """One server of the cluster; `looks_unlisted` counts how often in a row the map had no slot for it."""

    address: Address
    hot: HotConnection
    looks_unlisted: int = 0


class ClusterConnection:
    """The primaries of one cluster behind the interface of one connection.

    It belongs to the event loop that first calls it, asks the URL's nodes for the others when first needed, and lives
    until `aclose`. The URL's credentials are used on every node.
    """

    def __init__(self, url: StoreUrl, *, timeout_s: float = TIMEOUT_S, refresh_s: float = REFRESH_S) -> None:
        """Make a connection that knows only the URL's nodes, any of which will do."""
        self.statistics = Statistics()
        self._seeds = url.nodes
        self._credentials = url.credentials
        self._timeout_s = timeout_s
        self._refresh_s = refresh_s
        self._nodes: dict[Address, _Node] = {}
        self._by_slot: list[_Node | None] = [None] * SLOTS
        self._topology = Topology(())
        self._on_new_server: list[Callable[[], None]] = []
        self._watch: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._stale = asyncio.Event()
        self._turn = 0
        self._is_closed = False
        self._trouble = "the cluster has not been asked yet"

    @property
    def connected(self) -> bool:
        """Whether any command would be sent at once, whatever its slot."""
        return self._topology.is_whole and all(node.hot.connected for node in self._primaries())

    def on_new_server(self, callback: Callable[[], None]) -> None:
        """Call back whenever a node was restarted, or one has gone and others serve its slots: a replica, mostly."""
        self._on_new_server.append(callback)

    async def start(self) -> None:
        """Connect to every primary; raises `StoreUnavailable` if one fails or slots are unserved, and goes on."""
        await self._look_by(asyncio.get_running_loop().time() + _START_WITHIN_S)
        if not self._topology.is_whole:
            raise StoreUnavailable(self._trouble)
        await asyncio.gather(*[node.hot.start() for node in self._primaries()])

    async def call(self, *args: Argument, timeout_s: float | None = None) -> object:
        """Send one command to the node of its first key and return its reply; follows up to three redirections.

        Raises as `HotConnection.call` does, and `StoreUnavailable` while no node serves the slot.
        """
        deadline = asyncio.get_running_loop().time() + (timeout_s or self._timeout_s)
        key = first_key(args)
        node = self._any_node() if key is None else self._by_slot[slot_of(key)]
        if node is None:
            node = await self._find_node(key, deadline)
        try:
            return await node.hot.call(*args, timeout_s=timeout_s)
        except StoreReplyError as error:
            moved = error
        except StoreUnavailable:
            self._stale.set()
            raise
        return await self._follow(moved, node, args, deadline)

    async def script(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> object:
        """Run a script where its first key is and return its reply; a node that does not know it gets its source."""
        return await run_script(self.call, script, keys, args)

    def send(self, *args: Argument) -> None:
        """Send one command and forget it; a failure of any kind only counts in `statistics.send_errors`."""
        key = first_key(args)
        node = self._any_node() if key is None else self._by_slot[slot_of(key)]
        if node is None:
            self.statistics.send_errors += 1
            self._look_soon()
        else:
            node.hot.send(*args)

    async def ping(self) -> bool:
        """Return, within the timeout, whether every slot has a node that answers and finds the cluster well."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        with contextlib.suppress(StoreUnavailable):
            await self._look_by(deadline)
        is_well = self._topology.is_whole and all(await asyncio.gather(*map(_is_well, self._primaries())))
        if not is_well:
            self._look_soon()
        return is_well

    def discard(self) -> None:
        """Leave the present link to every node, failing what waits; the next call to a node opens another."""
        for node in self._nodes.values():
            node.hot.discard()

    async def aclose(self) -> None:
        """Close every connection for good; what waits gets `StoreUnavailable`."""
        self._is_closed = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        self._trouble = "the connection to Redis is closed"
        self._looked.set()
        self._topology, self._by_slot = Topology(()), [None] * SLOTS
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            await node.hot.aclose()

    async def locate(self) -> Endpoint:
        """Return where one node is, the next one at each call, for those who may talk to any."""
        addresses = [node.address for node in self._primaries()] or list(self._seeds)
        self._turn += 1
        return _endpoint(addresses[self._turn % len(addresses)], self._credentials)

    # --- Where a command goes

    def _primaries(self) -> list[_Node]:
        return [self._node(address) for address in self._topology.primaries]

    def _any_node(self) -> _Node | None:
        """Return a node for a command without a key, a connected one if there is any."""
        nodes = self._nodes.values()
        return next((node for node in nodes if node.hot.connected), next(iter(nodes), None))

    async def _find_node(self, key: Argument | None, deadline: float) -> _Node:
        """Return the node when the map does not have it yet; waits only for the first look at the cluster."""
        await self._look_by(deadline)
        node = self._any_node() if key is None else self._by_slot[slot_of(key)]
        if node is None:
            self._look_soon()
            raise StoreUnavailable(self._trouble)
        return node

    async def _follow(self, error: StoreReplyError, node: _Node, args: Sequence[Argument], deadline: float) -> object:
        """Send a command where the error points, up to three times; raises the error if it points nowhere."""
        for _ in range(_MOST_REDIRECTIONS):
            redirection = read_redirection(error, asked=node.address)
            if redirection is None:
                raise error
            node = self._node(redirection.address)
            if redirection.is_lasting:
                self._by_slot[redirection.slot] = node
                self._stale.set()
            send = node.hot.call if redirection.is_lasting else node.hot.call_asking
            left_s = max(deadline - asyncio.get_running_loop().time(), _LEAST_HOP_S)
            try:
                return await send(*args, timeout_s=left_s)
            except StoreReplyError as again:
                error = again
        if read_redirection(error, asked=node.address) is None:
            raise error
        raise StoreUnavailable(f"the cluster sends a command around: {error}", code=error.code)

    def _node(self, address: Address) -> _Node:
        """Return the node at an address, known or new; whoever asks for it wants it kept."""
        node = self._nodes.get(address)
        if node is None:
            if self._is_closed:
                raise StoreUnavailable(self._trouble)
            locate = _fixed(address, self._credentials)
            hot = HotConnection(
                locate, timeout_s=self._timeout_s, statistics=self.statistics, on_trouble=self._stale.set
            )
            hot.on_new_server(self._tell_new_server)
            node = self._nodes[address] = _Node(address, hot)
        node.looks_unlisted = 0
        return node

    # --- The map

    def _look_soon(self) -> None:
        """Have the map asked for; the first time, that begins the watch."""
        self._stale.set()
        if self._watch is None and not self._is_closed:
            self._watch = asyncio.get_running_loop().create_task(self._keep_looking(), name="redis-cluster-watch")

    async def _look_by(self, deadline: float) -> None:
        """Wait until the cluster was looked at once; raises `StoreUnavailable` when that takes too long."""
        if self._looked.is_set():
            return
        self._look_soon()
        try:
            async with asyncio.timeout_at(deadline):
                await self._looked.wait()
        except TimeoutError:
            raise StoreUnavailable("the cluster did not say in time who serves which slots") from None

    async def _keep_looking(self) -> None:
        while True:
            self._stale.clear()
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
            self._trouble = f"{SLOTS - topology.served} slots of the cluster have no node"
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
        asking = [asyncio.ensure_future(self._ask(self._node(address))) for address in addresses]
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

    async def _ask(self, node: _Node) -> Topology | None:
        try:
            return read_topology(await node.hot.call("CLUSTER", "SLOTS"), asked=node.address)
        except StoreError as error:
            host, port = node.address
            self._trouble = f"{host}:{port} names no node of the cluster: {error}"
            return None

    async def _use(self, topology: Topology) -> None:
        """Replace the map, let go of nodes that are in it no more, and tell of slots whose node has gone."""
        by_slot: list[_Node | None] = [None] * SLOTS
        for first, last, address in topology.ranges:
            by_slot[first : last + 1] = [self._node(address)] * (last - first + 1)
        has_gone = bool(self._topology.primaries - topology.primaries)
        self._by_slot, self._topology = by_slot, topology
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


async def _is_well(node: _Node) -> bool:
    """Return whether a node answers and sees enough of the cluster to serve its slots."""
    try:
        about = await node.hot.call("CLUSTER", "INFO")
    except StoreError:
        return False
    return isinstance(about, bytes) and b"cluster_state:ok" in about


def _endpoint(address: Address, credentials: Credentials) -> Endpoint:
    return Endpoint(*address, None, 0, credentials, None)


def _fixed(address: Address, credentials: Credentials) -> Locate:
    async def locate() -> Endpoint:
        return _endpoint(address, credentials)

    return locate
