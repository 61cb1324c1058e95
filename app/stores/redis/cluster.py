"""Redis Cluster as one connection. Law: a command goes a second time only where a node said that it did not run it.

Each primary has a `HotConnection` of its own, so a node that is down fails its own slots, at once, and no others. The
hot path only reads the map of slots.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from app.stores.errors import StoreError, StoreReplyError, StoreUnavailable
from app.stores.redis.cluster_map import ClusterMap, Node
from app.stores.redis.connection import TIMEOUT_S, Statistics
from app.stores.redis.endpoint import Endpoint
from app.stores.redis.link import Argument
from app.stores.redis.scripts import Script, run_script
from app.stores.redis.slots import first_key, slot_of
from app.stores.redis.topology import read_redirection
from app.stores.url import StoreUrl

REFRESH_S = 30.0
"""How old the map of slots may become when nothing happens."""

_START_WITHIN_S = 2.0
_MOST_REDIRECTIONS = 3
_LEAST_HOP_S = 0.05
"""What a redirected command gets at least: a node's whole link dies of a command that is overdue."""


class ClusterConnection:
    """The primaries of one cluster behind the interface of one connection.

    It belongs to the event loop that first calls it, asks the URL's nodes for the others when first needed, and lives
    until `aclose`. The URL's credentials are used on every node. That living nodes go on while another's slots are
    unserved takes `cluster-require-full-coverage no`; by Redis's default all of them refuse, which is unavailability.
    """

    def __init__(self, url: StoreUrl, *, timeout_s: float = TIMEOUT_S, refresh_s: float = REFRESH_S) -> None:
        """Make a connection that knows only the URL's nodes, any of which will do."""
        self._timeout_s = timeout_s
        self._map = ClusterMap(url, timeout_s=timeout_s, refresh_s=refresh_s)

    @property
    def statistics(self) -> Statistics:
        """What happened to the connections of all nodes."""
        return self._map.statistics

    @property
    def connected(self) -> bool:
        """Whether any command would be sent at once, whatever its slot."""
        return self._map.is_whole and all(node.hot.connected for node in self._map.primaries)

    def on_new_server(self, callback: Callable[[], None]) -> None:
        """Call back whenever a node was restarted, or one has gone and others serve its slots: a replica, mostly."""
        self._map.on_new_server(callback)

    async def start(self) -> None:
        """Connect to every primary now; raises `StoreUnavailable` if none answers or slots are unserved, and goes on.

        A process may start while some nodes are down: their slots fail until they are back.
        """
        await self._map.look_by(asyncio.get_running_loop().time() + _START_WITHIN_S)
        if not self._map.is_whole:
            raise StoreUnavailable(self._map.trouble)
        starting = [node.hot.start() for node in self._map.primaries]
        failures = [found for found in await asyncio.gather(*starting, return_exceptions=True) if found is not None]
        defects = [failure for failure in failures if not isinstance(failure, StoreUnavailable)]
        if defects or len(failures) == len(starting):
            raise (defects or failures)[0]

    async def call(self, *args: Argument, timeout_s: float | None = None) -> object:
        """Send one command to the node of its first key and return its reply; follows up to three redirections.

        Raises as `HotConnection.call` does, and `StoreUnavailable` while no node serves the slot.
        """
        deadline = asyncio.get_running_loop().time() + (timeout_s or self._timeout_s)
        key = first_key(args)
        node = self._node_of(key)
        if node is None:
            node = await self._find_node(key, deadline)
        try:
            return await node.hot.call(*args, timeout_s=timeout_s)
        except StoreReplyError as error:
            moved = error
        except StoreUnavailable:
            self._map.call_stale()
            raise
        return await self._follow(moved, node, args, deadline)

    async def script(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> object:
        """Run a script where its first key is and return its reply; a node that does not know it gets its source."""
        return await run_script(self.call, script, keys, args)

    def send(self, *args: Argument) -> None:
        """Send one command and forget it; a failure of any kind only counts in `statistics.send_errors`."""
        key = first_key(args)
        node = self._node_of(key)
        if node is None:
            self.statistics.send_errors += 1
            self._map.look_soon()
        else:
            node.hot.send(*args)

    async def ping(self) -> bool:
        """Return, within the timeout, whether every slot has a node that answers and finds the cluster well."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        with contextlib.suppress(StoreUnavailable):
            await self._map.look_by(deadline)
        is_well = self._map.is_whole and all(await asyncio.gather(*map(_is_well, self._map.primaries)))
        if not is_well:
            self._map.look_soon()
        return is_well

    def discard(self) -> None:
        """Leave the present link to every node, failing what waits; the next call to a node opens another."""
        for node in self._map.nodes:
            node.hot.discard()

    async def aclose(self) -> None:
        """Close every connection for good; what waits gets `StoreUnavailable`."""
        await self._map.aclose()

    async def locate(self) -> Endpoint:
        """Return where one node is, the next one at each call, for those who may talk to any."""
        return await self._map.locate()

    def _node_of(self, key: Argument | None) -> Node | None:
        return self._map.any_node() if key is None else self._map.by_slot[slot_of(key)]

    async def _find_node(self, key: Argument | None, deadline: float) -> Node:
        """Return the node when the map does not have it yet; waits only for the first look at the cluster."""
        await self._map.look_by(deadline)
        node = self._node_of(key)
        if node is None:
            self._map.look_soon()
            raise StoreUnavailable(self._map.trouble)
        return node

    async def _follow(self, error: StoreReplyError, node: Node, args: Sequence[Argument], deadline: float) -> object:
        """Send a command where the error points, up to three times; raises the error if it points nowhere."""
        for _ in range(_MOST_REDIRECTIONS):
            redirection = read_redirection(error, asked=node.address)
            if redirection is None:
                raise error
            node = self._map.node(redirection.address)
            if redirection.is_lasting:
                self._map.move(redirection.slot, node)
            send = node.hot.call if redirection.is_lasting else node.hot.call_asking
            left_s = max(deadline - asyncio.get_running_loop().time(), _LEAST_HOP_S)
            try:
                return await send(*args, timeout_s=left_s)
            except StoreReplyError as again:
                error = again
        if read_redirection(error, asked=node.address) is None:
            raise error
        raise StoreUnavailable(f"the cluster sends a command around: {error}", code=error.code)


async def _is_well(node: Node) -> bool:
    """Return whether a node answers and sees enough of the cluster to serve its slots."""
    try:
        about = await node.hot.call("CLUSTER", "INFO")
    except StoreError:
        return False
    return isinstance(about, bytes) and b"cluster_state:ok" in about
