"""The stores of a single process. Law: they keep the contract of `protocols` with dicts, and suspend only to wait."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from app.kernel.clock import Clock
from app.kernel.ids import uuid7_text
from app.stores.entries import UsageEntry
from app.stores.memory_accounts import MemoryAccountStore
from app.stores.memory_cache import MemoryCacheStore
from app.stores.memory_traces import MemoryTraceStore
from app.stores.protocols import REDELIVERED_AFTER_MS, REMEMBERED_S, Claimed, Unsubscribe
from app.stores.subscriptions import Subscriptions

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_MAX_REMEMBERED = 20_000
"""A put cannot fail half-way in one process, so ids are remembered for the contract alone, and not at any price."""


class MemoryUsageQueue:
    """A usage queue in this process; it lives as long as the process does."""

    def __init__(self, *, clock: Clock, redelivered_after_ms: int = REDELIVERED_AFTER_MS) -> None:
        """Make an empty queue."""
        self._clock = clock
        self._redelivered_after_ns = redelivered_after_ms * _NS_PER_MS
        self._waiting: deque[tuple[int, UsageEntry]] = deque()
        self._remembered: set[str] = set()
        self._order: deque[tuple[int, str]] = deque()
        self._claimed: dict[bytes, tuple[int, int, UsageEntry]] = {}
        self.on_put: Callable[[UsageEntry], None] = _do_nothing
        """Is told of each entry that did not come again."""
        self._receipts = 0
        self._put = 0
        self._numbers: dict[str, int] = {}
        self._filled = asyncio.Event()

    async def put(self, entries: Sequence[UsageEntry]) -> None:
        """Take the entries that are not among the last 20,000 taken within 120 s."""
        now_ns, now_ms = self._clock.monotonic_ns(), self._clock.now_ns() // _NS_PER_MS
        self._forget(now_ns)
        for entry in entries:
            if entry.id not in self._remembered:
                self._remembered.add(entry.id)
                self._order.append((now_ns + REMEMBERED_S * _NS_PER_S, entry.id))
                self._waiting.append((now_ms, entry))
                self._put += 1
                if not entry.again:
                    self.on_put(entry)
                self._numbers[entry.id] = self._put
        if self._waiting:
            self._filled.set()

    async def claim(self, *, limit: int, wait_s: float) -> list[Claimed]:
        """Return up to `limit` entries, waiting up to `wait_s` for the first."""
        self._requeue_overdue()
        if not self._waiting and wait_s > 0:
            self._filled.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._filled.wait()
            except TimeoutError:
                self._requeue_overdue()
        return [self._give_out() for _ in range(min(limit, len(self._waiting)))]

    async def acknowledge(self, claimed: Sequence[Claimed]) -> None:
        """Forget these entries for good."""
        for each in claimed:
            if self._claimed.pop(each.receipt, None) is not None:
                self._numbers.pop(each.entry.id, None)

    async def depth(self) -> int:
        """Return how many entries wait or are claimed."""
        return len(self._waiting) + len(self._claimed)

    def pending(self, partition: int) -> tuple[list[UsageEntry], int]:
        """Return the entries of a partition that wait or are claimed, and how many entries were ever put."""
        return [entry for entry in self._all() if entry.partition == partition], self._put

    def put_since(self, count: int, partition: int) -> list[UsageEntry] | None:
        """Return the entries of a partition put after the first `count`; `None` if some are acknowledged already."""
        since = [entry for entry in self._all() if self._numbers.get(entry.id, 0) > count]
        if len(since) != self._put - count:
            return None
        return [entry for entry in since if entry.partition == partition]

    def _all(self) -> list[UsageEntry]:
        return [*(entry for _, _, entry in self._claimed.values()), *(entry for _, entry in self._waiting)]

    def _give_out(self) -> Claimed:
        queued_ms, entry = self._waiting.popleft()
        self._receipts += 1
        receipt = b"%d" % self._receipts
        self._claimed[receipt] = (self._clock.monotonic_ns() + self._redelivered_after_ns, queued_ms, entry)
        return Claimed(entry, receipt, queued_ms)

    def _requeue_overdue(self) -> None:
        """Put claims that were never acknowledged back in front; claims are in order of time, so the first decides."""
        now_ns = self._clock.monotonic_ns()
        overdue = []
        for receipt, (due_ns, queued_ms, entry) in self._claimed.items():
            if due_ns > now_ns:
                break
            overdue.append((receipt, queued_ms, entry))
        for receipt, queued_ms, entry in reversed(overdue):
            del self._claimed[receipt]
            self._waiting.appendleft((queued_ms, entry))

    def _forget(self, now_ns: int) -> None:
        """Drop ids past their time, and the oldest of too many."""
        order = self._order
        while order and (order[0][0] <= now_ns or len(order) > _MAX_REMEMBERED):
            self._remembered.discard(order.popleft()[1])


def _do_nothing(_entry: UsageEntry) -> None:
    """Do nothing."""


class MemorySignals:
    """Signals inside this process: never lost, so the only gap is what came before the subscription."""

    connected = True

    def __init__(self) -> None:
        """Make signals without subscribers."""
        self.address = uuid7_text()
        self._subscriptions = Subscriptions()

    async def publish(self, topic: str, payload: bytes, *, to: str | None = None) -> None:
        """Hand the payload to every subscriber in the next tick of the loop."""
        if to in (None, self.address):
            self._subscriptions.deliver(topic, payload)

    def subscribe(
        self, topic: str, callback: Callable[[bytes], None], *, on_gap: Callable[[], None] | None = None
    ) -> Unsubscribe:
        """Call `callback` with each payload from now on."""
        return self._subscriptions.add(topic, callback, on_gap=on_gap, is_heard=True)


class MemoryLeases:
    """Leases inside this process."""

    def __init__(self, *, clock: Clock) -> None:
        """Make leases that nobody holds."""
        self._clock = clock
        self._held: dict[str, tuple[str, int]] = {}

    async def acquire(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Take or extend the lease; false when another holds it."""
        if self._holder(name) not in (None, holder):
            return False
        self._held[name] = (holder, self._clock.monotonic_ns() + int(ttl_s * _NS_PER_S))
        return True

    async def renew(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Extend the lease; false when it is not this holder's any more."""
        return self._holder(name) == holder and await self.acquire(name, holder=holder, ttl_s=ttl_s)

    async def release(self, name: str, *, holder: str) -> bool:
        """Give the lease up; false when it was not this holder's."""
        if self._holder(name) != holder:
            return False
        del self._held[name]
        return True

    def _holder(self, name: str) -> str | None:
        holder, expires_ns = self._held.get(name, (None, 0))
        return holder if expires_ns > self._clock.monotonic_ns() else None


class MemoryPresence:
    """The one process that there is."""

    async def announce(self, process: str, *, ttl_s: float) -> int:
        """Return 1."""
        del process, ttl_s
        return 1


class MemoryStores:
    """Every store of an installation that is one process."""

    kind: Literal["memory", "redis"] = "memory"
    hot = None

    def __init__(self, *, clock: Clock, redelivered_after_ms: int = REDELIVERED_AFTER_MS) -> None:
        """Make empty stores."""
        self.usage = MemoryUsageQueue(clock=clock, redelivered_after_ms=redelivered_after_ms)
        self.signals = MemorySignals()
        self.leases = MemoryLeases(clock=clock)
        self.presence = MemoryPresence()
        self.accounts = MemoryAccountStore(self.usage, clock=clock)
        self.cache = MemoryCacheStore(clock=clock)
        self.traces = MemoryTraceStore(clock=clock)

    async def start(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def aclose(self) -> None:
        """Do nothing: the state goes with the process."""

    async def ping(self) -> bool:
        """Return true."""
        return True

    def sweep(self) -> None:
        """Forget empty windows, answers past their time and the like."""
        self.accounts.sweep()
        self.cache.sweep()
        self.traces.sweep()
