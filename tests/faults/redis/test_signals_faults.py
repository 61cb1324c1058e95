import asyncio

import pytest

from app.stores.opening import open_stores
from app.stores.redis.endpoint import fixed
from app.stores.redis.signals import RedisSignals
from app.stores.url import parse_url


@pytest.fixture
async def stores(private_redis):
    opened = open_stores(private_redis.url)
    await opened.start()
    yield opened
    await opened.aclose()


async def until(condition, *, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is awaited is what the test looks at
            await asyncio.sleep(0.01)


async def heard_again(stores, heard: list[bytes]) -> None:
    await until(lambda: stores.signals.connected and stores.hot.connected)
    heard.clear()
    await stores.signals.publish("t", b"after")
    await until(lambda: heard == [b"after"])


async def test_a_killed_server_is_noticed_and_the_gap_is_told(private_redis, stores):
    heard, gaps = [], []
    stores.signals.subscribe("t", heard.append, on_gap=lambda: gaps.append(1))
    await until(lambda: gaps == [1])

    private_redis.kill()
    await until(lambda: not stores.signals.connected)
    assert gaps == [1]

    await asyncio.to_thread(private_redis.start)
    await until(lambda: gaps == [1, 1])
    await heard_again(stores, heard)


async def test_a_hung_server_is_noticed_although_nobody_closes(private_redis, stores):
    heard, gaps = [], []
    stores.signals.subscribe("t", heard.append, on_gap=lambda: gaps.append(1))

    private_redis.pause()
    await until(lambda: not stores.signals.connected)

    private_redis.resume()
    await until(lambda: len(gaps) == 2)
    await heard_again(stores, heard)


async def test_a_connection_that_redis_kills_is_replaced(private_redis, stores):
    heard, gaps = [], []
    stores.signals.subscribe("t", heard.append, on_gap=lambda: gaps.append(1))
    await until(lambda: gaps == [1])

    private_redis.execute("CLIENT", "KILL", "TYPE", "pubsub")

    await until(lambda: gaps == [1, 1])
    await heard_again(stores, heard)


async def test_a_quiet_server_is_not_taken_for_a_dead_one(private_redis, connect):
    signals = RedisSignals(connect(private_redis.url), fixed(parse_url(private_redis.url)), db=0, silence_s=0.2)
    gaps = []
    signals.subscribe("t", lambda _: None, on_gap=lambda: gaps.append(1))
    signals.start()

    await asyncio.sleep(0.9)

    assert gaps == [1]
    assert signals.connected
    await signals.aclose()


async def test_databases_do_not_hear_each_other(private_redis, stores):
    other = open_stores(private_redis.url.removesuffix("0") + "1")
    await other.start()
    here, there = [], []
    stores.signals.subscribe("t", here.append)
    other.signals.subscribe("t", there.append)

    await stores.signals.publish("t", b"0")
    await other.signals.publish("t", b"1")

    await until(lambda: here == [b"0"] and there == [b"1"])
    await other.aclose()
