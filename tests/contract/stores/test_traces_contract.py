"""Traces of recent requests: in the order of their ids, searched by their marks, never more than the bounds say."""

import time

import pytest
from redis.asyncio import Redis

from app.kernel.clock import ManualClock
from app.kernel.ids import uuid7_text
from app.stores.memory_traces import MemoryTraceStore
from app.stores.opening import open_stores
from app.stores.traces import Bounds, KeptTrace, Mark, TraceQuery, is_id, least_id

BOUNDS = Bounds(most=1_000, most_bytes=1 << 22, ttl_ms=60_000)


@pytest.fixture
def traces(installation):
    return installation.stores.traces


def mark(**more) -> Mark:
    plain = {
        "organization_id": "o1",
        "team_id": None,
        "key_id": "k1",
        "model": "m",
        "provider": "p",
        "status": 200,
        "error_code": None,
        "cache": "off",
        "duration_ms": 12,
    }
    return Mark(**(plain | more))


def now_ms() -> int:
    """Return the time: a server forgets by its own, so that what it is given must be of now."""
    return time.time_ns() // 1_000_000


def made(at_ms: int, trace: bytes = b"{}", **more) -> KeptTrace:
    return KeptTrace(uuid7_text(at_ms * 1_000_000), mark(**more), trace)


async def test_what_is_put_is_found_by_every_process(installation, traces):
    one = made(now_ms(), b'{"a": 1}')
    await traces.put([one], BOUNDS)
    assert await installation.peer.traces.find(one.id) == one
    assert await traces.find(uuid7_text()) is None


async def test_a_list_is_newest_first_and_goes_on_before_an_id(installation, traces):
    at = now_ms()
    put = [made(at - number) for number in range(120)]
    await traces.put(put[::-1], BOUNDS)
    first = await traces.recent(TraceQuery(), limit=50)
    rest = await traces.recent(TraceQuery(), before=first[-1].id, limit=100)
    assert [each.id for each in (*first, *rest)] == [each.id for each in put]
    assert await traces.recent(TraceQuery(), before=rest[-1].id, limit=5) == []


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({"organization_id": "o2"}, {"organization_id": "o2"}),
        ({"team_id": "t"}, {"team_id": "t"}),
        ({"key_id": "k2"}, {"key_id": "k2"}),
        ({"model": "other"}, {"model": "other"}),
        ({"provider": "q"}, {"provider": "q"}),
        ({"status": 429}, {"status": 429}),
        ({"error_code": "rate_limit_exceeded"}, {"error_code": "rate_limit_exceeded"}),
        ({"cache": "exact"}, {"cache": "exact"}),
        ({"min_duration_ms": 13}, {"duration_ms": 13}),
    ],
)
async def test_each_part_of_a_mark_is_searched_by(installation, traces, asked, fits):
    at = now_ms()
    wanted, other = made(at, **fits), made(at - 1)
    await traces.put([wanted, other], BOUNDS)
    assert await traces.recent(TraceQuery(**asked), limit=10) == [wanted]


async def test_a_range_of_time_is_half_open(installation, traces):
    at = now_ms()
    put = [made(at - number) for number in range(5)]
    await traces.put(put, BOUNDS)
    found = await traces.recent(TraceQuery(since_ms=at - 3, until_ms=at), limit=10)
    assert [each.id for each in found] == [each.id for each in put[1:4]]


async def test_a_rare_one_is_found_behind_thousands(installation, traces):
    at = now_ms()
    rare = made(at - 3_000, model="rare")
    many = [made(at - number) for number in range(2_500)]
    await traces.put([rare, *many], Bounds(most=5_000, most_bytes=1 << 24, ttl_ms=60_000))
    assert await traces.recent(TraceQuery(model="rare"), limit=1) == [rare]


async def test_the_oldest_go_first_beyond_the_most(installation, traces):
    at = now_ms()
    put = [made(at - 100 + number) for number in range(30)]
    for each in put:
        await traces.put([each], Bounds(most=10, most_bytes=1 << 20, ttl_ms=60_000))
    found = await traces.recent(TraceQuery(), limit=100)
    assert [each.id for each in found] == [each.id for each in put[:19:-1]]
    assert await traces.find(put[0].id) is None


async def test_what_is_past_its_time_is_gone(installation, traces):
    one = made(now_ms())
    await traces.put([one], Bounds(most=10, most_bytes=1 << 20, ttl_ms=300))
    assert await traces.find(one.id) == one
    await installation.pass_s(0.4)
    assert await traces.find(one.id) is None
    assert await traces.recent(TraceQuery(), limit=10) == []


WITH_BODIES = Bounds(most=1_000, most_bytes=1 << 22, ttl_ms=60_000, most_body_bytes=1 << 20)


