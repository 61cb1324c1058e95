"""Traces of recent requests on Redis. Law: all are in one slot, which bounds how many there are for all processes.

`{traces}:index` has for each its id and its mark, in the order of ids; `{traces}:<id>` the mark and the trace, which
expire by themselves. What has expired is passed over. `{traces}:bodies:<id>` has the sealed bodies of one, and
`{traces}:bodies` for each its id and its size, which `{traces}:bodies_bytes` adds up.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import msgspec

from app.stores.redis.commands import Commands
from app.stores.redis.link import Argument
from app.stores.redis.scripts import load_script
from app.stores.traces import NO_BODIES, Bounds, KeptTrace, Mark, TraceQuery

_INDEX, _PREFIX = "{traces}:index", "{traces}:"
_BODIES, _BODIES_BYTES, _BODIES_PREFIX = "{traces}:bodies", "{traces}:bodies_bytes", "{traces}:bodies:"
_PUT_AT_ONCE = 50
_BODY_BYTES_AT_ONCE = 1 << 18
_LOOKED_AT_ONCE = 1_000
_READ_AT_ONCE = 25
"""Of up to 16 KiB each: what comes at once is nobody's delay."""
_ID_BYTES = 36

_mark = msgspec.msgpack.Decoder(Mark)
_encode = msgspec.msgpack.encode


class RedisTraceStore:
    """Traces shared by every process on the same Redis."""

    def __init__(self, hot: Commands) -> None:
        """Make a store over a connection that belongs to somebody else."""
        self._hot = hot
        self._put = load_script("trace_put")
        self._put_bodies = load_script("trace_bodies_put")
        self._may_have_bodies = True
        """Whether there may be bodies that an earlier setting wanted."""

    async def put(
        self, traces: Sequence[KeptTrace], bounds: Bounds, *, bodies: Mapping[str, bytes] = NO_BODIES
    ) -> None:
        """Keep traces, some at a time; the server's memory is bounded by how many there are, and that of bodies too."""
        for start in range(0, len(traces), _PUT_AT_ONCE):
            args: list[Argument] = [bounds.ttl_ms, bounds.most, _PREFIX]
            for each in traces[start : start + _PUT_AT_ONCE]:
                args += (each.id, _framed(each.mark), each.trace)
            await self._hot.script(self._put, (_INDEX,), args)
        if bounds.most_body_bytes or self._may_have_bodies:
            self._may_have_bodies = True
            for some in _portions(bodies):
                args = [bounds.ttl_ms, bounds.most_body_bytes, _BODIES_PREFIX, *some]
                await self._hot.script(self._put_bodies, (_INDEX, _BODIES, _BODIES_BYTES), args)
            self._may_have_bodies = bool(bounds.most_body_bytes)

    async def find(self, request_id: str) -> KeptTrace | None:
        """Return one, if it is still kept."""
        found = await self._hot.call("GET", _PREFIX + request_id)
        return None if found is None else _kept(request_id, cast("bytes", found))

    async def bodies(self, request_id: str) -> bytes | None:
        """Return the sealed bodies of one, if they are still kept."""
        return cast("bytes | None", await self._hot.call("GET", _BODIES_PREFIX + request_id))

    async def recent(self, query: TraceQuery, *, before: str | None = None, limit: int) -> list[KeptTrace]:
        """Return those asked for, the newest first: first their marks are looked at, then their traces are read."""
        last, found, wanted = query.last_id(before), list[KeptTrace](), list[str]()
        while True:
            members = await self._members(last, first=query.first_id)
            wanted += [request_id for request_id, mark in members if query.wants(mark)]
            is_end = len(members) < _LOOKED_AT_ONCE
            while wanted and (is_end or len(wanted) >= limit) and len(found) < limit:
                asked, wanted = wanted[:_READ_AT_ONCE], wanted[_READ_AT_ONCE:]
                found += await self._read(asked)
            if is_end or len(found) >= limit:
                return found[:limit]
            last = members[-1][0]

    async def _members(self, last: str | None, *, first: str) -> list[tuple[str, Mark]]:
        """Return the ids and marks before `last`, the newest first."""
        end, begin = "+" if last is None else f"({last}", f"[{first}" if first else "-"
        found = await self._hot.call("ZREVRANGEBYLEX", _INDEX, end, begin, "LIMIT", 0, _LOOKED_AT_ONCE)
        return [
            (member[:_ID_BYTES].decode(), _mark.decode(memoryview(member)[_ID_BYTES + 2 :]))
            for member in cast("list[bytes]", found)
        ]

    async def _read(self, ids: Sequence[str]) -> list[KeptTrace]:
        values = await self._hot.call("MGET", *[_PREFIX + each for each in ids])
        pairs = zip(ids, cast("list[bytes | None]", values), strict=True)
        return [_kept(request_id, value) for request_id, value in pairs if value is not None]


def _portions(bodies: Mapping[str, bytes]) -> Iterator[list[Argument]]:
    """Return ids and bodies as arguments, some at a time; without any, nothing once: what is too much goes then too."""
    some, size_bytes = list[Argument](), 0
    for request_id, sealed in bodies.items():
        if some and size_bytes + len(sealed) > _BODY_BYTES_AT_ONCE:
            yield some
            some, size_bytes = [], 0
        some += (request_id, sealed)
        size_bytes += len(sealed)
    yield some


def _framed(mark: Mark) -> bytes:
    """Return a mark with its length before it."""
    encoded = _encode(mark)
    return len(encoded).to_bytes(2, "big") + encoded


def _kept(request_id: str, value: bytes) -> KeptTrace:
    end = 2 + int.from_bytes(value[:2], "big")
    return KeptTrace(request_id, _mark.decode(memoryview(value)[2:end]), value[end:])
