"""Like questions, for the layer above: whether one may be answered with another's answer, and how that is checked.

Law: what is compared in the shadow costs no client anything; what is concluded from it only ever makes hits rarer.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from app.cache.answers import Answered
from app.cache.embedding.embedder import Embedder
from app.cache.semantic import Judged, Semantic
from app.cache.shadow import agree, count_of, report_of, text_of, threshold_for
from app.cache.shelf import Found, Shelf, Spawn, Spot
from app.cache.statistics import Statistics
from app.cache.wishes import Wish
from app.kernel.clock import Clock
from app.stores.cache import Owner, Sample
from app.stores.errors import StoreUnavailable

SHORTEST_GAP, LONGEST_GAP = 26, 74
"""After so many semantic hits the next is a sample: not given, but compared with the answer that is made instead.

On average that is one in fifty. Gaps are drawn, so that no rhythm of questions escapes; the shortest is long enough for
whoever tries hits out by hand.
"""
_REREAD_NS = 60_000_000_000
_KEPT = 10_000
_MS_PER_S = 1_000
_LOG = logging.getLogger("gateway.cache")


class Like(NamedTuple):
    """An answer to a like question, and whether it is to be given, or to be compared with the one that is made."""

    found: Found
    serves: bool


class Look:
    """A look for like questions: the least similarity that is enough, and what was thought of each that is near."""

    __slots__ = ("judged", "threshold")

    def __init__(self) -> None:
        self.threshold: float | None = None
        self.judged: list[Judged] = []


class Likes:
    """Finds, samples and compares. One for each worker.

    `semantic` is made when it is first needed; `target` is the share of wrong hits that thresholds are raised to keep;
    `draw` returns uniform numbers over [0, 1).
    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        semantic: Callable[[], Awaitable[Semantic]],
        judge: Callable[[], Awaitable[Embedder]],
        statistics: Statistics,
        compared: Callable[[bool], None],
        clock: Clock,
        spawn: Spawn,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Make it; `judge` embeds answers that are compared, and `compared` is told whether they agreed."""
        self.target: float | None = None
        self._shelf = shelf
        self._semantic = semantic
        self._judge = judge
        self._statistics = statistics
        self._compared = compared
        self._clock = clock
        self._spawn = spawn
        self._draw = draw
        self._until_sampled = 0
        self._thresholds: dict[Owner, tuple[int, float]] = {}

    async def find(self, spot: Spot, wish: Wish, *, look: Look) -> Like | None:
        """Return the answer to a like question, if there is one near enough that no guard tells apart."""
        found = await self.foresee(spot, wish, look=look)
        if found is None:
            return None
        return Like(found, serves=wish.semantic == "on" and not self._is_sampled())

    def _is_sampled(self) -> bool:
        """Whether the hit that is about to be given is to be compared instead."""
        if not self._until_sampled:
            self._until_sampled = SHORTEST_GAP + int(self._draw() * (LONGEST_GAP - SHORTEST_GAP + 1))
        self._until_sampled -= 1
        return not self._until_sampled

    async def foresee(self, spot: Spot, wish: Wish, *, look: Look) -> Found | None:
        """Return what `find` would go by. Nothing is sampled or counted."""
        if wish.semantic == "off" or spot.question.text is None:
            return None
        semantic = await self._semantic()
        look.threshold = self._threshold(spot, wish, semantic)
        return await semantic.find(spot, threshold=look.threshold, max_age_s=wish.max_age_s, judged=look.judged)

    async def sample_of(self, spot: Spot, wish: Wish) -> Sample | None:
        """Return what makes a question findable for like ones; nothing where nobody would look for it."""
        if wish.semantic == "off" or spot.question.text is None:
            return None
        semantic = await self._semantic()
        return await semantic.sample_of(spot, expires_ms=self._shelf.now_ms() + wish.ttl_s * _MS_PER_S)

    async def compare(self, spot: Spot, like: Found, answered: Answered) -> None:
        """Count whether the answer to a like question would have been right."""
        if like.answered.completion is None or answered.completion is None or like.similarity is None:
            return
        one, other = text_of(like.answered.completion), text_of(answered.completion)
        judge = await self._judge()
        agrees = agree(one, other, vectors=(await judge.embed(one), await judge.embed(other)))
        self._statistics.add(spot.place.owner, count_of(like.similarity, agrees=agrees))
        self._compared(agrees)

    # -- thresholds ---------------------------------------------------------------------------------------------------

    def _threshold(self, spot: Spot, wish: Wish, semantic: Semantic) -> float:
        """Return the least similarity that is enough for a request."""
        least = wish.threshold if wish.threshold is not None else semantic.embedder.threshold
        return max(least, wish.least_similarity or 0.0, self._followed(spot.place.owner, least))

    def _followed(self, owner: Owner, least: float) -> float:
        """Return the threshold that keeps an organisation's share of wrong hits, as it was known a moment ago."""
        if self.target is None:
            return least
        now_ns = self._clock.monotonic_ns()
        known = self._thresholds.get(owner)
        threshold = least if known is None else known[1]
        if known is None or now_ns - known[0] > _REREAD_NS:
            if len(self._thresholds) >= _KEPT:
                self._thresholds.clear()
            self._thresholds[owner] = (now_ns, threshold)
            self._spawn(self._reread(owner, least, self.target))
        return max(least, threshold)

    async def _reread(self, owner: Owner, least: float, target: float) -> None:
        try:
            counts = await self._shelf.store.counts(owner)
        except StoreUnavailable as error:
            _LOG.debug("a threshold stays where it is: %s", error)
            return
        threshold = threshold_for(report_of(counts), least=least, target=target)
        self._thresholds[owner] = (self._clock.monotonic_ns(), threshold)