async def test_bodies_are_found_by_every_process_and_in_no_list(installation, traces):
    one, silent = made(now_ms()), made(now_ms())
    await traces.put([one, silent], WITH_BODIES, bodies={one.id: b"sealed"})
    peer = installation.peer.traces
    assert [await peer.bodies(each) for each in (one.id, silent.id, uuid7_text())] == [b"sealed", None, None]
    assert await peer.find(one.id) == one
    assert sorted(await peer.recent(TraceQuery(), limit=10)) == sorted([one, silent])


async def test_the_oldest_bodies_go_first_beyond_their_bytes_and_traces_stay(traces):
    at = now_ms()
    put = [made(at - 100 + number) for number in range(30)]
    bounds = Bounds(most=1_000, most_bytes=1 << 22, ttl_ms=60_000, most_body_bytes=10_800)
    for each in put:
        await traces.put([each], bounds, bodies={each.id: b"x" * 1_000})
    there = [await traces.bodies(each.id) is not None for each in put]
    kept = sum(there)
    assert 8 <= kept <= 10
    assert there == [False] * (30 - kept) + [True] * kept
    assert len(await traces.recent(TraceQuery(), limit=100)) == 30


async def test_many_bodies_at_once_are_all_kept_and_what_is_put_again_counts_once(traces):
    at = now_ms()
    put = [made(at - 100 + number) for number in range(20)]
    bodies = {each.id: b"%d" % number * 25_000 for number, each in enumerate(put)}
    for _ in range(5):
        await traces.put(put, WITH_BODIES, bodies=bodies)
    assert {each.id: await traces.bodies(each.id) for each in put} == bodies


async def test_no_body_outlives_its_trace(installation, traces):
    at = now_ms()
    old, new = made(at - 10), made(at)
    bounds = Bounds(most=1, most_bytes=1 << 22, ttl_ms=300, most_body_bytes=1 << 20)
    await traces.put([old], bounds, bodies={old.id: b"old"})
    await traces.put([new], bounds, bodies={new.id: b"new"})
    assert (await traces.bodies(old.id), await traces.bodies(new.id)) == (None, b"new")
    await installation.pass_s(0.4)
    assert await traces.bodies(new.id) is None


async def test_bodies_are_forgotten_by_whoever_may_keep_none(installation, traces):
    at = now_ms()
    one, two = made(at - 10), made(at)
    await traces.put([one], WITH_BODIES, bodies={one.id: b"one"})
    await installation.peer.traces.put([two], BOUNDS)
    assert await traces.bodies(one.id) is None
    assert await traces.find(one.id) == one


async def test_a_server_holds_nothing_of_bodies_that_are_gone(redis_url):
    stores = open_stores(redis_url)
    await stores.start()
    inspected = Redis.from_url(redis_url)
    try:
        put = [made(now_ms() - 100 + number) for number in range(30)]
        bounds = Bounds(most=1_000, most_bytes=1 << 22, ttl_ms=60_000, most_body_bytes=10_000)
        for each in put:
            await stores.traces.put([each], bounds, bodies={each.id: b"x" * 1_000})
        assert await inspected.get("{traces}:bodies_bytes") == b"10000"
        assert len(await inspected.keys("{traces}:bodies:*")) == 10
        assert [await inspected.pttl(key) > 0 for key in await inspected.keys("{traces}*")].count(False) == 0
        await stores.traces.put([], BOUNDS)
        assert await inspected.keys("{traces}:bodies*") == []
    finally:
        await inspected.aclose()
        await stores.aclose()


async def test_memory_is_bounded_by_bytes_with_bodies_in_it():
    store = MemoryTraceStore(clock=ManualClock())
    bounds = Bounds(most=100_000, most_bytes=1 << 20, ttl_ms=3_600_000, most_body_bytes=1 << 19)
    for number in range(5_000):
        one = made(1_800_000_000_000 + number, b"x" * 400)
        await store.put([one], bounds, bodies={one.id: b"y" * 2_000})
        assert store.size_bytes <= 1 << 20
        assert store.bodies_bytes <= 1 << 19
    assert 450 < len(store) < 500


async def test_memory_is_bounded_by_bytes_under_50_000_requests():
    store = MemoryTraceStore(clock=ManualClock())
    bounds = Bounds(most=100_000, most_bytes=1 << 20, ttl_ms=3_600_000)
    for number in range(50_000):
        await store.put([made(1_800_000_000_000 + number, b"x" * 400)], bounds)
    assert store.size_bytes <= 1 << 20
    assert 900 < len(store) < 1_000


async def test_memory_is_bounded_by_count_under_50_000_requests():
    store = MemoryTraceStore(clock=ManualClock())
    for number in range(50_000):
        await store.put([made(number)], Bounds(most=50, most_bytes=1 << 30, ttl_ms=3_600_000))
    assert len(store) == 50


def test_a_moment_is_before_all_ids_of_it():
    at_ms = 1_800_000_000_123
    assert least_id(at_ms - 1) < least_id(at_ms) < uuid7_text(at_ms * 1_000_000) < least_id(at_ms + 1)
    assert is_id(uuid7_text())
    assert not is_id("index")
    assert not is_id("../" * 12)
