"""The reading side of the usage streams. Law: what was read is handed on, whatever became of the other streams.

One server is asked for all streams in one blocking command. A cluster allows one stream for each command, as each is in
a slot of its own, so there all are asked at once, without blocking, again and again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from app.stores.entries import UsageEntry, entry_of
from app.stores.errors import StoreError, StoreReplyError
from app.stores.protocols import PARTITIONS, Claimed
from app.stores.redis.commands import Commands
from app.stores.redis.connection import TIMEOUT_S
from app.stores.redis.link import Argument

GROUP = "ledger"
PARTITION_NAMES = tuple(f"{{p{partition:02d}}}" for partition in range(PARTITIONS))
"""What the keys of each partition begin with: a hash tag, so that Redis Cluster keeps them together."""

STREAMS = tuple(f"{name}:usage" for name in PARTITION_NAMES)


def account_sets(name: str, scopes: tuple[str, str, str]) -> tuple[str, str, str]:
    """Return the keys of the sets of all accounts that count the spending of these scopes, in a partition."""
    organization, team, key = scopes
    return f"{name}:accounts:0{organization}", f"{name}:accounts:1{team}", f"{name}:accounts:2{key}"


_CONSUMER = "writer"
"""One name for every process: what is pending is told apart by its age, and no dead names pile up in the groups."""

_BLOCK_SLACK_S = 0.5
"""How much later than asked Redis may end a blocking read before it counts as hung."""

_PAUSE_S = 0.25
"""How long an entry on a cluster may wait for the next look; a look at 64 empty streams costs a millisecond."""

_NOTE_AT, _AGAIN_AT = 5, 7

_StreamEntry = tuple[bytes, list[bytes] | None]
_Command = tuple[Argument, ...]


class Streams:
    """Commands for one or more streams each; makes the consumer groups where one finds none, on a new server, say."""

    def __init__(self, reader: Commands) -> None:
        """Make it of a connection that belongs to somebody else."""
        self.reader = reader

    async def ask(self, commands: Sequence[tuple[Sequence[str], _Command]], *, timeout_s: float) -> list[object]:
        """Return the replies in order, each `StoreError` in the place of a reply; raises one if there is no reply."""
        outcomes = await self._ask_once(commands, timeout_s)
        groupless = [at for at, outcome in enumerate(outcomes) if _wants_group(outcome)]
        if groupless:
            await self._make_groups([stream for at in groupless for stream in commands[at][0]])
            again = await self._ask_once([commands[at] for at in groupless], timeout_s)
            for at, outcome in zip(groupless, again, strict=True):
                outcomes[at] = outcome
        failures = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
        if failures and len(failures) == len(outcomes):
            raise failures[0]
        return outcomes

    async def _ask_once(self, commands: Sequence[tuple[Sequence[str], _Command]], timeout_s: float) -> list[object]:
        asked = [self.reader.call(*command, timeout_s=timeout_s) for _, command in commands]
        outcomes: list[object] = await asyncio.gather(*asked, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, StoreError):
                raise outcome
        return outcomes

    async def _make_groups(self, streams: Sequence[str]) -> None:
        """Make the groups; one that cannot be made fails the command that wants it, and no other."""
        creations = [self.reader.call("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM") for stream in streams]
        await asyncio.gather(*creations, return_exceptions=True)


Read = Callable[[Streams, Sequence[str], int, float], Awaitable[list[Claimed]]]
"""Reads up to a count of new entries from each of the streams, waiting some seconds for the first."""


async def read_together(streams: Streams, names: Sequence[str], count: int, wait_s: float) -> list[Claimed]:
    """Read all streams of one server in one command, which blocks.

    Whoever cancels it gives the connection up, else the next claim would wait behind it.
    """
    block: _Command = ("BLOCK", max(1, int(wait_s * 1000))) if wait_s > 0 else ()
    command = _read_command(names, count, block)
    try:
        (reply,) = await streams.ask([(names, command)], timeout_s=wait_s + _BLOCK_SLACK_S)
    except asyncio.CancelledError:
        streams.reader.discard()
        raise
    return _read_reply(reply)


async def read_apart(streams: Streams, names: Sequence[str], count: int, wait_s: float) -> list[Claimed]:
    """Read each stream of a cluster in a command of its own, and look again, 250 ms later, while none has any.

    Raises what failed only in the end and only if nothing came, so that a node that is down holds no other back.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    commands = [((name,), _read_command((name,), count, ())) for name in names]
    while True:
        outcomes = await streams.ask(commands, timeout_s=TIMEOUT_S)
        found = [claimed for outcome in outcomes for claimed in _read_reply(outcome)]
        left_s = deadline - loop.time()
        if found or left_s <= 0:
            break
        await asyncio.sleep(min(_PAUSE_S, left_s))
    failure = next((outcome for outcome in outcomes if isinstance(outcome, StoreError)), None)
    if failure is not None and not found:
        raise failure
    return found


