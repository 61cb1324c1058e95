"""The usage queue on Redis streams. Law: an entry leaves a stream only by its acknowledgement; no MAXLEN, ever.

Partition NN has the stream `{pNN}:usage`, read by the consumer group `ledger`, and one expiring key
`{pNN}:usage:<id>` for each entry of the last two minutes, so that everything of a partition is in one Cluster slot.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import cast

from msgspec import structs

from app.kernel.clock import Clock
from app.stores.entries import UsageEntry, note_of
from app.stores.errors import StoreUnavailable
from app.stores.protocols import REDELIVERED_AFTER_MS, REMEMBERED_S, Claimed
from app.stores.redis.commands import Commands
from app.stores.redis.consumer import (
    GROUP,
    PARTITION_NAMES,
    STREAMS,
    Consumer,
    Read,
    account_sets,
    read_together,
)
from app.stores.redis.link import Argument
from app.stores.redis.repetition import Repetition
from app.stores.redis.scripts import load_script

_SWEEPS_PER_REDELIVERY = 3
_ACKNOWLEDGED_AT_ONCE = 500

_log = logging.getLogger(__name__)


class RedisUsageQueue:
    """A usage queue shared by every process on the same Redis."""

    def __init__(
        self,
        hot: Commands,
        reader: Commands,
        *,
        clock: Clock,
        repetition: Repetition,
        redelivered_after_ms: int = REDELIVERED_AFTER_MS,
        read: Read = read_together,
    ) -> None:
        """Make a queue that puts through `hot` and claims by `read` through `reader`, on which nothing else may wait.

        `read` is `read_apart` on a cluster.
        """
        self._clock = clock
        self._hot = hot
        self._consumer = Consumer(reader, read=read)
        self._redelivered_after_ms = redelivered_after_ms
        self._settle = load_script("settle", after=("spend",))
        self._acknowledge = load_script("acknowledge")
        self._surplus: deque[Claimed] = deque()
        self._next_sweep_ns = clock.monotonic_ns()
        self._repetition = repetition

    async def put(self, entries: Sequence[UsageEntry]) -> None:
        """Append the entries, and keep them for a server that may yet lose them."""
        await self._put(entries)
        self._repetition.remember(lambda: self._put([structs.replace(entry, again=True) for entry in entries]))

    async def _put(self, entries: Sequence[UsageEntry]) -> None:
        by_partition: dict[tuple[int, bool], list[UsageEntry]] = {}
        for entry in entries:
            by_partition.setdefault((entry.partition, entry.again), []).append(entry)
        await _each([self._append(partition, its) for (partition, _), its in by_partition.items()])

    async def _append(self, partition: int, entries: Sequence[UsageEntry]) -> None:
        """Append entries of one partition; a lost connection is tried once more, which the ids make harmless."""
        stream = STREAMS[partition]
        keys: list[Argument] = [stream]
        args: list[Argument] = [REMEMBERED_S, int(entries[0].again)]
        for entry in entries:
            keys += (f"{stream}:{entry.id}", *account_sets(PARTITION_NAMES[partition], entry.scopes))
            args += (entry.id, entry.payload, note_of(entry))
        try:
            await self._hot.script(self._settle, keys, args)
        except StoreUnavailable:
            await self._hot.script(self._settle, keys, args)

    async def claim(self, *, limit: int, wait_s: float) -> list[Claimed]:
        """Return up to `limit` entries: those given out too long ago first, else new ones."""
        if not self._surplus:
            self._surplus.extend(await self._overdue(limit) or await self._consumer.fresh(limit, wait_s=wait_s))
        return [self._surplus.popleft() for _ in range(min(limit, len(self._surplus)))]

    async def _overdue(self, limit: int) -> list[Claimed]:
        """Take over what was claimed too long ago; looks again at once while it finds, else three times in 30 s."""
        if self._clock.monotonic_ns() < self._next_sweep_ns:
            return []
        found = await self._consumer.overdue(limit, idle_ms=self._redelivered_after_ms)
        if not found:
            pause_ns = self._redelivered_after_ms * 1_000_000 // _SWEEPS_PER_REDELIVERY
            self._next_sweep_ns = self._clock.monotonic_ns() + pause_ns
        return found

    async def acknowledge(self, claimed: Sequence[Claimed]) -> None:
        """Delete the entries from their streams; what cannot be reached comes again, which is harmless."""
        by_partition: dict[int, list[bytes]] = {}
        for each in claimed:
            by_partition.setdefault(each.entry.partition, []).append(each.receipt)
        forgetting = [self._forget(STREAMS[partition], receipts) for partition, receipts in by_partition.items()]
        try:
            await _each(forgetting)
        except StoreUnavailable as error:
            # Whoever waited for one node here would hold back what the others have.
            _log.warning("claimed usage stays in its stream and comes again: %s", error)

    async def _forget(self, stream: str, receipts: Sequence[bytes]) -> None:
        for start in range(0, len(receipts), _ACKNOWLEDGED_AT_ONCE):
            args: list[Argument] = [GROUP, *receipts[start : start + _ACKNOWLEDGED_AT_ONCE]]
            await self._hot.script(self._acknowledge, (stream,), args)

    async def depth(self) -> int:
        """Return the length of all streams."""
        lengths = await asyncio.gather(*[self._hot.call("XLEN", stream) for stream in STREAMS])
        return sum(cast("list[int]", lengths))


async def _each(steps: Sequence[Coroutine[None, None, None]]) -> None:
    """Take every step, whatever becomes of the others, and raise what the first failure was."""
    if len(steps) == 1:
        await steps[0]
        return
    for outcome in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
