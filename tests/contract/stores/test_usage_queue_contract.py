import asyncio
import time

from app.stores.protocols import PARTITIONS, UsageEntry


def entries(*ids: str, partition: int = 7) -> list[UsageEntry]:
    return [UsageEntry(partition, id_, f"payload of {id_}".encode()) for id_ in ids]


async def test_what_is_put_is_claimed(stores):
    put = entries("a", "b")

    await stores.usage.put(put)
    claimed = await stores.usage.claim(limit=10, wait_s=0)

    assert [each.entry for each in claimed] == put


async def test_what_is_claimed_says_when_it_was_put(installation):
    await installation.stores.usage.put(entries("a"))
    await installation.pass_s(0.3)
    await installation.stores.usage.put(entries("b"))
    first, second = await installation.peer.usage.claim(limit=10, wait_s=0)
    assert 290 < second.queued_ms - first.queued_ms < 20_000


async def test_payloads_and_ids_come_back_as_they_were(stores):
    put = [UsageEntry(0, "é-\x00-1", bytes(range(256))), UsageEntry(0, "2", b""), UsageEntry(63, "3", b"\r\n" * 40_000)]

    await stores.usage.put(put)
    claimed = await stores.usage.claim(limit=100, wait_s=0)

    assert sorted((each.entry for each in claimed), key=lambda entry: entry.payload) == sorted(
        put, key=lambda entry: entry.payload
    )


async def test_an_empty_queue_waits_and_then_gives_nothing(stores):
    started = time.monotonic()

    assert await stores.usage.claim(limit=10, wait_s=0.1) == []
    assert time.monotonic() - started >= 0.09


async def test_an_empty_queue_gives_nothing_at_once_when_not_asked_to_wait(stores):
    assert await stores.usage.claim(limit=10, wait_s=0) == []


async def test_a_waiting_claim_gets_what_is_put_meanwhile(installation):
    waiting = asyncio.create_task(installation.stores.usage.claim(limit=10, wait_s=20))
    await asyncio.sleep(0.05)

    await installation.peer.usage.put(entries("late"))

    assert [each.entry.id for each in await waiting] == ["late"]


async def test_a_claim_respects_its_limit_and_the_rest_follows(stores):
    put = [entry for partition in range(PARTITIONS) for entry in entries(f"x{partition}", partition=partition)]
    await stores.usage.put(put)

    first = await stores.usage.claim(limit=10, wait_s=0)
    rest = []
    while batch := await stores.usage.claim(limit=10, wait_s=0):
        assert len(batch) <= 10
        rest += batch

    assert len(first) == 10
    assert {each.entry.id for each in first + rest} == {entry.id for entry in put}
    assert len(first + rest) == len(put)


async def test_a_long_partition_is_claimed_in_full_batches(stores):
    await stores.usage.put(entries(*[f"n{number}" for number in range(600)]))

    assert len(await stores.usage.claim(limit=500, wait_s=0)) == 500
    assert len(await stores.usage.claim(limit=500, wait_s=0)) == 100


async def test_order_holds_within_a_partition(stores):
    ids = [f"{number}" for number in range(200)]
    for id_ in ids:
        await stores.usage.put(entries(id_))

    assert [each.entry.id for each in await stores.usage.claim(limit=500, wait_s=0)] == ids


async def test_an_id_is_taken_once(stores, claim_all):
    await stores.usage.put(entries("a", "b"))
    await stores.usage.put(entries("b", "a", "c"))
    await stores.usage.put(entries("c", "c"))

    assert sorted(each.entry.id for each in await claim_all(stores.usage)) == ["a", "b", "c"]


async def test_an_id_is_taken_once_even_after_it_was_acknowledged(stores):
    await stores.usage.put(entries("a"))
    await stores.usage.acknowledge(await stores.usage.claim(limit=1, wait_s=0))

    await stores.usage.put(entries("a"))

    assert await stores.usage.claim(limit=1, wait_s=0) == []


async def test_no_entries_are_no_work(stores):
    await stores.usage.put([])
    await stores.usage.acknowledge([])

    assert await stores.usage.depth() == 0


async def test_concurrent_claims_share_the_entries(installation, claim_all):
    ids = {f"n{number}" for number in range(300)}
    await installation.stores.usage.put(entries(*ids))

    shares = await asyncio.gather(claim_all(installation.stores.usage), claim_all(installation.peer.usage))

    taken = [each.entry.id for share in shares for each in share]
    assert len(taken) == 300
    assert set(taken) == ids


async def test_depth_counts_what_is_not_acknowledged(stores):
    await stores.usage.put(entries("a", "b", "c"))
    assert await stores.usage.depth() == 3

    claimed = await stores.usage.claim(limit=2, wait_s=0)
    assert await stores.usage.depth() == 3

    await stores.usage.acknowledge(claimed)
    assert await stores.usage.depth() == 1


async def test_acknowledging_twice_is_acknowledging_once(stores):
    await stores.usage.put(entries("a", "b"))
    (first,) = await stores.usage.claim(limit=1, wait_s=0)

    await stores.usage.acknowledge([first])
    await stores.usage.acknowledge([first, first])

    assert await stores.usage.depth() == 1


async def test_many_entries_are_acknowledged_in_one_call(stores, claim_all):
    for start in range(0, 2500, 500):
        await stores.usage.put(entries(*[f"n{number}" for number in range(start, start + 500)]))

    await stores.usage.acknowledge(await claim_all(stores.usage))

    assert await stores.usage.depth() == 0


async def test_what_a_dead_consumer_claimed_comes_again(installation):
    await installation.stores.usage.put(entries("a", "b"))
    queued_ms = [each.queued_ms for each in await installation.stores.usage.claim(limit=10, wait_s=0)]
    assert len(queued_ms) == 2
    assert await installation.peer.usage.claim(limit=10, wait_s=0) == []

    await installation.pass_s(0.6)

    again = await installation.peer.usage.claim(limit=10, wait_s=0)
    assert [each.entry.id for each in again] == ["a", "b"]
    assert [each.queued_ms for each in again] == queued_ms
    await installation.peer.usage.acknowledge(again)
    assert await installation.stores.usage.depth() == 0


async def test_what_was_acknowledged_does_not_come_again(installation):
    await installation.stores.usage.put(entries("a", "b"))
    first, second = await installation.stores.usage.claim(limit=10, wait_s=0)
    await installation.stores.usage.acknowledge([first])

    await installation.pass_s(0.6)

    assert [each.entry for each in await installation.peer.usage.claim(limit=10, wait_s=0)] == [second.entry]


async def test_a_cancelled_claim_loses_nothing_and_blocks_nobody(installation):
    waiting = asyncio.create_task(installation.stores.usage.claim(limit=10, wait_s=30))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])

    await installation.stores.usage.put(entries("a"))

    assert [each.entry.id for each in await installation.stores.usage.claim(limit=10, wait_s=5)] == ["a"]
