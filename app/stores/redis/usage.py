"""The usage queue on Redis streams. Law: an entry leaves a stream only by its acknowledgement; no MAXLEN, ever.

Partition NN has the stream `{pNN}:usage`, read by the consumer group `ledger`, and one expiring key
`{pNN}:usage:<id>` for each entry of the last two minutes, so that everything of a partition is in one Cluster slot.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import cast

from msgspec import structs

from app.kernel.clock import Clock
from app.stores.entries import UsageEntry, entry_of, note_of
from app.stores.errors import StoreReplyError, StoreUnavailable
from app.stores.protocols import PARTITIONS, REDELIVERED_AFTER_MS, REMEMBERED_S, Claimed
from app.stores.redis.connection import TIMEOUT_S, HotConnection
from app.stores.redis.link import Argument
from app.stores.redis.repetition import Repetition
from app.stores.redis.scripts import load_script

_GROUP = "ledger"
_CONSUMER = "writer"
"""One name for every process: what is pending is told apart by its age, and no dead names pile up in the groups."""

PARTITION_NAMES = tuple(f"{{p{partition:02d}}}" for partition in range(PARTITIONS))
"""What the keys of each partition begin with: a hash tag, so that Redis Cluster keeps them together."""

STREAMS = tuple(f"{name}:usage" for name in PARTITION_NAMES)
_SWEEPS_PER_REDELIVERY = 3
_ACKNOWLEDGED_AT_ONCE = 500
_BLOCK_SLACK_S = 0.5
"""How much later than asked Redis may end a blocking read before it counts as hung."""

_NOTE_AT, _AGAIN_AT = 5, 7

_StreamEntry = tuple[bytes, list[bytes] | None]


class RedisUsageQueue:
    """A usage queue shared by every process on the same Redis."""

    def __init__(
        self,
        hot: HotConnection,
        reader: HotConnection,
        *,
        clock: Clock,
        repetition: Repetition,
        redelivered_after_ms: int = REDELIVERED_AFTER_MS,
    ) -> None:
        """Make a queue that puts through `hot` and claims through `reader`, on which nothing else may wait."""
        self._clock = clock
        self._hot = hot
        self._reader = reader
        self._redelivered_after_ms = redelivered_after_ms
        self._settle = load_script("settle")
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
        for (partition, _), its_entries in by_partition.items():
            await self._append(STREAMS[partition], its_entries)

    async def _append(self, stream: str, entries: Sequence[UsageEntry]) -> None:
        """Append entries of one stream; a lost connection is tried once more, which the ids make harmless."""
        keys: list[Argument] = [stream]
        args: list[Argument] = [REMEMBERED_S, int(entries[0].again)]
        for entry in entries:
            keys.append(f"{stream}:{entry.id}")
            args += (entry.id, entry.payload, note_of(entry))
        try:
            await self._hot.script(self._settle, keys, args)
        except StoreUnavailable:
            await self._hot.script(self._settle, keys, args)

    async def claim(self, *, limit: int, wait_s: float) -> list[Claimed]:
        """Return up to `limit` entries: those given out too long ago first, else new ones."""
        if not self._surplus:
            self._surplus.extend(await self._overdue(limit) or await self._fresh(limit, wait_s))
        return [self._surplus.popleft() for _ in range(min(limit, len(self._surplus)))]

    async def acknowledge(self, claimed: Sequence[Claimed]) -> None:
        """Delete the entries from their streams."""
        by_partition: dict[int, list[bytes]] = {}
        for each in claimed:
            by_partition.setdefault(each.entry.partition, []).append(each.receipt)
        for partition, receipts in by_partition.items():
            for start in range(0, len(receipts), _ACKNOWLEDGED_AT_ONCE):
                args: list[Argument] = [_GROUP, *receipts[start : start + _ACKNOWLEDGED_AT_ONCE]]
                await self._hot.script(self._acknowledge, (STREAMS[partition],), args)

    async def depth(self) -> int:
        """Return the length of all streams."""
        lengths = await asyncio.gather(*[self._hot.call("XLEN", stream) for stream in STREAMS])
        return sum(cast("list[int]", lengths))

    async def _overdue(self, limit: int) -> list[Claimed]:
        """Take over what was claimed too long ago; looks again at once while it finds, else three times in 30 s."""
        if self._clock.monotonic_ns() < self._next_sweep_ns:
            return []
        commands = [
            ("XAUTOCLAIM", stream, _GROUP, _CONSUMER, self._redelivered_after_ms, "0-0", "COUNT", limit)
            for stream in STREAMS
        ]
        replies = cast("list[list[list[_StreamEntry]]]", await self._ask_all(commands))
        found = [
            claimed for partition, (_, entries, *_) in enumerate(replies) for claimed in _parse(partition, entries)
        ]
        if not found:
            pause_ns = self._redelivered_after_ms * 1_000_000 // _SWEEPS_PER_REDELIVERY
            self._next_sweep_ns = self._clock.monotonic_ns() + pause_ns
        return found

    async def _fresh(self, limit: int, wait_s: float) -> list[Claimed]:
        """Read what nobody was given; streams that had more than their share are read again while there is room."""
        share = max(1, limit // PARTITIONS)
        found = await self._read(STREAMS, count=share, wait_s=wait_s)
        counts = [0] * PARTITIONS
        for claimed in found:
            counts[claimed.entry.partition] += 1
        busy = [stream for stream, count in zip(STREAMS, counts, strict=True) if count == share]
        room = limit - len(found)
        if busy and room >= len(busy):
            found += await self._read(busy, count=room // len(busy), wait_s=0)
        return found

    async def _read(self, streams: Sequence[str], *, count: int, wait_s: float) -> list[Claimed]:
        block: tuple[Argument, ...] = ("BLOCK", max(1, int(wait_s * 1000))) if wait_s > 0 else ()
        which = (*streams, *(">" for _ in streams))
        command = ("XREADGROUP", "GROUP", _GROUP, _CONSUMER, "COUNT", count, *block, "STREAMS", *which)
        (reply,) = await self._ask_all([command], timeout_s=wait_s + _BLOCK_SLACK_S)
        by_stream = cast("list[tuple[bytes, list[_StreamEntry]]] | None", reply)
        return [claimed for stream, entries in by_stream or () for claimed in _parse(int(stream[2:4]), entries)]

    async def _ask_all(self, commands: Sequence[tuple[Argument, ...]], *, timeout_s: float = TIMEOUT_S) -> list[object]:
        """Ask the reader; makes the consumer groups where a command finds none, as on a new or wiped server.

        Whoever cancels a blocking read gives its connection up, else the next claim would wait behind it.
        """
        try:
            return await self._ask(commands, timeout_s)
        except StoreReplyError as error:
            if error.code not in {"NOGROUP", "UNBLOCKED"}:
                raise
        except asyncio.CancelledError:
            self._reader.discard()
            raise
        await self._make_groups()
        return await self._ask(commands, timeout_s)

    async def _ask(self, commands: Sequence[tuple[Argument, ...]], timeout_s: float) -> list[object]:
        return await asyncio.gather(*[self._reader.call(*command, timeout_s=timeout_s) for command in commands])

    async def _make_groups(self) -> None:
        creations = [self._reader.call("XGROUP", "CREATE", stream, _GROUP, "0", "MKSTREAM") for stream in STREAMS]
        for outcome in await asyncio.gather(*creations, return_exceptions=True):
            if isinstance(outcome, BaseException) and getattr(outcome, "code", None) != "BUSYGROUP":
                raise outcome


def _parse(partition: int, entries: Sequence[_StreamEntry]) -> list[Claimed]:
    """Return the stream's entries as ours; an entry that was deleted while pending has no fields."""
    return [Claimed(read_entry(partition, fields), receipt) for receipt, fields in entries if fields is not None]


def read_entry(partition: int, fields: Sequence[bytes]) -> UsageEntry:
    """Return what the fields of an entry in a stream say; those of the release before have no note."""
    note = fields[5] if len(fields) > _NOTE_AT else b""
    return entry_of(partition, fields[1], fields[3], note=note, again=len(fields) > _AGAIN_AT)