class Consumer:
    """The one consumer of the streams' group, which every process is."""

    def __init__(self, reader: Commands, *, read: Read) -> None:
        """Make a consumer that reads by `read` through a connection on which nothing else waits."""
        self._streams = Streams(reader)
        self._read = read

    async def overdue(self, limit: int, *, idle_ms: int) -> list[Claimed]:
        """Take over what was claimed `idle_ms` ago or earlier, up to `limit` entries of each stream."""
        commands = [
            ((stream,), ("XAUTOCLAIM", stream, GROUP, _CONSUMER, idle_ms, "0-0", "COUNT", limit)) for stream in STREAMS
        ]
        outcomes = await self._streams.ask(commands, timeout_s=TIMEOUT_S)
        return [
            claimed
            for partition, outcome in enumerate(outcomes)
            if not isinstance(outcome, StoreError)
            for claimed in _parse(partition, cast("list[list[_StreamEntry]]", outcome)[1])
        ]

    async def fresh(self, limit: int, *, wait_s: float) -> list[Claimed]:
        """Read what nobody was given; streams that had more than their share are read again while there is room."""
        share = max(1, limit // PARTITIONS)
        found = await self._read(self._streams, STREAMS, share, wait_s)
        counts = [0] * PARTITIONS
        for claimed in found:
            counts[claimed.entry.partition] += 1
        busy = [stream for stream, count in zip(STREAMS, counts, strict=True) if count == share]
        room = limit - len(found)
        if busy and room >= len(busy):
            found += await self._read_more(busy, room // len(busy))
        return found

    async def _read_more(self, busy: Sequence[str], count: int) -> list[Claimed]:
        """Read on; a failure now must not take with it what was found before."""
        try:
            return await self._read(self._streams, busy, count, 0)
        except StoreError:
            return []


def _read_command(names: Sequence[str], count: int, block: _Command) -> _Command:
    which = (*names, *(">" for _ in names))
    return ("XREADGROUP", "GROUP", GROUP, _CONSUMER, "COUNT", count, *block, "STREAMS", *which)


def _read_reply(outcome: object) -> list[Claimed]:
    """Return the entries of a reply to XREADGROUP; a failure has none."""
    if isinstance(outcome, StoreError):
        return []
    by_stream = cast("list[tuple[bytes, list[_StreamEntry]]] | None", outcome)
    return [claimed for stream, entries in by_stream or () for claimed in _parse(int(stream[2:4]), entries)]


def _parse(partition: int, entries: Sequence[_StreamEntry]) -> list[Claimed]:
    """Return the stream's entries as ours; an entry that was deleted while pending has no fields."""
    return [
        # The id of a stream's entry begins with the server's time.
        Claimed(read_entry(partition, fields), receipt, queued_ms=int(receipt.partition(b"-")[0]))
        for receipt, fields in entries
        if fields is not None
    ]


def read_entry(partition: int, fields: Sequence[bytes]) -> UsageEntry:
    """Return what the fields of an entry in a stream say; those of the release before have no note."""
    note = fields[_NOTE_AT] if len(fields) > _NOTE_AT else b""
    return entry_of(partition, fields[1], fields[3], note=note, again=len(fields) > _AGAIN_AT)


def _wants_group(outcome: object) -> bool:
    return isinstance(outcome, StoreReplyError) and outcome.code in {"NOGROUP", "UNBLOCKED"}
