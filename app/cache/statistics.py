"""What the cache has done for each organisation, counted in the store. Law: counts are hints; a few may be lost."""

import asyncio
from collections import defaultdict

from app.cache.shelf import Spawn
from app.stores.cache import CacheStore, Owner

_FLUSH_S = 1.0


class Statistics:
    """Counts of one worker on their way to the store: added up here, and handed over once a second."""

    def __init__(self, store: CacheStore, *, spawn: Spawn) -> None:
        self._store = store
        self._spawn = spawn
        self._waiting: defaultdict[Owner, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, owner: Owner, name: str) -> None:
        """Count one."""
        if not self._waiting:
            self._spawn(self._flush_soon())
        self._waiting[owner][name] += 1

    def flush(self) -> None:
        """Hand over what has been counted."""
        waiting = dict(self._waiting)
        self._waiting.clear()
        for owner, counts in waiting.items():
            self._store.count(owner, counts)

    async def _flush_soon(self) -> None:
        try:
            await asyncio.sleep(_FLUSH_S)
        finally:
            self.flush()
