"""Where answers are looked up and kept: the store, what is sealed for it, and who is making what.

Law: a store that does not answer costs nothing but the hit. What is kept is sealed and bound to its place.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from app.cache.answers import MAX_BYTES, Answered, Sealer, place_of
from app.cache.question import Question
from app.kernel.clock import Clock
from app.stores.cache import CacheStore, Kept, Maker, Place, Sample
from app.stores.errors import StoreUnavailable

LEASE_MS = 4_000
RENEW_S = 1.0
"""How long whoever makes an answer is waited for without a word, and how often it gives one."""
_LARGE_BYTES = 1 << 15
"""What is larger is sealed and opened in a thread, so that the event loop never stalls."""
_NS_PER_MS, _MS_PER_S = 1_000_000, 1_000
_LOG = logging.getLogger("gateway.cache")

Spawn = Callable[[Coroutine[Any, Any, Any]], None]


class Spot(NamedTuple):
    """A question, and where the answer to it is kept."""

    place: Place
    question: Question


class Found(NamedTuple):
    """A kept answer. `similarity` is absent for the answer to the very same question."""

    answered: Answered
    entry_id: str
    age_s: int
    similarity: float | None = None


class Shelf:
    """The cache of one worker. `maker` names this process to others; empty where no others share the store."""

    def __init__(
        self,
        store: CacheStore,
        *,
        sealer: Sealer,
        clock: Clock,
        spawn: Spawn,
        maker: str,
        most_bytes: int,
    ) -> None:
        self.store = store
        self.sealer = sealer
        self.maker = maker
        self._clock = clock
        self._spawn = spawn
        self._most_bytes = most_bytes
        self._made: set[Place] = set()
        self._is_renewing = False

    async def find(self, spot: Spot, *, max_age_s: int | None, makes: bool) -> Found | Maker | None:
        """Return the answer in a place, or who makes it; with `makes`, that may be this process from now on."""
        maker = self.maker if makes and self.maker else None
        try:
            found = await self.store.find(spot.place, maker=maker, lease_ms=LEASE_MS)
        except StoreUnavailable as error:
            _LOG.debug("the cache is not asked: %s", error)
            return None
        if isinstance(found, Kept):
            opened = await self.open(found, spot.place.scope, spot.place.entry_id)
            return opened if opened is not None and (max_age_s is None or opened.age_s <= max_age_s) else None
        if found is not None and found.is_me:
            self._hold(spot.place)
        return found

    async def open(self, kept: Kept, scope: str, entry_id: str) -> Found | None:
        """Return what a sealed entry holds; nothing if it was not sealed for its place."""
        place = place_of(scope, entry_id)
        sealed = kept.payload
        if len(sealed) > _LARGE_BYTES:
            answered = await asyncio.to_thread(self.sealer.open_answer, sealed, place=place)
        else:
            answered = self.sealer.open_answer(sealed, place=place)
        if answered is None:
            _LOG.warning("a kept answer does not open: it was kept under another master secret, or changed")
            return None
        age_s = max(0, self.now_ms() - kept.created_ms) // _MS_PER_S
        return Found(answered, entry_id, age_s)

    async def put(
        self, spot: Spot, answered: Answered, *, ttl_s: int, tags: dict[str, str], sample: Sample | None
    ) -> bool:
        """Keep an answer and end the making of it; returns whether it is kept: not one that is too long, or odd."""
        place = place_of(spot.place.scope, spot.place.entry_id)
        length = _length_of(answered)
        if length > MAX_BYTES:
            await self.release(spot)
            return False
        try:
            if length > _LARGE_BYTES:
                payload = await asyncio.to_thread(self.sealer.seal_answer, answered, place=place)
            else:
                payload = self.sealer.seal_answer(answered, place=place)
        except OverflowError:
            # A vendor's own words may have numbers of more bits than can be kept.
            await self.release(spot)
            return False
        kept = Kept(
            payload=payload,
            model=answered.model,
            tags=tuple(f"{name}={value}" for name, value in tags.items()),
            created_ms=answered.created_ms,
            ttl_ms=ttl_s * _MS_PER_S,
        )
        maker = self.maker if spot.place in self._made else None
        self._made.discard(spot.place)
        try:
            return await self.store.put(spot.place, kept, maker=maker, sample=sample, most_bytes=self._most_bytes)
        except StoreUnavailable as error:
            _LOG.debug("an answer is not kept: %s", error)
            return False

    def makes(self, spot: Spot) -> bool:
        """Whether others take it that the answer is being made here."""
        return spot.place in self._made

    async def release(self, spot: Spot) -> None:
        """Say that the answer is not made here any more."""
        if spot.place not in self._made:
            return
        self._made.discard(spot.place)
        try:
            await self.store.release(spot.place, maker=self.maker)
        except StoreUnavailable as error:
            _LOG.debug("nobody is told that an answer is not made: %s", error)

    def now_ms(self) -> int:
        """Return the time, in milliseconds since the Unix epoch."""
        return self._clock.now_ns() // _NS_PER_MS

    def _hold(self, place: Place) -> None:
        self._made.add(place)
        if not self._is_renewing:
            self._is_renewing = True
            self._spawn(self._renew())

    async def _renew(self) -> None:
        """Say again what is being made here, while anything is."""
        try:
            while True:
                await asyncio.sleep(RENEW_S)
                if not self._made:
                    return
                for place in tuple(self._made):
                    await self.store.renew(place, maker=self.maker, lease_ms=LEASE_MS)
        except StoreUnavailable as error:
            _LOG.debug("what is being made here is not said again: %s", error)
        finally:
            self._is_renewing = False
            if self._made:
                self._is_renewing = True
                self._spawn(self._renew())


def _length_of(answered: Answered) -> int:
    """Return about how long an answer is, in bytes: without encoding it."""
    body = len(answered.body or b"")
    completion = answered.completion
    if completion is None:
        return body
    parts = (part for choice in completion.choices for part in choice.content)
    return body + sum(len(getattr(part, "text", "")) for part in parts)
