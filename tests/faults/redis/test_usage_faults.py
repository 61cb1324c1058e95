import asyncio

import pytest

from app.kernel.clock import SystemClock
from app.stores.errors import StoreUnavailable
from app.stores.protocols import UsageEntry
from app.stores.redis.repetition import Repetition
from app.stores.redis.usage import RedisUsageQueue


@pytest.fixture
async def queue_through(connect):
    """Make a usage queue that puts through one URL and claims through another."""
    queues = []

    def make(url: str, *, claims: str, timeout_s: float = 0.25) -> RedisUsageQueue:
        hot, clock = connect(url, timeout_s=timeout_s), SystemClock()
        repetition = Repetition(clock=clock)
        hot.on_new_server(repetition.begin)
        queues.append(repetition)
        return RedisUsageQueue(hot, connect(claims, timeout_s=10), clock=clock, repetition=repetition)

    yield make
    for repetition in queues:
        await repetition.aclose()


async def ids_of(queue: RedisUsageQueue) -> list[str]:
    ids: list[str] = []
    while batch := await queue.claim(limit=500, wait_s=0):
        ids += [each.entry.id for each in batch]
        await queue.acknowledge(batch)
    return sorted(ids)


def entries(*ids: str) -> list[UsageEntry]:
    return [UsageEntry(3, id_, b"x") for id_ in ids]


async def put_in_the_end(queue, *ids: str) -> None:
    """Put these, again and again while the connection is not there."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await queue.put(entries(*ids))
            except StoreUnavailable:
                await asyncio.sleep(0.02)


async def test_a_put_whose_reply_was_lost_fails_and_its_second_try_adds_nothing(private_redis, proxied, queue_through):
    proxy = await proxied(private_redis.port)
    queue = queue_through(proxy.url, claims=private_redis.url)
    await put_in_the_end(queue, "warm")
    proxy.is_deaf = True

    with pytest.raises(StoreUnavailable):
        await queue.put(entries("a", "b"))
    assert private_redis.execute("XLEN", "{p03}:usage") == 3

    proxy.is_deaf = False
    await put_in_the_end(queue, "a", "b")
    assert await ids_of(queue_through(private_redis.url, claims=private_redis.url, timeout_s=10)) == ["a", "b", "warm"]


async def test_a_put_whose_connection_was_reset_after_it_ran_succeeds_once(private_redis, proxied, queue_through):
    proxy = await proxied(private_redis.port, delay_s=0.02)
    queue = queue_through(proxy.url, claims=private_redis.url, timeout_s=10)
    await queue.put(entries("warm"))
    putting = asyncio.create_task(queue.put(entries("a")))
    async with asyncio.timeout(10):
        while private_redis.execute("XLEN", "{p03}:usage") < 2:  # noqa: ASYNC110 - each look asks a server
            await asyncio.sleep(0)

    proxy.cut()
    await putting

    assert await ids_of(queue) == ["a", "warm"]


async def test_acknowledged_entries_survive_kill_9(private_redis, queue_through):
    queue = queue_through(private_redis.url, claims=private_redis.url, timeout_s=10)
    put: list[str] = []

    async def writer(name: int) -> None:
        for number in range(200):
            id_ = f"{name}.{number}"
            await queue.put([UsageEntry(name, id_, b"payload")])
            put.append(id_)

    writers = [asyncio.create_task(writer(name)) for name in range(10)]
    async with asyncio.timeout(20):
        while len(put) < 300:  # noqa: ASYNC110 - what is awaited is what the test looks at
            await asyncio.sleep(0.001)
    private_redis.kill()
    await asyncio.gather(*writers, return_exceptions=True)
    acknowledged = set(put)
    await asyncio.to_thread(private_redis.start)

    reader = queue_through(private_redis.url, claims=private_redis.url, timeout_s=10)
    survived = await ids_of(reader)

    assert acknowledged <= set(survived)
    assert len(survived) == len(set(survived))


async def test_a_server_that_comes_back_empty_gets_the_last_minute_again(private_redis, queue_through):
    queue = queue_through(private_redis.url, claims=private_redis.url, timeout_s=10)
    await queue.put(entries("a", "b"))
    await queue.put([UsageEntry(9, "c", b"y")])
    private_redis.flush()
    await asyncio.to_thread(private_redis.restart)
    other = queue_through(private_redis.url, claims=private_redis.url, timeout_s=10)
    assert await ids_of(other) == []

    await queue.put(entries("d"))

    async with asyncio.timeout(20):
        while await other.depth() < 4:  # noqa: ASYNC110 - each look asks a server
            await asyncio.sleep(0.01)
    assert await ids_of(other) == ["a", "b", "c", "d"]


async def test_a_server_that_lost_nothing_adds_nothing(private_redis, queue_through):
    queue = queue_through(private_redis.url, claims=private_redis.url, timeout_s=10)
    await queue.put(entries("a", "b"))
    await asyncio.to_thread(private_redis.restart)

    await queue.put(entries("c"))
    await asyncio.wait_for(queue._repetition.wait(), 20)

    assert await ids_of(queue) == ["a", "b", "c"]


async def test_claims_go_on_after_everything_was_wiped(private_redis, queue_through):
    queue = queue_through(private_redis.url, claims=private_redis.url, timeout_s=10)
    assert await queue.claim(limit=10, wait_s=0) == []
    waiting = asyncio.create_task(queue.claim(limit=10, wait_s=20))
    await asyncio.sleep(0.05)

    private_redis.flush()
    await queue.put(entries("after"))

    claimed = await waiting
    assert [each.entry.id for each in claimed] == ["after"]


async def test_a_claim_on_a_hung_server_fails_in_time(private_redis, queue_through):
    queue = queue_through(private_redis.url, claims=private_redis.url)
    assert await queue.claim(limit=10, wait_s=0) == []
    private_redis.pause()

    with pytest.raises(StoreUnavailable):
        async with asyncio.timeout(10):
            await queue.claim(limit=10, wait_s=0.1)


async def test_a_consumer_killed_between_claim_and_acknowledgement_loses_nothing(private_redis, connect):
    reader, *others = [connect(private_redis.url, timeout_s=10) for _ in range(4)]
    clock = SystemClock()
    both = {"clock": clock, "repetition": Repetition(clock=clock), "redelivered_after_ms": 100}
    dead = RedisUsageQueue(others[0], reader, **both)
    heir = RedisUsageQueue(others[1], others[2], **both)
    await dead.put(entries(*[f"n{number:03}" for number in range(200)]))
    assert len(await dead.claim(limit=150, wait_s=0)) == 150
    reader.discard()
    await asyncio.sleep(0.15)

    assert await ids_of(heir) == [f"n{number:03}" for number in range(200)]
    assert await heir.depth() == 0


async def test_a_refused_append_leaves_no_mark_that_would_swallow_the_second_try(private_redis, queue_through):
    queue = queue_through(private_redis.url, claims=private_redis.url, timeout_s=10)
    private_redis.execute("SET", "{p03}:usage", "in the way")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await queue.put(entries("a"))
    private_redis.execute("DEL", "{p03}:usage")

    await queue.put(entries("a"))

    assert await ids_of(queue) == ["a"]
