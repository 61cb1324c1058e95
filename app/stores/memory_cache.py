"""Answers of a single process. Law: nothing outgrows its bound, or outlives its time by more than a sweep."""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Mapping

from app.kernel.clock import Clock
from app.stores.cache import (
    COUNTS_KEPT_S,
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
from app.stores.expiries import Expiries
from app.stores.memory_makers import MemoryMakers
from app.stores.memory_shelf import Entry, Member, Shelf

MOST_OF_ALL = 4
"""How many times what one organisation may keep all of them may keep together."""

_NS_PER_MS = 1_000_000
_MS_PER_S = 1_000
_PURGED_AT_ONCE = 500


class MemoryCacheStore:
    """Answers in this process; they live as long as the process does.

    `most_bytes` of a `put` is taken to be the same for every organisation. When all of them together hold more than
    four times that, the organisation that holds the most gives up what it has not used for the longest time.
    """

    def __init__(self, *, clock: Clock) -> None:
        """Make an empty store."""
        self._clock = clock
        self._shelves: dict[str, Shelf] = {}
        self._size_bytes = 0
        self._sizes = _Sizes(self._shelves)
        self._expiries: Expiries[tuple[str, Member]] = Expiries()
        self._makers = MemoryMakers()
        self._counts: OrderedDict[str, _Counts] = OrderedDict()

    # -- entries and their makers -------------------------------------------------------------------------------------

    async def find(self, place: Place, *, maker: str | None = None, lease_ms: int = 0) -> Kept | Maker | None:
        """Return the entry, else who is making it: this maker, if nobody else is."""
        organization, member, now_ms = place.owner.organization, (place.scope, place.entry_id), self._now_ms()
        entry = self._entry(organization, member, now_ms)
        if entry is not None and entry.key == place.key:
            self._shelves[organization].use(member)
            return entry.kept
        return self._makers.find(place, maker=maker, lease_ms=lease_ms, now_ms=now_ms)

    async def renew(self, place: Place, *, maker: str, lease_ms: int) -> bool:
        """Extend a maker's lease; false when it is not its any more."""
        return self._makers.renew(place, maker=maker, lease_ms=lease_ms, now_ms=self._now_ms())

    async def release(self, place: Place, *, maker: str) -> bool:
        """End a maker's lease; false when it was not its."""
        return self._makers.release(place, maker=maker, now_ms=self._now_ms())

    async def put(
        self, place: Place, kept: Kept, *, most_bytes: int, maker: str | None = None, sample: Sample | None = None
    ) -> bool:
        """Keep an entry, making room in its organisation first, then in all of the store."""
        organization, member, now_ms = place.owner.organization, (place.scope, place.entry_id), self._now_ms()
        if maker is not None:
            self._makers.release(place, maker=maker, now_ms=now_ms)
        size_bytes = size_of(kept, sample)
        if size_bytes * SHARE_OF_ONE > most_bytes or kept.ttl_ms < 1:
            return False
        self._forget(organization, member)
        self._make_room(organization, size_bytes, most_bytes=most_bytes)
        entry = Entry(place.key, kept, size_bytes=size_bytes, expires_ms=now_ms + kept.ttl_ms)
        shelf = self._shelves.setdefault(organization, Shelf())
        shelf.add(member, entry, sample=sample)
        self._size_bytes += size_bytes
        self._sizes.grown(organization, shelf.size_bytes)
        self._expiries.add((organization, member), at_ms=entry.expires_ms)
        return True

    def _make_room(self, organization: str, size_bytes: int, *, most_bytes: int) -> None:
        """Remove what has expired, if anything must go, then the organisation's oldest, then what is used least."""
        most_of_all = most_bytes * MOST_OF_ALL
        if self._held(organization) + size_bytes > most_bytes or self._size_bytes + size_bytes > most_of_all:
            self._forget_expired(self._now_ms())
        while self._held(organization) + size_bytes > most_bytes:
            self._forget(organization, self._shelves[organization].oldest)
        while self._size_bytes + size_bytes > most_of_all:
            # Whoever holds the most holds more than his share of what is full.
            largest = self._sizes.largest()
            self._forget(largest, self._shelves[largest].least_used)

    async def read(self, owner: Owner, *, scope: str, entry_id: str) -> Kept | None:
        """Return one entry of a scope by its id."""
        entry = self._entry(owner.organization, (scope, entry_id), self._now_ms())
        if entry is None:
            return None
        self._shelves[owner.organization].use((scope, entry_id))
        return entry.kept

    async def samples(self, owner: Owner, *, scope: str, semantic: str, after: str = "") -> Samples:
        """Return the next samples of a semantic partition."""
        shelf = self._shelves.get(owner.organization)
        if shelf is None:
            return Samples((), "", is_anew=bool(after))
        return shelf.samples(scope, semantic, after=after, now_ms=self._clock.now_ns() // _NS_PER_MS)

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
        """Remove what matches, letting others run after every 500 entries."""
        organization, removed = owner.organization, 0
        shelf = self._shelves.get(organization)
        for number, member in enumerate(list(shelf.entries) if shelf is not None else (), 1):
            entry = self._entry(organization, member, self._now_ms())
            if entry is not None and (
                entry_id in (None, member[1])
                and scope in (None, member[0])
                and model in (None, entry.kept.model)
                and (tag is None or tag in entry.kept.tags)
            ):
                self._forget(organization, member)
                removed += 1
            if number % _PURGED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return removed

    async def overview(self, owner: Owner) -> Overview:
        """Return how much an organisation keeps."""
        self._forget_expired(self._now_ms())
        shelf = self._shelves.get(owner.organization)
        return Overview(0, 0) if shelf is None else Overview(len(shelf.entries), shelf.size_bytes)

    def count(self, owner: Owner, counts: Mapping[str, int]) -> None:
        """Add to an organisation's counts."""
        its = self._counts.get(owner.organization)
        if its is None:
            its = self._counts[owner.organization] = _Counts()
        self._counts.move_to_end(owner.organization)
        its.last_ms = self._now_ms()
        for name, number in counts.items():
            its.numbers[name] = its.numbers.get(name, 0) + number

    async def counts(self, owner: Owner) -> dict[str, int]:
        """Return an organisation's counts."""
        its = self._counts.get(owner.organization)
        return dict(its.numbers) if its is not None and its.last_ms > self._now_ms() - COUNTS_KEPT_S * _MS_PER_S else {}

    def sweep(self) -> None:
        """Forget what has expired: entries with their samples, leases, counts."""
        now_ms = self._now_ms()
        self._forget_expired(now_ms)
        self._makers.sweep(now_ms)
        while self._counts:
            organization, its = next(iter(self._counts.items()))
            if its.last_ms > now_ms - COUNTS_KEPT_S * _MS_PER_S:
                break
            del self._counts[organization]

    # -- what all of these do -----------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return self._clock.monotonic_ns() // _NS_PER_MS

    def _held(self, organization: str) -> int:
        shelf = self._shelves.get(organization)
        return 0 if shelf is None else shelf.size_bytes

    def _entry(self, organization: str, member: Member, now_ms: int) -> Entry | None:
        """Return an entry that has not expired; one that has is gone."""
        shelf = self._shelves.get(organization)
        entry = None if shelf is None else shelf.entries.get(member)
        if entry is not None and entry.expires_ms <= now_ms:
            self._forget(organization, member)
            return None
        return entry

    def _forget(self, organization: str, member: Member) -> None:
        """Drop an entry, if it is there, and its organisation's shelf, if it is the last one."""
        shelf = self._shelves.get(organization)
        if shelf is None or member not in shelf.entries:
            return
        entry = shelf.remove(member)
        self._size_bytes -= entry.size_bytes
        self._expiries.discard((organization, member), at_ms=entry.expires_ms)
        if not shelf.entries:
            del self._shelves[organization]

    def _forget_expired(self, now_ms: int) -> None:
        for organization, member in self._expiries.take_due(now_ms):
            self._forget(organization, member)


class _Counts:
    """What was counted for one organisation, and when last."""

    __slots__ = ("last_ms", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.last_ms = 0


class _Sizes:
    """Finds the organisation that holds the most.

    A heap has, of each organisation, every size to which it has grown since it was last looked at; one that has shrunk
    is found out when it comes to the top.
    """

    def __init__(self, shelves: Mapping[str, Shelf]) -> None:
        """Make it over the shelves, which belong to somebody else."""
        self._shelves = shelves
        self._heap: list[tuple[int, str]] = []

    def grown(self, organization: str, size_bytes: int) -> None:
        """Note the new size of an organisation that holds more than before."""
        heapq.heappush(self._heap, (-size_bytes, organization))
        if len(self._heap) > 2 * len(self._shelves) + 64:
            self._heap = [(-shelf.size_bytes, name) for name, shelf in self._shelves.items()]
            heapq.heapify(self._heap)

    def largest(self) -> str:
        """Return who holds the most; somebody must hold something."""
        while True:
            negative, organization = self._heap[0]
            shelf = self._shelves.get(organization)
            if shelf is None:
                heapq.heappop(self._heap)
            elif shelf.size_bytes != -negative:
                heapq.heapreplace(self._heap, (-shelf.size_bytes, organization))
            else:
                return organization
