"""Every store of an installation on Redis. Law: one hot connection for each process, and waiting never shares it."""

from typing import Literal, Self

from app.kernel.clock import Clock
from app.stores.protocols import PARTITIONS, REDELIVERED_AFTER_MS
from app.stores.redis.accounts import RedisAccountStore
from app.stores.redis.cache import RedisCacheStore
from app.stores.redis.cluster import ClusterConnection
from app.stores.redis.commands import Commands
from app.stores.redis.connection import HotConnection
from app.stores.redis.consumer import Read, read_apart, read_together
from app.stores.redis.endpoint import Locate
from app.stores.redis.epochs import Epochs
from app.stores.redis.leases import RedisLeases
from app.stores.redis.presence import RedisPresence
from app.stores.redis.repetition import Repetition
from app.stores.redis.signals import RedisSignals
from app.stores.redis.traces import RedisTraceStore
from app.stores.redis.usage import RedisUsageQueue
from app.stores.url import StoreUrl

_HEARD_WITHIN_S = 1.0


class RedisStores:
    """The accounts, usage queue, signals, leases, answers and traces of one process, on one Redis or one cluster."""

    kind: Literal["memory", "redis"] = "redis"

    def __init__(
        self,
        hot: Commands,
        reader: Commands,
        *,
        locate: Locate,
        db: int,
        read: Read,
        clock: Clock,
        redelivered_after_ms: int,
    ) -> None:
        """Make stores of two connections, which they own, and of the place where signals are heard."""
        self.hot = hot
        self._reader = reader
        self.repetition = Repetition(clock=clock)
        self._epochs = Epochs(hot, partitions=PARTITIONS, clock=clock)
        hot.on_new_server(self.repetition.begin)
        self._epochs.on_wipe(self.repetition.begin)
        self.usage = RedisUsageQueue(
            hot,
            reader,
            clock=clock,
            repetition=self.repetition,
            redelivered_after_ms=redelivered_after_ms,
            read=read,
        )
        self.presence = RedisPresence(hot)
        self.accounts = RedisAccountStore(hot, repetition=self.repetition, epochs=self._epochs)
        self.signals = RedisSignals(hot, locate, db=db)
        self.leases = RedisLeases(hot)
        self.cache = RedisCacheStore(hot)
        self.traces = RedisTraceStore(hot)

    @classmethod
    def on_server(
        cls, locate: Locate, *, db: int, clock: Clock, redelivered_after_ms: int = REDELIVERED_AFTER_MS
    ) -> Self:
        """Make unconnected stores; only a process that claims usage ever opens the second connection."""
        hot, reader = HotConnection(locate), HotConnection(locate)
        return cls(
            hot,
            reader,
            locate=locate,
            db=db,
            read=read_together,
            clock=clock,
            redelivered_after_ms=redelivered_after_ms,
        )

    @classmethod
    def on_cluster(cls, url: StoreUrl, *, clock: Clock, redelivered_after_ms: int = REDELIVERED_AFTER_MS) -> Self:
        """Make unconnected stores on the cluster that has the URL's nodes."""
        hot, reader = ClusterConnection(url), ClusterConnection(url)
        return cls(
            hot,
            reader,
            locate=hot.locate,
            db=0,
            read=read_apart,
            clock=clock,
            redelivered_after_ms=redelivered_after_ms,
        )

    async def start(self) -> None:
        """Connect and begin to listen; raises `StoreUnavailable` at the first failure, and goes on trying."""
        self.signals.start()
        await self.hot.start()
        await self.signals.wait_connected(within_s=_HEARD_WITHIN_S)
        self._epochs.start()

    async def aclose(self) -> None:
        """Close the connections and stop listening."""
        await self.signals.aclose()
        await self._epochs.aclose()
        await self.repetition.aclose()
        await self._reader.aclose()
        await self.hot.aclose()

    async def ping(self) -> bool:
        """Return, within 250 ms, whether Redis answers."""
        return await self.hot.ping()

    def sweep(self) -> None:
        """Do nothing: Redis lets keys expire."""


class RedisCacheStores:
    """Answers on a Redis of their own, which keeps nothing else."""

    def __init__(self, hot: Commands) -> None:
        """Make a store of a connection, which it owns."""
        self._hot = hot
        self.cache = RedisCacheStore(hot)

    async def start(self) -> None:
        """Connect; raises `StoreUnavailable` at the first failure, and goes on trying."""
        await self._hot.start()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._hot.aclose()

    async def ping(self) -> bool:
        """Return, within 250 ms, whether Redis answers."""
        return await self._hot.ping()

    def sweep(self) -> None:
        """Do nothing: Redis lets keys expire."""
