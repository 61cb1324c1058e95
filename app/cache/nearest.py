"""Which kept texts are nearly the asked one. Law: the event loop is never held for more than 1 ms at a time.

Codes of d bits of two texts at an angle θ differ in about d·θ/π bits (Goemans and Williamson 1995). The codes within a
bound of the asked one's, which leaves a true neighbour out less than once in a thousand times, are the candidates; the
nearest of them are compared by cosine.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from heapq import nsmallest
from math import acos, pi, sqrt
from operator import itemgetter
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from app.cache.embedding.vector import Vector, cosine

MOST_ITEMS: Final = 10_000
MOST_ITEMS_IN_ALL: Final = 20_000
"""At 0.7 KB each and the text."""
SLICE: Final = 500
"""Codes that are compared before others have their turn: 0.05 ms, or 0.4 ms where all are candidates."""
DEVIATIONS: Final = 4.0
"""How many standard deviations of independent bits the bound leaves.

A normal curve's thousandth is at 3.1; the rest is for embedders whose bits are less independent than the table's.
"""

K = TypeVar("K", bound=Hashable)


class Item(msgspec.Struct, frozen=True, gc=False):
    """A kept text: the entry that answers it, and until when that is good (epoch milliseconds)."""

    entry_id: str
    vector: Vector
    text: str
    expires_at_ms: int


class Near(NamedTuple):
    """An item and its cosine to what was asked."""

    similarity: float
    item: Item


def hamming_bound(floor: float, *, bits: int) -> int:
    """Return in how many bits the codes of texts may differ whose cosine is `floor` or more."""
    share = acos(max(-1.0, min(1.0, floor))) / pi
    return min(bits, round(bits * share + DEVIATIONS * sqrt(bits * share * (1 - share)) + 1))


class Partition:
    """The texts that differ in nothing but themselves, up to `most`; the oldest is dropped first.

    Codes and items stand at the same places of two lists without gaps: the last one moves to where one was dropped.
    """

    __slots__ = ("_codes", "_items", "_most", "_places")

    def __init__(self, *, most: int = MOST_ITEMS) -> None:
        self._most = most
        self._codes: list[int] = []
        self._items: list[Item] = []
        self._places: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._places

    def add(self, item: Item) -> None:
        """Keep an item as the newest, in place of an earlier one of its entry."""
        self.drop(item.entry_id)
        if len(self._items) >= self._most:
            self.drop_oldest()
        self._places[item.entry_id] = len(self._items)
        self._codes.append(item.vector.code)
        self._items.append(item)

    def drop(self, entry_id: str) -> bool:
        """Drop an entry's item; return whether there was one."""
        place = self._places.pop(entry_id, None)
        if place is None:
            return False
        code, last = self._codes.pop(), self._items.pop()
        if place < len(self._items):
            self._codes[place], self._items[place] = code, last
            self._places[last.entry_id] = place
        return True

    def drop_oldest(self) -> None:
        """Drop the item that was added first; there must be one."""
        self.drop(next(iter(self._places)))

    async def nearest(self, vector: Vector, *, floor: float, at_most: int = 32, now_ms: int) -> list[Near]:
        """Return the unexpired items whose cosine is `floor` or more, the nearest first.

        They are sought among the `at_most` whose codes differ least. What is added meanwhile may be missing; what is
        dropped meanwhile is not among them.
        """
        bound = hamming_bound(floor, bits=len(vector.packed))
        found = await self._candidates(vector.code, bound=bound, at_most=at_most, now_ms=now_ms)
        near = [
            Near(similarity, item)
            for item in found
            if self._is_kept(item) and (similarity := cosine(vector, item.vector)) >= floor
        ]
        near.sort(key=itemgetter(0), reverse=True)
        return near

    def _is_kept(self, item: Item) -> bool:
        place = self._places.get(item.entry_id)
        return place is not None and self._items[place] is item

    async def _candidates(self, code: int, *, bound: int, at_most: int, now_ms: int) -> list[Item]:
        """Return the items of the nearest codes.

        From the last place to the first: an item moves only to an earlier place, so none is missed that is there
        throughout, and one that moved may be met twice.
        """
        best: dict[str, tuple[int, Item]] = {}
        end = len(self._codes)
        while end > 0:
            begin = max(0, end - SLICE)
            distances = list(map(int.bit_count, map(code.__xor__, self._codes[begin:end])))
            if min(distances) <= bound:
                for place, distance in enumerate(distances, begin):
                    if distance <= bound and (item := self._items[place]).expires_at_ms > now_ms:
                        best[item.entry_id] = distance, item
                if len(best) > at_most:
                    nearest = nsmallest(at_most, best.values(), key=itemgetter(0))
                    best = {each[1].entry_id: each for each in nearest}
                    bound = nearest[-1][0]
            if begin:
                await asyncio.sleep(0)
            end = min(begin, len(self._codes))
        return [item for _, item in best.values()]


class Partitions(Generic[K]):
    """All partitions of a process, up to `most` items together; those used longest ago give way, oldest item first."""

    __slots__ = ("_count", "_most", "_most_each", "_partitions")

    def __init__(self, *, most: int = MOST_ITEMS_IN_ALL, most_each: int = MOST_ITEMS) -> None:
        self._most = most
        self._most_each = most_each
        self._count = 0
        self._partitions: OrderedDict[K, Partition] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def find(self, key: K) -> Partition | None:
        """Return a partition, which counts as its use, or None if nothing is kept in it."""
        found = self._partitions.get(key)
        if found is not None:
            self._partitions.move_to_end(key)
        return found

    def add(self, key: K, item: Item) -> None:
        """Keep an item, which counts as a use of its partition."""
        partition = self.find(key)
        if partition is None:
            partition = self._partitions[key] = Partition(most=self._most_each)
        before = len(partition)
        partition.add(item)
        self._count += len(partition) - before
        while self._count > self._most:
            self._drop_one()

    def drop(self, key: K, entry_id: str) -> bool:
        """Drop an entry's item; return whether there was one."""
        partition = self._partitions.get(key)
        if partition is None or not partition.drop(entry_id):
            return False
        self._count -= 1
        if not partition:
            del self._partitions[key]
        return True

    def clear(self, key: K) -> None:
        """Drop a partition."""
        partition = self._partitions.pop(key, None)
        if partition is not None:
            self._count -= len(partition)

    def _drop_one(self) -> None:
        key, partition = next(iter(self._partitions.items()))
        partition.drop_oldest()
        self._count -= 1
        if not partition:
            del self._partitions[key]
