import asyncio
from collections.abc import Iterator

import pytest
from servers.redis_sentinel import RedisSentinel

from app.stores.errors import StoreUnavailable
from app.stores.opening import open_stores
from app.stores.protocols import UsageEntry


@pytest.fixture
def sentinel() -> Iterator[RedisSentinel]:
    started = RedisSentinel.launch()
    yield started
    started.close()


async def test_the_master_is_found_and_after_a_failover_the_new_one(sentinel):
    replica = await asyncio.to_thread(sentinel.add_replica)
    # The first sentinel is not there.
    stores = open_stores(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main/0")
    await stores.start()
    await stores.usage.put([UsageEntry(0, "before", b"x")])
    assert sentinel.execute("XLEN", "{p00}:usage") == 1
    gaps = []
    stores.signals.subscribe("t", lambda _: None, on_gap=lambda: gaps.append(1))

    failing_over = asyncio.create_task(asyncio.to_thread(sentinel.fail_over, replica))
    async with asyncio.timeout(60):
        await failing_over
        while True:
            try:
                await stores.usage.put([UsageEntry(0, "after", b"x")])
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        while replica.execute("XLEN", "{p00}:usage") < 2:  # noqa: ASYNC110 - each look asks a server
            await asyncio.sleep(0.05)
        while len(gaps) < 2 or not stores.signals.connected:  # noqa: ASYNC110 - what is awaited is what the test looks at
            await asyncio.sleep(0.05)
    await stores.aclose()


async def test_sentinels_that_do_not_know_the_service_are_unavailability(sentinel):
    stores = open_stores(f"redis+sentinel://127.0.0.1:{sentinel.port}/other")

    with pytest.raises(StoreUnavailable, match="no sentinel names a master of 'other'"):
        await stores.start()
    await stores.aclose()
