"""Every store of an installation on Redis. Law: one hot connection for each process, and waiting never shares it."""

from typing import Literal

from app.kernel.clock import Clock
from app.stores.protocols import PARTITIONS, REDELIVERED_AFTER_MS
from app.stores.redis.accounts import RedisAccountStore
from app.stores.redis.connection import HotConnection
from app.stores.redis.endpoint import Locate
from app.stores.redis.epochs import Epochs
from app.stores.redis.leases import RedisLeases
from app.stores.redis.presence import RedisPresence
from app.stores.redis.repetition import Repetition
from app.stores.redis.signals import RedisSignals
from app.stores.redis.usage import RedisUsageQueue

_HEARD_WITHIN_S = 1.0


class RedisStores:
    """The usage queue, signals and leases of one process, on one Redis."""

    kind: Literal["memory", "redis"] = "redis"

    def __init__(
        self, locate: Locate, *, db: int, clock: Clock, redelivered_after_ms: int = REDELIVERED_AFTER_MS
    ) -> None:
        """Make unconnected stores; only a process that claims usage ever opens the second connection."""
        self.hot = HotConnection(locate)
        self._reader = HotConnection(locate)
        self.repetition = Repetition(clock=clock)
        self._epochs = Epochs(self.hot, partitions=PARTITIONS, clock=clock)
        self.hot.on_new_server(self.repetition.begin)
        self._epochs.on_wipe(self.repetition.begin)
        self.usage = RedisUsageQueue(
            self.hot,
            self._reader,
            clock=clock,
            repetition=self.repetition,
            redelivered_after_ms=redelivered_after_ms,
        )
        self.presence = RedisPresence(self.hot)
        self.accounts = RedisAccountStore(self.hot, repetition=self.repetition, epochs=self._epochs)
        self.signals = RedisSignals(self.hot, locate, db=db)
        self.leases = RedisLeases(self.hot)

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
