"""What `llm-gateway explain` sees of the cache: as much as another process can. Law: it asks no provider."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from app.cache.embedding import Embedder, StaticEmbedder
from app.cache.embedding.onnx import ExtraMissing, OnnxEmbedder
from app.cache.guards import Evidence, differ, features_of
from app.cache.likes import Likes
from app.cache.nearest import Partitions
from app.cache.semantic import Semantic
from app.cache.shelf import Shelf
from app.cache.statistics import Statistics
from app.gateway.caching import Wishes, sealer_of
from app.gateway.calibration import ONNX, STATIC
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import Clock
from app.pipeline.exchange import Exchange
from app.pipeline.foresight import Blind, Foresight, Sight
from app.settings import Settings
from app.stores.cache import CacheStore
from app.stores.errors import StoreUnavailable
from app.stores.opening import open_cache

_LEARN_S = 10.0
_MIB = 1 << 20


@asynccontextmanager
async def open_store(
    settings: Settings, shared: CacheStore | None, *, clock: Clock
) -> AsyncIterator[CacheStore | None]:
    """Give the store of answers: that of `cache.url`, else the one that all processes share; none if none answers."""
    if settings.cache.url is None:
        yield shared
        return
    stores = open_cache(settings.cache.url.reveal(), clock=clock)
    try:
        try:
            await stores.start()
        except StoreUnavailable:
            yield None
            return
        yield stores.cache
    finally:
        await stores.aclose()


class CacheSight:
    """Looks into the cache of a running gateway, as one of its workers would."""

    def __init__(self, settings: Settings, store: CacheStore, *, clock: Clock) -> None:
        self._tasks = TaskSupervisor()
        self._settings = settings
        self._shelf = Shelf(
            store,
            sealer=sealer_of(settings),
            clock=clock,
            spawn=self._tasks.spawn,
            maker="",
            most_bytes=settings.cache.max_mb * _MIB,
        )
        self._embedder = _embedder(settings.cache.embedder)
        self._semantic: Semantic | None = None
        self._likes = Likes(
            self._shelf,
            semantic=self._made,
            judge=_nobody_judges,
            statistics=Statistics(store, spawn=self._tasks.spawn),
            compared=_count_nothing,
            clock=clock,
            spawn=self._tasks.spawn,
            draw=random.random,
        )
        self._likes.target = settings.cache.target_false_hits

    async def foresight(self, exchange: Exchange) -> Foresight:
        """Return what foresees, once all has been learnt that a worker has learnt before it is asked this."""
        foresight = Foresight(
            Wishes(self._settings), sight=Sight(self._shelf, None if self._embedder is None else self._likes)
        )
        await foresight(exchange)
        await self._tasks.drain(patience_s=_LEARN_S)
        return foresight

    async def aclose(self) -> None:
        """End what still runs."""
        await self._tasks.drain(patience_s=0)
        if isinstance(self._embedder, OnnxEmbedder):
            self._embedder.close()

    async def _made(self) -> Semantic:
        if self._embedder is None:
            raise TypeError("like questions are not looked for without an embedder")
        if self._semantic is None:
            self._semantic = Semantic(
                self._shelf,
                embedder=self._embedder,
                partitions=Partitions(),
                spawn=self._tasks.spawn,
                differ=partial(differ, evidence=Evidence(StaticEmbedder())),
                read=features_of,
            )
        return self._semantic


def blind(settings: Settings, reason: Blind) -> Foresight:
    """Return what foresees without a look."""
    return Foresight(Wishes(settings), sight=reason)


def _embedder(name: str) -> Embedder | None:
    """Return what compares questions; nothing for a provider's model, and for what is not installed here."""
    if name == STATIC:
        return StaticEmbedder()
    try:
        return OnnxEmbedder() if name == ONNX else None
    except ExtraMissing:
        return None


async def _nobody_judges() -> Embedder:
    raise TypeError("a dry run compares no answers")


def _count_nothing(_agrees: bool) -> None:  # noqa: FBT001 - the one thing that is told
    """Do nothing: a dry run compares no answers."""
