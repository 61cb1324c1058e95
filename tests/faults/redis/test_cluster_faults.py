import asyncio
import contextlib
import itertools

import pytest
import redis
from servers.redis_cluster import RedisCluster

from app.kernel.clock import SystemClock
from app.stores.errors import StoreUnavailable
from app.stores.opening import open_stores
from app.stores.protocols import PARTITIONS, UsageEntry
from app.stores.redis.consumer import STREAMS, read_apart
from app.stores.redis.repetition import Repetition
from app.stores.redis.scripts import Script
from app.stores.redis.slots import slot_of
from app.stores.redis.usage import RedisUsageQueue

COUNT = Script("count", b"return redis.call('INCR', KEYS[1])", "0" * 40)


def entry(partition: int, id_: str) -> UsageEntry:
    return UsageEntry(partition, id_, b"payload")


def partitions_of(cluster: RedisCluster, node) -> list[int]:
    return [partition for partition in range(PARTITIONS) if cluster.owner(slot_of(STREAMS[partition])) is node]


async def until(condition, *, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is awaited is what the test looks at
            await asyncio.sleep(0.01)


async def put_at_last(usage, put: UsageEntry) -> None:
    """Put an entry, as often as it takes."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await usage.put([put])
            except StoreUnavailable:
                await asyncio.sleep(0.01)


async def drained(usage, *, count: int, within_s: float = 20.0) -> list[str]:
    """Claim and acknowledge until there were `count` entries, and what comes at once after them."""
    ids: list[str] = []
    async with asyncio.timeout(within_s):
        while True:
            try:
                batch = await usage.claim(limit=500, wait_s=0.05)
                await usage.acknowledge(batch)
            except StoreUnavailable:
                await asyncio.sleep(0.05)
                continue
            ids += [each.entry.id for each in batch]
            if len(ids) >= count and not batch:
                return sorted(ids)


@pytest.fixture
async def stores(private_cluster):
    opened = open_stores(private_cluster.url)
    await opened.start()
    yield opened
    await opened.aclose()


@pytest.fixture
def queue(connect_cluster):
    def make(url: str) -> RedisUsageQueue:
        hot, reader = connect_cluster(url), connect_cluster(url)
        clock = SystemClock()
        return RedisUsageQueue(
            hot, reader, clock=clock, repetition=Repetition(clock=clock), redelivered_after_ms=300, read=read_apart
        )

    return make


# --- Slots that move


async def test_a_put_follows_its_slot_to_another_node(private_cluster, stores):
    slot = slot_of(STREAMS[7])
    old = private_cluster.owner(slot)
    new = next(node for node in private_cluster.primaries if node is not old)
    await stores.usage.put([entry(7, "before")])
    private_cluster.move(slot, to=new)
    assert stores.hot._map.by_slot[slot].address[1] == old.port

    await stores.usage.put([entry(7, "after")])

    assert new.execute("XLEN", STREAMS[7]) == 2
    assert stores.hot._map.by_slot[slot].address[1] == new.port
    assert await drained(stores.usage, count=2) == ["after", "before"]
    private_cluster.move(slot, to=old)


async def test_a_script_whose_slot_is_on_the_move_runs_on_its_new_node(private_cluster, stores):
    slot = slot_of(STREAMS[7])
    old = private_cluster.owner(slot)
    new = next(node for node in private_cluster.primaries if node is not old)
    private_cluster.open_move(slot, to=new)

    assert await stores.hot.script(COUNT, ["{p07}:count"], []) == 1
    assert await stores.hot.script(COUNT, ["{p07}:count"], []) == 2

    assert old.execute("CLUSTER", "GETKEYSINSLOT", slot, 10) == ["{p07}:epoch"]
    assert new.execute("CLUSTER", "GETKEYSINSLOT", slot, 10) == ["{p07}:count"]
    assert private_cluster.owner(slot) is old
    assert await stores.usage.claim(limit=10, wait_s=0) == []
    private_cluster.carry_keys(slot, to=new)
    private_cluster.close_move(slot, to=new)
    assert await stores.hot.script(COUNT, ["{p07}:count"], []) == 3
    private_cluster.move(slot, to=old)


async def test_a_slot_half_moved_refuses_a_put_until_it_has_arrived(private_cluster, stores):
    slot = slot_of(STREAMS[7])
    old = private_cluster.owner(slot)
    new = next(node for node in private_cluster.primaries if node is not old)
    await stores.usage.put([entry(7, "there")])
    private_cluster.open_move(slot, to=new)

    with pytest.raises(StoreUnavailable) as caught:
        await stores.usage.put([entry(7, "refused")])
    assert caught.value.code == "TRYAGAIN"

    private_cluster.carry_keys(slot, to=new)
    private_cluster.close_move(slot, to=new)
    await stores.usage.put([entry(7, "refused")])
    assert await drained(stores.usage, count=2) == ["refused", "there"]
    private_cluster.move(slot, to=old)


async def test_scripts_run_exactly_once_while_their_slot_moves_round(private_cluster, connect_cluster):
    connection = connect_cluster(private_cluster.url, timeout_s=10)
    key, answers = "{p03}:count", []
    slot = slot_of(key)
    home, is_over = private_cluster.owner(slot), asyncio.Event()

    async def count() -> None:
        while not is_over.is_set():
            answers.append(await connection.script(COUNT, [key], []))

    def move_round() -> None:
        for node in itertools.chain(private_cluster.primaries * 3, [home]):
            private_cluster.move(slot, to=node)

    counting = [asyncio.create_task(count()) for _ in range(8)]
    await asyncio.to_thread(move_round)
    is_over.set()
    await asyncio.gather(*counting)

    assert len(answers) > 100
    assert sorted(answers) == list(range(1, len(answers) + 1))
    assert int(private_cluster.owner(slot).execute("GET", key)) == len(answers)


async def test_nothing_is_lost_or_doubled_while_slots_move_round(private_cluster, stores):
    moving = [3, 8, 21]
    homes = {partition: private_cluster.owner(slot_of(STREAMS[partition])) for partition in moving}
    is_over, put = asyncio.Event(), []

    async def write(partition: int) -> None:
        for number in itertools.count():
            if is_over.is_set():
                return
            id_ = f"{partition}.{number}"
            await put_at_last(stores.usage, entry(partition, id_))
            put.append(id_)
            await asyncio.sleep(0.002)

    def move_round() -> None:
        for node in private_cluster.primaries * 2:
            for partition in moving:
                private_cluster.move(slot_of(STREAMS[partition]), to=node)
        for partition, home in homes.items():
            private_cluster.move(slot_of(STREAMS[partition]), to=home)
        is_over.set()

    writing = [asyncio.create_task(write(partition)) for partition in (*moving, 40)]
    moves = asyncio.create_task(asyncio.to_thread(move_round))
    claimed: list[str] = []
    while not (moves.done() and all(task.done() for task in writing)):
        with contextlib.suppress(StoreUnavailable):
            batch = await stores.usage.claim(limit=500, wait_s=0.02)
            claimed += [each.entry.id for each in batch]
            await stores.usage.acknowledge(batch)
    await asyncio.gather(moves, *writing)

    claimed += await drained(stores.usage, count=len(put) - len(claimed))
    assert len(put) > 100
    assert sorted(claimed) == sorted(put)


# --- Nodes that die


async def test_a_killed_node_fails_its_partitions_at_once_and_no_others(private_cluster, stores):
    victim = private_cluster.primaries[1]
    lost = partitions_of(private_cluster, victim)
    kept = [partition for partition in range(PARTITIONS) if partition not in lost]
    assert lost
    assert kept
    assert await stores.ping()

    victim.kill()
    loop = asyncio.get_running_loop()
    for partition in lost:
        with pytest.raises(StoreUnavailable):
            await stores.usage.put([entry(partition, "x")])
    began = loop.time()
    for partition in lost:
        with pytest.raises(StoreUnavailable):
            await stores.usage.put([entry(partition, "x")])
    assert (loop.time() - began) / len(lost) < 0.1, "no timeouts"
    for partition in kept:
        await stores.usage.put([entry(partition, f"k{partition}")])
    assert not await stores.ping()
    assert not stores.hot.connected

    claimed = await stores.usage.claim(limit=500, wait_s=0)
    assert {each.entry.id for each in claimed} == {f"k{partition}" for partition in kept}
    await stores.usage.acknowledge(claimed)
    with pytest.raises(StoreUnavailable):
        await stores.usage.claim(limit=500, wait_s=0.05)
    with pytest.raises(StoreUnavailable):
        await stores.usage.depth()


async def test_what_cannot_be_acknowledged_comes_again_and_the_rest_does_not(private_cluster, queue):
    victim, usage = private_cluster.primaries[1], queue(private_cluster.url)
    lost = partitions_of(private_cluster, victim)[0]
    kept = next(p for p in range(PARTITIONS) if p not in partitions_of(private_cluster, victim))
    await usage.put([entry(lost, "lost"), entry(kept, "kept")])
    claimed = await usage.claim(limit=10, wait_s=0)
    assert len(claimed) == 2
    victim.kill()

    await usage.acknowledge(claimed)

    await asyncio.to_thread(victim.start)
    await asyncio.sleep(0.4)
    assert await drained(usage, count=1) == ["lost"]
    assert await usage.depth() == 0


async def test_a_claim_waits_for_the_living_although_a_node_is_dead(private_cluster, stores):
    victim = private_cluster.primaries[1]
    kept = next(p for p in range(PARTITIONS) if p not in partitions_of(private_cluster, victim))
    victim.kill()
    waiting = asyncio.create_task(stores.usage.claim(limit=10, wait_s=20))
    await asyncio.sleep(0.3)

    await stores.usage.put([entry(kept, "late")])

    assert [each.entry.id for each in await waiting] == ["late"]


async def test_a_process_starts_although_a_node_is_dead(private_cluster):
    victim = private_cluster.primaries[1]
    lost = partitions_of(private_cluster, victim)
    victim.kill()
    stores = open_stores(private_cluster.url)

    await stores.start()

    assert not await stores.ping()
    with pytest.raises(StoreUnavailable):
        await stores.usage.put([entry(lost[0], "lost")])
    kept = next(partition for partition in range(PARTITIONS) if partition not in lost)
    await stores.usage.put([entry(kept, "kept")])
    await asyncio.to_thread(victim.start)
    await put_at_last(stores.usage, entry(lost[0], "lost"))
    await stores.aclose()


async def test_what_was_put_survives_the_death_of_a_node_and_comes_once(private_cluster, stores):
    victim, put = private_cluster.primaries[1], []

    async def write(partition: int) -> None:
        for number in range(60):
            id_ = f"{partition}.{number}"
            await put_at_last(stores.usage, entry(partition, id_))
            put.append(id_)

    writing = [asyncio.create_task(write(partition)) for partition in range(0, PARTITIONS, 4)]
    await until(lambda: len(put) > 200)
    victim.kill()
    await asyncio.sleep(0.3)
    await asyncio.to_thread(victim.start)
    await asyncio.gather(*writing)
    await asyncio.wait_for(stores.repetition.wait(), 20)

    assert await drained(stores.usage, count=len(put)) == sorted(put)
    await asyncio.to_thread(private_cluster.wait_whole)
    assert await stores.ping()


async def test_a_node_that_comes_back_empty_gets_the_last_minute_again(private_cluster, stores, queue):
    victim = private_cluster.primaries[2]
    partition = partitions_of(private_cluster, victim)[0]
    await stores.usage.put([entry(partition, "a")])
    victim.execute("FLUSHALL")
    await asyncio.to_thread(victim.restart)
    other = queue(private_cluster.url)

    await put_at_last(stores.usage, entry(partition, "b"))

    assert await drained(other, count=2) == ["a", "b"]


async def test_a_hung_node_holds_nobody_else_back(private_cluster, stores):
    victim = private_cluster.primaries[0]
    lost = partitions_of(private_cluster, victim)
    kept = next(partition for partition in range(PARTITIONS) if partition not in lost)
    assert await stores.usage.claim(limit=10, wait_s=0) == []
    loop = asyncio.get_running_loop()
    victim.pause()

    hanging = asyncio.create_task(stores.usage.put([entry(lost[0], "x")]))
    await stores.usage.put([entry(kept, "quick")])
    assert not hanging.done()
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(hanging, 2)
    assert [each.entry.id for each in await stores.usage.claim(limit=10, wait_s=5)] == ["quick"]
    took_s = []
    for _ in range(3):
        began = loop.time()
        with pytest.raises(StoreUnavailable):
            await stores.usage.put([entry(lost[0], "x")])
        took_s.append(loop.time() - began)
    assert min(took_s) < 0.2, "no second timeout"
    victim.resume()
    await put_at_last(stores.usage, entry(lost[0], "x"))


async def test_leases_of_living_nodes_go_on(private_cluster, stores):
    victim = private_cluster.primaries[1]
    names = [f"job{number}" for number in range(30)]
    lost = [name for name in names if private_cluster.owner(slot_of(f"lease:{name}")) is victim]
    victim.kill()

    for name in names:
        if name in lost:
            with pytest.raises(StoreUnavailable):
                await stores.leases.acquire(name, holder="a", ttl_s=5)
        else:
            assert await stores.leases.acquire(name, holder="a", ttl_s=5)
    assert 0 < len(lost) < len(names)


async def test_signals_go_on_through_another_node(private_cluster, stores):
    heard, gaps = [], []
    stores.signals.subscribe("t", heard.append, on_gap=lambda: gaps.append(1))
    await until(lambda: gaps == [1])
    listened = [node for node in private_cluster.primaries if int(node.execute("PUBSUB", "NUMPAT"))]
    assert len(listened) == 1

    listened[0].kill()
    await until(lambda: gaps == [1, 1] and stores.signals.connected)

    async with asyncio.timeout(20):
        while not heard:
            with contextlib.suppress(StoreUnavailable):
                await stores.signals.publish("t", b"after")
            await asyncio.sleep(0.05)


async def test_a_signal_is_heard_whatever_node_either_side_is_at(private_cluster, stores):
    others = [open_stores(f"redis+cluster://127.0.0.1:{node.port}") for node in private_cluster.primaries]
    heard: list[bytes] = []
    stores.signals.subscribe("t", heard.append)
    for number, other in enumerate(others):
        await other.signals.publish("t", b"%d" % number)

    await until(lambda: sorted(heard) == [b"0", b"1", b"2"])
    for other in others:
        await other.aclose()


# --- Seeds, credentials, failover


async def test_one_living_seed_is_enough(private_cluster, connect_cluster):
    connection = connect_cluster(f"redis+cluster://127.0.0.1:1,127.0.0.1:{private_cluster.primaries[2].port}")

    await connection.start()

    assert connection.connected
    assert await connection.ping()
    ports = {node.address[1] for node in connection._map.primaries}
    assert ports == {node.port for node in private_cluster.primaries}


async def test_a_cluster_that_is_not_there_fails_the_start_in_time_and_is_found_when_it_comes(
    private_cluster, connect_cluster, proxied
):
    proxy = await proxied(private_cluster.primaries[0].port)
    await proxy.close()
    connection = connect_cluster(f"redis+cluster://127.0.0.1:{proxy.port}")

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await connection.start()
    assert not await connection.ping()
    proxy._server = await asyncio.start_server(proxy._accept, "127.0.0.1", proxy.port)

    await until(lambda: connection._map.is_whole)
    assert await connection.ping()


async def test_nodes_that_serve_no_slot_are_let_go(private_cluster, connect_cluster):
    connection = connect_cluster(private_cluster.url.replace("127.0.0.1", "localhost"), refresh_s=0.01)
    await connection.start()

    await until(lambda: len(connection._map._nodes) == 3)

    assert {host for host, _ in connection._map._nodes} == {"127.0.0.1"}


async def test_a_map_without_traffic_is_asked_for_again(private_cluster, connect_cluster):
    connection = connect_cluster(private_cluster.url, refresh_s=0.05)
    await connection.start()
    slot = slot_of(STREAMS[7])
    old = private_cluster.owner(slot)
    new = next(node for node in private_cluster.primaries if node is not old)

    private_cluster.move(slot, to=new)

    await until(lambda: connection._map.by_slot[slot].address[1] == new.port)
    private_cluster.move(slot, to=old)


async def test_the_password_of_the_url_is_every_node_s(private_cluster, connect_cluster):
    for node in private_cluster.primaries:
        node.execute("CONFIG", "SET", "requirepass", "pass word")
    try:
        named = private_cluster.url.replace("//", "//:pass%20word@")
        connection = connect_cluster(named)
        await connection.start()
        for partition in range(PARTITIONS):
            await connection.call("SET", STREAMS[partition] + ":x", 1)
        with pytest.raises(StoreUnavailable, match="NOAUTH"):
            await connect_cluster(private_cluster.url).start()
        stores = open_stores(named)
        await stores.start()
        assert stores.signals.connected
        await stores.aclose()
    finally:
        for node in private_cluster.primaries:
            with redis.Redis(port=node.port, password="pass word") as client:
                client.execute_command("CONFIG", "SET", "requirepass", "")


async def test_a_promoted_replica_serves_and_gets_the_last_minute_again():
    cluster = await asyncio.to_thread(RedisCluster.launch, with_replicas=True)
    stores = open_stores(cluster.url)
    try:
        await stores.start()
        victim = cluster.primaries[0]
        partition = partitions_of(cluster, victim)[0]
        await stores.usage.put([entry(partition, "before")])
        new_servers = []
        stores.hot.on_new_server(lambda: new_servers.append(1))

        victim.kill()
        await put_at_last(stores.usage, entry(partition, "after"))
        await until(lambda: bool(new_servers))
        await asyncio.wait_for(stores.repetition.wait(), 20)

        assert await drained(stores.usage, count=2) == ["after", "before"]
        assert await stores.ping()
        assert stores.hot.connected
    finally:
        await stores.aclose()
        cluster.close()
