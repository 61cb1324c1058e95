"""Answers on Redis. Law: a call is one script over keys of one organisation, in the server's time, and any may vanish.

Organisation <org> of partition NN has, under `{pNN}:cache:<org>:`, `e:<scope>/<id>` for each entry, `m:<scope>/<key>`
for each maker's lease, a stream `s:<scope>/<semantic>` for each semantic partition, `n` with its counts, and `index`,
`order` and `expiry`, without which no entry is served.
"""

import secrets
from collections.abc import Mapping
from typing import Literal, cast

import msgspec

from app.stores.cache import (
    COUNTS_KEPT_S,
    MOST_SAMPLES,
    SAMPLES_AT_ONCE,
    SHARE_OF_ONE,
    Kept,
    Maker,
    Overview,
    Owner,
    Place,
    Sample,
    Samples,
    size_of,
)
from app.stores.redis.commands import Commands
from app.stores.redis.consumer import PARTITION_NAMES
from app.stores.redis.link import Argument
from app.stores.redis.scripts import Script, load_script

_PURGED_AT_ONCE = 100
_KEPT, _AGAIN = 1, -1
_KEY_BYTES = 32
_LIFE_BITS = 62
_END = b"0"

_kept = msgspec.msgpack.Decoder(Kept)
_sample = msgspec.msgpack.Decoder(Sample)
_encode = msgspec.msgpack.encode


