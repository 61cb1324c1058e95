"""The same stores four times: in memory, on a real Redis, on one that a sentinel names, and on a cluster of three."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from app.kernel.clock import ManualClock
from app.stores.errors import StoreUnavailable
from app.stores.opening import open_stores
from app.stores.protocols import Claimed, Stores, UsageQueue

REDELIVERED_AFTER_MS = 400
_ATTEMPTS = 10


@dataclass
class Installation:
    """Stores as two processes see them (the same object in memory), and the way to let time pass for them.

    `flush` empties the server behind the stores' backs; memory has none.
    """

    stores: Stores
    peer: Stores
    pass_s: Callable[[float], Awaitable[None]]
    flush: Callable[[], None] | None = None


SERVERS = {"redis": "redis_server", "sentinel": "redis_sentinel", "cluster": "redis_cluster"}
"""The fixture that starts each kind of server."""
URLS = {"redis": "redis_url", "sentinel": "redis_sentinel_url", "cluster": "redis_cluster_url"}
"""The fixture that empties each, and knows its URL."""


@pytest.fixture(params=["memory", *URLS])
async def installation(request: pytest.FixtureRequest) -> AsyncIterator[Installation]:
    if request.param == "memory":
        clock = ManualClock()

        async def pass_s(seconds: float) -> None:
            clock.advance(seconds)

        stores = open_stores("memory://", clock=clock, redelivered_after_ms=REDELIVERED_AFTER_MS)
        await stores.start()
        yield Installation(stores, stores, pass_s)
        await stores.aclose()
        return
    url = request.getfixturevalue(URLS[request.param])
    pair = [await _started(url) for _ in range(2)]
    yield Installation(*pair, asyncio.sleep, request.getfixturevalue(SERVERS[request.param]).flush)
    for stores in pair:
        await stores.aclose()


async def _started(url: str) -> Stores:
    """Return stores that are connected, however long the machine takes for it: the second that an attempt has is not
    what is tested here."""
    for _ in range(_ATTEMPTS):
        stores = open_stores(url, redelivered_after_ms=REDELIVERED_AFTER_MS)
        try:
            await stores.start()
        except StoreUnavailable as error:
            await stores.aclose()
            trouble = error
        else:
            return stores
    raise trouble


@pytest.fixture
def stores(installation: Installation) -> Stores:
    return installation.stores


@pytest.fixture
def claim_all() -> Callable[[UsageQueue], Awaitable[list[Claimed]]]:
    """Claim until nothing comes."""

    async def claim(queue: UsageQueue) -> list[Claimed]:
        claimed: list[Claimed] = []
        while batch := await queue.claim(limit=500, wait_s=0):
            claimed += batch
        return claimed

    return claim
