import pytest

from app.kernel.clock import ManualClock
from app.stores.cache import Kept, Owner, Place
from app.stores.errors import StoreUnavailable
from app.stores.opening import open_cache, open_stores
from app.stores.protocols import UsageEntry


async def test_running_stores_answer_a_ping(stores):
    assert await stores.ping()


async def test_the_kind_tells_whether_there_is_a_hot_connection(stores):
    assert (stores.kind == "redis") == (stores.hot is not None)


async def test_closing_twice_is_closing_once(stores):
    await stores.aclose()
    await stores.aclose()


async def test_state_outlives_the_process_that_made_it_on_redis(redis_url):
    first = open_stores(redis_url)
    await first.usage.put([UsageEntry(1, "a", b"x")])
    await first.aclose()

    second = open_stores(redis_url)
    assert [each.entry.id for each in await second.usage.claim(limit=1, wait_s=0)] == ["a"]
    await second.aclose()


async def test_closed_stores_are_unavailable(redis_url):
    stores = open_stores(redis_url)
    await stores.start()
    await stores.aclose()

    assert not await stores.ping()
    with pytest.raises(StoreUnavailable, match="closed"):
        await stores.usage.put([UsageEntry(1, "a", b"x")])


async def test_a_store_that_is_not_there_fails_the_start_in_time():
    stores = open_stores("redis://127.0.0.1:1/0")

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await stores.start()
    assert not await stores.ping()
    assert not stores.signals.connected
    await stores.aclose()


async def test_every_usage_key_has_its_partition_s_tag_and_marks_expire(redis_url, redis_server):
    stores = open_stores(redis_url)
    await stores.usage.put([UsageEntry(7, "id1", b"x"), UsageEntry(63, "id2", b"x")])
    await stores.aclose()

    assert sorted(redis_server.execute("KEYS", "*")) == [
        "{p07}:usage", "{p07}:usage:id1", "{p63}:usage", "{p63}:usage:id2",
    ]  # fmt: skip
    assert 110 <= redis_server.execute("TTL", "{p07}:usage:id1") <= 120
    assert redis_server.execute("TTL", "{p07}:usage") == -1


async def test_memory_forgets_an_id_after_two_minutes():
    clock = ManualClock()
    usage = open_stores("memory://", clock=clock).usage
    await usage.put([UsageEntry(1, "a", b"x")])
    clock.advance(119)
    await usage.put([UsageEntry(1, "a", b"x")])
    assert await usage.depth() == 1

    clock.advance(2)
    await usage.put([UsageEntry(1, "a", b"x")])
    assert await usage.depth() == 2


def test_putting_in_memory_never_suspends():
    step = open_stores("memory://").usage.put([UsageEntry(1, "a", b"x")])

    with pytest.raises(StopIteration):
        step.send(None)


@pytest.mark.parametrize("url_of", ["redis_url", "redis_sentinel_url", "redis_cluster_url"])
async def test_a_cache_of_its_own_is_shared_and_closed_like_any_store(request, url_of):
    place, kept = Place(Owner(1, "o"), "organization", b"k" * 32), Kept(b"answer", "m", (), 1, 60_000)
    url = request.getfixturevalue(url_of)
    one, other = open_cache(url), open_cache(url)
    await one.start()
    assert await one.cache.put(place, kept, most_bytes=100_000)

    assert await other.cache.find(place) == kept
    assert await one.ping()
    for stores in (one, other):
        await stores.aclose()
    assert not await one.ping()
    for step in (one.cache.find(place), one.cache.put(place, kept, most_bytes=100_000), one.cache.purge(place.owner)):
        with pytest.raises(StoreUnavailable, match="closed"):
            await step


async def test_a_cache_of_its_own_that_is_not_there_fails_the_start_and_counting_does_not():
    stores = open_cache("redis://127.0.0.1:1/0")

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await stores.start()
    stores.cache.count(Owner(1, "o"), {"hits": 1})
    with pytest.raises(StoreUnavailable):
        await stores.cache.counts(Owner(1, "o"))
    await stores.aclose()


async def test_a_cache_in_memory_is_each_opener_s_own_and_swept():
    clock = ManualClock()
    stores, place = open_cache("memory://", clock=clock), Place(Owner(1, "o"), "organization", b"k" * 32)
    await stores.start()
    assert await stores.ping()
    await stores.cache.put(place, Kept(b"answer", "m", (), 1, 1_000), most_bytes=100_000)
    assert await open_cache("memory://").cache.find(place) is None
    clock.advance(1)
    stores.sweep()

    assert not stores.cache._shelves
    await stores.aclose()
