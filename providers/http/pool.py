"""The connection pool.

Law: no lock and no walk over connections on the way of a request; whoever takes a connection is the only one that knows
it until its answer is closed.
"""

import asyncio
from collections.abc import AsyncIterable

import msgspec

from providers.errors import ConnectFailed, ProviderTimedOut
from providers.http.answer import Answer
from providers.http.connection import Connection, StaleConnection
from providers.http.network import Network
from providers.http.origin import Origin, OriginStats
from providers.http.request import OriginKey, RequestHead, encode_head, origin_of
from providers.types import Timeouts, UpstreamRequest

_HEADS_MAX = 512
_ORIGINS_MAX = 512
_CLOSING_TURNS = 4
"""Turns of the loop after which a cut socket is closed: TLS needs one more than TCP, and one is to spare."""


class PoolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections an origin may have; `max_connections` of none is without limit. Expiry is in seconds."""

    max_idle: int = 256
    max_connections: int | None = None
    idle_expiry_s: float = 55.0


class PoolStats(msgspec.Struct, frozen=True, kw_only=True):
    """How the connections are doing, by origin (`https://host:443`)."""

    origins: dict[str, OriginStats]

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return sum(origin.idle for origin in self.origins.values())

    @property
    def active(self) -> int:
        """Connections that serve a request, and requests that wait for one."""
        return sum(origin.active + origin.connecting + origin.waiting for origin in self.origins.values())


class Pool:
    """Sends requests over kept connections. Make one per worker process, inside its running loop.

    One pool has one address policy: two kinds of providers that trust different addresses need two pools.
    """

    def __init__(self, *, network: Network | None = None, limits: PoolLimits = PoolLimits()) -> None:  # noqa: B008 - frozen
        self._loop = asyncio.get_running_loop()
        self._network = network or Network()
        self._limits = limits
        self._origins: dict[OriginKey, Origin] = {}
        self._heads: dict[tuple[str, str, tuple[tuple[str, str], ...]], tuple[Origin, RequestHead]] = {}
        self._is_closed = False

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> Answer:
        """Send a request and return its answer once the head is there; the caller closes the answer.

        Sent again, once, if a kept connection turns out to have been closed by the provider before it answered a byte.
        Raises `ConnectFailed`, `ProviderTimedOut`, `StreamInterrupted`, `BadAnswer`, and `RequestRefused` for a
        request that cannot be written as HTTP.
        """
        origin, head = self._heads.get((request.method, request.url, request.headers)) or self._encode(request)
        if request.call_headers:
            head = head.with_fields(request.call_headers)
        connection = origin.take() or await self._obtain(origin, timeouts)
        try:
            return await connection.exchange(head, request.body, timeouts=timeouts)
        except StaleConnection:
            origin.retried += 1
        connection = await self._obtain(origin, timeouts, is_fresh=True)
        return await connection.exchange(head, request.body, timeouts=timeouts)

    async def upload(
        self, request: UpstreamRequest, chunks: AsyncIterable[bytes], *, length_bytes: int | None, timeouts: Timeouts
    ) -> Answer:
        """Send a request whose body comes in `chunks`; `request.body` is not used.

        Always on a new connection, for a body that has begun to flow cannot be sent again.
        """
        origin, head = self._encode(request)
        connection = await self._obtain(origin, timeouts, is_fresh=True)
        return await connection.upload(head, chunks, length_bytes=length_bytes, timeouts=timeouts)

    async def aclose(self) -> None:
        """Cut all connections and let the loop close their sockets."""
        self._is_closed = True
        self._network.close()
        for origin in self._origins.values():
            origin.max_idle = 0
            for connection in tuple(origin.open):
                connection.abort()
            while origin.waiters:
                origin.wake_next()
        for _ in range(_CLOSING_TURNS):
            await asyncio.sleep(0)

    def stats(self) -> PoolStats:
        """Return the figures of every origin; walks the connections, so not for each request."""
        now_s = self._loop.time()
        origins = {f"{scheme}://{host}:{port}": o.stats(now_s) for (scheme, host, port), o in self._origins.items()}
        return PoolStats(origins=origins)

    def _encode(self, request: UpstreamRequest) -> tuple[Origin, RequestHead]:
        key = origin_of(request.url)
        encoded = (self._origin(key), encode_head(request, origin=key))
        if len(self._heads) >= _HEADS_MAX:
            self._heads.clear()
        self._heads[request.method, request.url, request.headers] = encoded
        return encoded

    def _origin(self, key: OriginKey) -> Origin:
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) >= _ORIGINS_MAX:
                self._forget_unused()
            limits = self._limits
            origin = self._origins[key] = Origin(
                key,
                max_idle=limits.max_idle,
                max_connections=limits.max_connections,
                idle_expiry_s=limits.idle_expiry_s,
            )
        return origin

    def _forget_unused(self) -> None:
        """Drop origins without connections, and the heads that would keep them."""
        self._heads.clear()
        for key in [key for key, origin in self._origins.items() if origin.is_empty]:
            del self._origins[key]

    async def _obtain(self, origin: Origin, timeouts: Timeouts, *, is_fresh: bool = False) -> Connection:
        """Return a connection that is the caller's: a new one, or one that came free while the origin was full."""
        self._check_open()
        if origin.is_full:
            kept = await self._wait_for_place(origin, timeouts.connect_s, is_fresh=is_fresh)
            if kept is not None:
                return kept
        origin.connecting += 1
        try:
            connection = await self._network.connect(
                lambda: Connection(origin, loop=self._loop), origin=origin.key, timeout_s=timeouts.connect_s
            )
        except BaseException:
            origin.wake_next()
            raise
        finally:
            origin.connecting -= 1
        if self._is_closed:
            connection.abort()
        self._check_open()
        return connection

    async def _wait_for_place(self, origin: Origin, timeout_s: float, *, is_fresh: bool) -> Connection | None:
        """Wait for room; return a kept connection instead if one came free, unless it must be new."""
        try:
            async with asyncio.timeout(timeout_s):
                while origin.is_full:
                    self._check_open()
                    kept = origin.take()
                    if kept is not None and not is_fresh:
                        return kept
                    if kept is None:
                        await self._queue(origin)
                    else:
                        kept.abort()
        except TimeoutError:
            raise ProviderTimedOut("No connection to the provider came free in time.", phase="connect") from None
        return None

    async def _queue(self, origin: Origin) -> None:
        """Wait for the origin's next change; one that is cancelled with its turn passes the turn on."""
        waiter = self._loop.create_future()
        origin.waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.cancelled():
                origin.waiters.remove(waiter)
            else:
                origin.wake_next()
            raise

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConnectFailed("The gateway is closing its connections.")