class RedisCacheStore:
    """Answers shared by every process on the same Redis."""

    def __init__(self, hot: Commands) -> None:
        """Make a store over a connection that belongs to somebody else."""
        self._hot = hot
        self._find = load_script("cache_find")
        self._read = load_script("cache_read")
        self._renew = load_script("lease_renew")
        self._release = load_script("lease_release")
        self._put = load_script("cache_put", after=("cache_forget",))
        self._samples = load_script("cache_samples")
        self._purge = load_script("cache_purge", after=("cache_forget",))
        self._trim = load_script("cache_trim", after=("cache_forget",))

    # -- entries and their makers -------------------------------------------------------------------------------------

    async def find(self, place: Place, *, maker: str | None = None, lease_ms: int = 0) -> Kept | Maker | None:
        """Return the entry, else who is making it: this maker, if nobody else is."""
        prefix, member = _prefix(place.owner), _member(place)
        keys = (f"{prefix}e:{member}", f"{prefix}index", _lease(place))
        reply = await self._hot.script(self._find, keys, (member, place.key, maker or "", lease_ms))
        if reply is None:
            return None
        if isinstance(reply, bytes):
            return _kept.decode(memoryview(reply)[_KEY_BYTES:])
        holder, is_me = cast("list[bytes | int]", reply)
        return Maker(cast("bytes", holder).decode(), is_me == 1)

    async def renew(self, place: Place, *, maker: str, lease_ms: int) -> bool:
        """Extend a maker's lease; false when it is not its any more."""
        return await self._hot.script(self._renew, (_lease(place),), (maker, lease_ms)) == 1

    async def release(self, place: Place, *, maker: str) -> bool:
        """End a maker's lease; false when it was not its."""
        return await self._hot.script(self._release, (_lease(place),), (maker,)) == 1

    async def put(
        self, place: Place, kept: Kept, *, most_bytes: int, maker: str | None = None, sample: Sample | None = None
    ) -> bool:
        """Keep an entry; trims first where many others must make room."""
        prefix, member = _prefix(place.owner), _member(place)
        keys = [*_index(prefix), f"{prefix}e:{member}", _lease(place)]
        value, size_bytes = place.key + _encode(kept), size_of(kept, sample)
        args: list[Argument] = [prefix, member, maker or "", value, size_bytes, most_bytes, SHARE_OF_ONE, kept.ttl_ms]
        if sample is None:
            args += ("", "", "", "", "")
        else:
            keys.append(f"{prefix}s:{place.scope}/{sample.semantic}")
            args += (sample.semantic, secrets.randbits(_LIFE_BITS) + 1, MOST_SAMPLES, sample.expires_ms)
            args.append(_encode(sample))
        args += (kept.model, *kept.tags)
        while (state := await self._hot.script(self._put, keys, args)) == _AGAIN:
            await self._trimmed(place.owner, most_bytes - size_bytes)
        return state == _KEPT

    async def read(self, owner: Owner, *, scope: str, entry_id: str) -> Kept | None:
        """Return one entry of a scope by its id."""
        prefix, member = _prefix(owner), f"{scope}/{entry_id}"
        reply = await self._hot.script(self._read, (f"{prefix}e:{member}", f"{prefix}index"), (member,))
        return None if reply is None else _kept.decode(memoryview(cast("bytes", reply))[_KEY_BYTES:])

    # -- samples ------------------------------------------------------------------------------------------------------

    async def samples(self, owner: Owner, *, scope: str, semantic: str, after: str = "") -> Samples:
        """Return the next samples of a semantic partition."""
        stream = f"{_prefix(owner)}s:{scope}/{semantic}"
        reply = await self._hot.script(self._samples, (stream,), (after, SAMPLES_AT_ONCE))
        is_anew, cursor, has_more, *found = cast("list[bytes]", reply)
        return Samples(tuple(map(_sample.decode, found)), cursor.decode(), bool(is_anew), bool(has_more))

    # -- all of an organisation ---------------------------------------------------------------------------------------

    async def purge(
        self,
        owner: Owner,
        *,
        entry_id: str | None = None,
        model: str | None = None,
        tag: str | None = None,
        scope: str | None = None,
    ) -> int:
        """Remove what matches, in slices of some 100 entries, between which others are served."""
        criteria: list[Argument] = []
        for what, wanted in (("id", entry_id), ("scope", scope), ("model", model), ("tag", tag)):
            if wanted is not None:
                criteria += (what, wanted)
        cursor, removed = _END, 0
        while True:
            args = (cursor, _PURGED_AT_ONCE, *criteria)
            cursor, count = cast("tuple[bytes, int]", await self._all(self._purge, owner, *args))
            removed += count
            if cursor == _END:
                return removed

    async def overview(self, owner: Owner) -> Overview:
        """Return how much an organisation keeps; asks again while hundreds of entries have expired."""
        return await self._trimmed(owner, "")

    async def _trimmed(self, owner: Owner, most_bytes: int | Literal[""]) -> Overview:
        while True:
            entries, size_bytes = cast("list[int]", await self._all(self._trim, owner, most_bytes))
            if entries != _AGAIN:
                return Overview(entries, size_bytes)

    async def _all(self, script: Script, owner: Owner, *args: Argument) -> object:
        prefix = _prefix(owner)
        return await self._hot.script(script, _index(prefix), (prefix, *args))

    def count(self, owner: Owner, counts: Mapping[str, int]) -> None:
        """Add to an organisation's counts, and forget it."""
        key = f"{_prefix(owner)}n"
        for name, number in counts.items():
            self._hot.send("HINCRBY", key, name, number)
        self._hot.send("EXPIRE", key, COUNTS_KEPT_S)

    async def counts(self, owner: Owner) -> dict[str, int]:
        """Return an organisation's counts."""
        found = cast("list[bytes]", await self._hot.call("HGETALL", f"{_prefix(owner)}n"))
        return {name.decode(): int(number) for name, number in zip(found[::2], found[1::2], strict=True)}


def _prefix(owner: Owner) -> str:
    return f"{PARTITION_NAMES[owner.partition]}:cache:{owner.organization}:"


def _index(prefix: str) -> tuple[str, str, str]:
    return f"{prefix}index", f"{prefix}order", f"{prefix}expiry"


def _member(place: Place) -> str:
    return f"{place.scope}/{place.entry_id}"


def _lease(place: Place) -> str:
    return f"{_prefix(place.owner)}m:{place.scope}/{place.key.hex()}"
