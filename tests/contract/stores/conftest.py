"""The same stores four times: in memory, on a real Redis, on one that a sentinel names, and on a cluster of three."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from app.kernel.clock import ManualClock
from app.stores.opening import open_stores
from app.stores.protocols import Claimed, Stores, UsageQueue
from app.stores.redis import cluster, connection, consumer, sentinel, signals

REDELIVERED_AFTER_MS = 400
_PATIENCE_S = 10.0


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


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time: how long a store may take is not what is tested here."""
    for module, name in (
        (connection, "_ATTEMPT_TIMEOUT_S"),
        (consumer, "TIMEOUT_S"),
        (sentinel, "_TIMEOUT_S"),
        (signals, "_CONNECT_TIMEOUT_S"),
    ):
        monkeypatch.setattr(module, name, _PATIENCE_S)
    for kind in (connection.HotConnection, cluster.ClusterConnection):
        defaults = kind.__init__.__kwdefaults__
        assert "timeout_s" in defaults
        monkeypatch.setattr(kind.__init__, "__kwdefaults__", {**defaults, "timeout_s": _PATIENCE_S})


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
    pair = [open_stores(url, redelivered_after_ms=REDELIVERED_AFTER_MS) for _ in range(2)]
    for stores in pair:
        await stores.start()
    yield Installation(*pair, asyncio.sleep, request.getfixturevalue(SERVERS[request.param]).flush)
    for stores in pair:
        await stores.aclose()


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
