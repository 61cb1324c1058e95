"""Answers to questions that mean the same: near in the embedding, and not told apart by any guard.

Law: nearness proposes, guards dispose. What other workers keep is learnt when it is asked for, so that nothing is
searched but this worker's own memory; an entry that is gone is forgotten.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from app.cache.embedding.embedder import Embedder, NotEmbedded
from app.cache.embedding.vector import Vector
from app.cache.nearest import Item, Near, Partitions
from app.cache.shelf import Found, Shelf, Spawn, Spot
from app.stores.cache import Owner, Sample, Samples
from app.stores.errors import StoreUnavailable

MOST_JUDGED = 8
"""So many candidates are judged at most: what is nearest is either the same or told apart from it."""
_VECTORS_KEPT = 2_000
_TEXTS_KNOWN = 4_000
"""Half as many as the guards remember."""
_CURSORS_KEPT = 5_000
_TURNS = 2
"""How often the store is asked for more before a question is answered: the rest is learnt behind it."""
_OPENED_AT_ONCE = 50
"""So many texts are opened before others have their turn: a fifth of a millisecond."""
_LOG = logging.getLogger("gateway.cache")

Differ = Callable[[str, str], str | None]
"""Returns why the answer to one text may not do for another; nothing if it may."""


class Corner(NamedTuple):
    """A semantic partition: whose, who shares it, and all that its questions have in common."""

    owner: Owner
    scope: str
    semantic: str


class Judged(NamedTuple):
    """A question that is near enough, and what was made of it: `guard` is what tells it from the one that is asked.

    Without a guard, its answer served unless it `is_gone`, or older than was wanted.
    """

    entry_id: str
    similarity: float
    guard: str | None
    is_gone: bool = False


class Semantic:
    """Finds answers to like questions. One for each worker. `read` is what the guards do first with every text."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        embedder: Embedder,
        partitions: Partitions[Corner],
        spawn: Spawn,
        differ: Differ,
        read: Callable[[str], object],
    ) -> None:
        self.embedder = embedder
        self._shelf = shelf
        self._sealer = shelf.sealer
        self._spawn = spawn
        self._partitions = partitions
        self._differ = differ
        self._read = read
        self._known: dict[str, None] = {}
        self._cursors: dict[Corner, str] = {}
        self._learning: set[Corner] = set()
        self._vectors: dict[str, Vector] = {}

    async def find(
        self, spot: Spot, *, threshold: float | None, max_age_s: int | None, judged: list[Judged]
    ) -> Found | None:
        """Return the answer to the nearest question that is the same; nothing where none is.

        `threshold` is the least cosine, the embedder's own if absent. What was thought of each question is added to
        `judged`. Raises nothing: what cannot be asked is a miss.
        """
        text, corner = spot.question.text, self._corner_of(spot)
        if text is None or corner is None:
            return None
        try:
            vector = await self._vector_of(text)
            await self._learn(corner)
            partition = self._partitions.find(corner)
            if partition is None:
                return None
            floor = self.embedder.threshold if threshold is None else threshold
            now_ms = self._shelf.now_ms()
            for near in (await partition.nearest(vector, floor=floor, now_ms=now_ms))[:MOST_JUDGED]:
                guard, found = await self._confirmed(near, text, corner)
                is_gone = guard is None and (found is None or (max_age_s is not None and found.age_s > max_age_s))
                judged.append(Judged(near.item.entry_id, near.similarity, guard, is_gone))
                if found is not None and not is_gone:
                    return found
        except (StoreUnavailable, NotEmbedded) as error:
            _LOG.debug("like questions are not looked for: %s", error)
        return None

    async def sample_of(self, spot: Spot, *, expires_ms: int) -> Sample | None:
        """Return what makes a question findable for like ones; nothing if it has no words to compare."""
        text, corner = spot.question.text, self._corner_of(spot)
        if text is None or corner is None:
            return None
        try:
            vector = await self._vector_of(text)
        except NotEmbedded as error:
            _LOG.debug("a question will not be found for like ones: %s", error)
            return None
        if not vector.norm:
            return None
        entry_id = spot.place.entry_id
        return Sample(
            entry_id=entry_id,
            semantic=corner.semantic,
            code=vector.code.to_bytes((len(vector.packed) + 7) // 8, "big"),
            packed=vector.packed,
            norm=vector.norm,
            text=self._sealer.seal(text.encode(), place=_place_of(corner, entry_id)),
            expires_ms=expires_ms,
        )

    async def _confirmed(self, near: Near, text: str, corner: Corner) -> tuple[str | None, Found | None]:
        """Return the guard that tells two questions apart, or else the answer to the near one if it is still kept."""
        # Each judgement may take a quarter of a millisecond, so others have their turn between two.
        await asyncio.sleep(0)
        item = near.item
        await self._meet(text, item.text)
        guard = self._differ(text, item.text)
        if guard is not None:
            return guard, None
        kept = await self._shelf.store.read(corner.owner, scope=corner.scope, entry_id=item.entry_id)
        if kept is None:
            self._partitions.drop(corner, item.entry_id)
            return None, None
        opened = await self._shelf.open(kept, corner.scope, item.entry_id)
        return None, None if opened is None else opened._replace(similarity=near.similarity)

    async def _meet(self, *texts: str) -> None:
        """Let the guards read texts that they have not met lately, in a thread: a long one takes some milliseconds."""
        for text in texts:
            if text in self._known:
                continue
            await asyncio.to_thread(self._read, text)
            if len(self._known) >= _TEXTS_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[text] = None

    # -- vectors ------------------------------------------------------------------------------------------------------

    async def _vector_of(self, text: str) -> Vector:
        """Return a text's vector; looking up and keeping embed it once."""
        known = self._vectors.get(text)
        if known is not None:
            return known
        vector = await self.embedder.embed(text)
        if len(self._vectors) >= _VECTORS_KEPT:
            del self._vectors[next(iter(self._vectors))]
        self._vectors[text] = vector
        return vector

    def _corner_of(self, spot: Spot) -> Corner | None:
        partition, place = spot.question.partition, spot.place
        if partition is None:
            return None
        # Vectors of two embedders are never compared.
        return Corner(place.owner, place.scope, f"{partition.hex()}:{self.embedder.id}")

    # -- learning -----------------------------------------------------------------------------------------------------

    async def _learn(self, corner: Corner) -> None:
        """Take over what was kept since the last look, by whichever worker."""
        if corner in self._learning:
            return
        self._learning.add(corner)
        try:
            for _ in range(_TURNS):
                if not await self._learn_more(corner):
                    self._learning.discard(corner)
                    return
        except BaseException:
            self._learning.discard(corner)
            raise
        self._spawn(self._learn_the_rest(corner))

    async def _learn_the_rest(self, corner: Corner) -> None:
        try:
            while await self._learn_more(corner):
                pass
        except StoreUnavailable as error:
            _LOG.debug("like questions are learnt later: %s", error)
        finally:
            self._learning.discard(corner)

    async def _learn_more(self, corner: Corner) -> bool:
        """Take over what comes next; returns whether there is more."""
        after = self._cursors.get(corner, "") if self._partitions.find(corner) is not None else ""
        found = await self._shelf.store.samples(corner.owner, scope=corner.scope, semantic=corner.semantic, after=after)
        await self._take(corner, found)
        return found.has_more

    async def _take(self, corner: Corner, found: Samples) -> None:
        if found.is_anew:
            self._partitions.clear(corner)
        for number, sample in enumerate(found.samples):
            if number % _OPENED_AT_ONCE == _OPENED_AT_ONCE - 1:
                await asyncio.sleep(0)
            text = self._sealer.open(sample.text, place=_place_of(corner, sample.entry_id))
            if text is None:
                continue
            vector = Vector(int.from_bytes(sample.code, "big"), sample.packed, sample.norm)
            self._partitions.add(corner, Item(sample.entry_id, vector, text.decode(), sample.expires_ms))
        if len(self._cursors) >= _CURSORS_KEPT:
            self._cursors.clear()
        self._cursors[corner] = found.cursor


def _place_of(corner: Corner, entry_id: str) -> bytes:
    return f"question of {entry_id} in {corner.semantic} of {corner.scope}".encode()
