"""What a cache asks of a store of answers. Law: these docstrings are its contract, and payloads are opaque to it.

Everything of one organisation is in one partition, and nothing that a call tells or touches depends on what another
organisation keeps. A store may lose anything at any time (a Redis that evicts, a restart, a wipe): what is left is
then still true, and what was purged does not come back.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

MOST_SAMPLES = 10_000
"""How many samples a semantic partition keeps; the oldest make room."""

SAMPLES_AT_ONCE = 250
"""How many samples one answer brings at most."""

SHARE_OF_ONE = 4
"""An entry that is larger than this part of what an organisation may keep is refused."""

COUNTS_KEPT_S = 90 * 86_400
"""How long counts outlive the last of them."""

_ENTRY_BYTES = 1_024
"""What an entry costs beside what it holds, in either store: measured at 0.8 to 0.9 KB, and 0.1 KB for a sample."""

_KEY_BYTES = 32
_ID_BYTES = 16


class Owner(msgspec.Struct, frozen=True, gc=False):
    """The organisation whose entries they are, in hexadecimal, and the partition (0..63) that it always falls into."""

    partition: int
    organization: str


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where one answer is kept: `scope` is who shares it (`organization:<hex>`), `key` 32 bytes that say what it is."""

    owner: Owner
    scope: str
    key: bytes

    @property
    def entry_id(self) -> str:
        """The entry's public id, 32 hexadecimal digits: half of the key."""
        return self.key[:_ID_BYTES].hex()


class Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An answer, sealed by the caller, with what it can be purged by; it lives `ttl_ms` from when it is put.

    `tags` are texts such as `team=blue`.
    """

    payload: bytes
    model: str
    tags: tuple[str, ...]
    created_ms: int
    ttl_ms: int


class Sample(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a kept answer's question is like; `semantic` names its exact partition, `text` is sealed by the caller.

    `expires_ms` is the wall time since the Unix epoch after which the store does not give it out.
    """

    entry_id: str
    semantic: str
    code: bytes
    packed: bytes
    norm: float
    text: bytes
    expires_ms: int


class Samples(msgspec.Struct, frozen=True, gc=False):
    """Samples in the order in which they were put, and the cursor to go on from.

    `is_anew`: the cursor that was given is of samples that are gone, so what was read up to it is to be forgotten, and
    these are the first that there are. `has_more`: asking again at once brings more.
    """

    samples: tuple[Sample, ...]
    cursor: str
    is_anew: bool = False
    has_more: bool = False


class Maker(msgspec.Struct, frozen=True, gc=False):
    """Who is making an answer that is not there yet."""

    id: str
    is_me: bool


class Overview(msgspec.Struct, frozen=True, gc=False):
    """How much an organisation keeps."""

    entries: int
    size_bytes: int


class CacheStore(Protocol):
    """Answers, who is making them, and samples of their questions.

    Every method that is awaited is one round trip (`purge`, and what must first remove more than 64 entries, are
    several) and raises `StoreUnavailable`; it may have acted then, and doing it again does no harm.
    """

    async def find(self, place: Place, *, maker: str | None = None, lease_ms: int = 0) -> Kept | Maker | None:
        """Return the entry that has not expired, else who is making it, if anybody is.

        With a `maker`, which becomes it for `lease_ms` in the same step if nobody else is; `None` is then the answer
        of a store that takes no more makers.
        """
        ...

    async def renew(self, place: Place, *, maker: str, lease_ms: int) -> bool:
        """Extend a maker's lease to `lease_ms` from now; false when it has expired or another has it."""
        ...

    async def release(self, place: Place, *, maker: str) -> bool:
        """End a maker's lease; false when it did not have it."""
        ...

    async def put(
        self, place: Place, kept: Kept, *, most_bytes: int, maker: str | None = None, sample: Sample | None = None
    ) -> bool:
        """Keep an entry in the place of whatever was there, with its sample, and end the maker's lease.

        The organisation's oldest entries make room, so that it never holds more than `most_bytes`. False when the entry
        is larger than a quarter of that, or has no time to live: then what was there stays.
        """
        ...

    async def samples(self, owner: Owner, *, scope: str, semantic: str, after: str = "") -> Samples:
        """Return up to 250 samples of a semantic partition, those put since the cursor `after`, or the first ones.

        At most 10,000 are kept, and none longer than its entry, as far as the store knows of that: whoever finds a
        sample reads its entry.
        """
        ...

    async def read(self, owner: Owner, *, scope: str, entry_id: str) -> Kept | None:
        """Return one entry of a scope by its public id, if it has not expired."""
        ...

    async def purge(
        self,
        owner: Owner,
        *,
        entry_id: str | None = None,
        model: str | None = None,
        tag: str | None = None,
        scope: str | None = None,
    ) -> int:
        """Remove the entries that match all that is given, or all of the organisation, with their samples.

        Returns how many were still there. What is put meanwhile may stay.
        """
        ...

    def count(self, owner: Owner, counts: Mapping[str, int]) -> None:
        """Add to an organisation's counts, and forget it: what the store does not hear now is not counted."""
        ...

    async def counts(self, owner: Owner) -> dict[str, int]:
        """Return an organisation's counts; they are kept for 90 days after the last one."""
        ...

    async def overview(self, owner: Owner) -> Overview:
        """Return how many entries an organisation keeps, and how large they are, in all its scopes.

        What a Redis evicted on its own is counted until it would have expired.
        """
        ...


class CacheStores(Protocol):
    """The store of answers of one process, opened from a URL of its own and belonging to one event loop."""

    @property
    def cache(self) -> CacheStore:
        """The answers."""
        ...

    async def start(self) -> None:
        """Connect. Raises `StoreUnavailable` when the store does not answer; it goes on trying all the same."""
        ...

    async def aclose(self) -> None:
        """Let go of every connection; whoever still waits gets `StoreUnavailable`."""
        ...

    async def ping(self) -> bool:
        """Return, within 250 ms, whether the store answers."""
        ...

    def sweep(self) -> None:
        """Let go of what has expired; to be called now and then."""
        ...


def size_of(kept: Kept, sample: Sample | None) -> int:
    """Return what an entry counts for, in bytes, whatever the store."""
    texts = len(kept.model.encode()) + sum(len(tag.encode()) for tag in kept.tags)
    size = _ENTRY_BYTES + _KEY_BYTES + len(kept.payload) + texts
    return size if sample is None else size + len(sample.code) + len(sample.packed) + len(sample.text)
