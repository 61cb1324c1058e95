"""A Redis that evicts may take any key at any time: what is left is still true."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest
from servers.redis import RedisProcess

from app.stores.cache import COUNTS_KEPT_S, CacheStores, Kept, Maker, Overview, Owner, Place, Sample, size_of
from app.stores.opening import open_cache
from app.stores.redis.commands import Commands

ACME = Owner(7, "ac" * 16)
SCOPE, SEMANTIC = f"organization:{ACME.organization}", "5e" * 16
MOST, MINUTE_MS = 1_000_000, 60_000
ANSWER = Kept(b"answer", "m", (), 1, MINUTE_MS)
SIZE = size_of(ANSWER, None)


def place(number: int) -> Place:
    return Place(ACME, SCOPE, number.to_bytes(2, "big") * 16)


def sample(number: int) -> Sample:
    return Sample(place(number).entry_id, SEMANTIC, b"c" * 32, b"p" * 256, 1.0, b"text", 9_000_000_000_000)


def name(what: str) -> str:
    return f"{{p07}}:cache:{ACME.organization}:{what}"


async def samples_of(stores: CacheStores) -> list[str]:
    found = await stores.cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC)
    return [each.entry_id for each in found.samples]


async def found(stores: CacheStores, numbers: range) -> list[int]:
    return [number for number in numbers if isinstance(await stores.cache.find(place(number)), Kept)]


@pytest.fixture
async def stores(redis_url: str) -> AsyncIterator[CacheStores]:
    stores = open_cache(redis_url)
    await stores.start()
    yield stores
    await stores.aclose()


@pytest.fixture
def hot(stores) -> Commands:
    commands: Commands = stores._hot
    return commands


@pytest.mark.parametrize("lost", ["index", "order", "expiry"])
async def test_an_index_that_was_evicted_takes_its_entries_with_it(stores, hot, lost):
    for number in range(4):
        await stores.cache.put(place(number), ANSWER, most_bytes=8 * SIZE)
    await hot.call("DEL", name(lost))
    for number in range(4, 14):
        assert await stores.cache.put(place(number), ANSWER, most_bytes=8 * SIZE)

    assert await found(stores, range(14)) == list(range(6, 14))
    assert (await stores.cache.overview(ACME)).size_bytes == 8 * SIZE
    assert await stores.cache.purge(ACME) == 8
    assert await found(stores, range(14)) == []


async def test_a_purge_without_an_index_leaves_nothing_to_be_found(stores, hot):
    await stores.cache.put(place(1), ANSWER, most_bytes=MOST)
    await hot.call("DEL", name("index"))

    assert await stores.cache.purge(ACME) == 0
    assert await stores.cache.find(place(1)) is None
    assert await stores.cache.read(ACME, scope=SCOPE, entry_id=place(1).entry_id) is None
    await stores.cache.put(place(2), ANSWER, most_bytes=MOST)
    assert await found(stores, range(3)) == [2]


async def test_an_entry_that_was_evicted_between_its_sample_and_its_reading_is_a_miss(stores, hot):
    await stores.cache.put(place(1), ANSWER, most_bytes=MOST, sample=sample(1))
    await stores.cache.put(place(2), ANSWER, most_bytes=MOST)
    assert await samples_of(stores) == [place(1).entry_id]
    await hot.call("DEL", name(f"e:{SCOPE}/{place(1).entry_id}"))

    assert await stores.cache.read(ACME, scope=SCOPE, entry_id=place(1).entry_id) is None
    assert await stores.cache.find(place(1), maker="a", lease_ms=MINUTE_MS) == Maker("a", is_me=True)
    await stores.cache.put(place(1), ANSWER, most_bytes=MOST, sample=sample(1))
    assert await stores.cache.find(place(1)) == ANSWER
    assert await samples_of(stores) == [place(1).entry_id]
    assert await stores.cache.purge(ACME) == 2


async def test_a_purge_does_not_count_what_was_evicted(stores, hot):
    await stores.cache.put(place(1), ANSWER, most_bytes=MOST)
    await stores.cache.put(place(2), ANSWER, most_bytes=MOST)
    await hot.call("DEL", name(f"e:{SCOPE}/{place(1).entry_id}"))

    assert await stores.cache.purge(ACME) == 1


async def test_samples_that_were_evicted_harm_no_entry(stores, hot):
    await stores.cache.put(place(1), ANSWER, most_bytes=MOST, sample=sample(1))
    await hot.call("DEL", name(f"s:{SCOPE}/{SEMANTIC}"))
    await stores.cache.put(place(2), ANSWER, most_bytes=MOST, sample=sample(2))

    assert await samples_of(stores) == [place(2).entry_id]
    assert await stores.cache.purge(ACME, entry_id=place(1).entry_id) == 1
    assert await samples_of(stores) == [place(2).entry_id]
    assert await found(stores, range(3)) == [2]


async def test_every_key_is_its_organisation_s_and_expires(stores, redis_server):
    for number, ttl_ms in ((1, 30_000), (2, 10_000)):
        answer = Kept(b"", "m", (), 1, ttl_ms)
        await stores.cache.put(place(number), answer, most_bytes=MOST, sample=sample(number))
    await stores.cache.find(place(3), maker="a", lease_ms=5_000)
    stores.cache.count(ACME, {"hits": 1})
    await stores.cache.counts(ACME)

    lives = {key: redis_server.execute("PTTL", key) for key in redis_server.execute("KEYS", "*")}
    assert all(key.startswith(name("")) for key in lives)
    assert lives.pop(name("n")) == pytest.approx(COUNTS_KEPT_S * 1_000, rel=0.01)
    assert lives.pop(name(f"m:{SCOPE}/{place(3).key.hex()}")) == pytest.approx(5_000, abs=1_000)
    assert lives.pop(name(f"e:{SCOPE}/{place(2).entry_id}")) == pytest.approx(10_000, abs=1_000)
    assert len(lives) == 5
    assert list(lives.values()) == pytest.approx([30_000] * 5, abs=1_000)


async def test_each_put_takes_records_of_what_has_expired_with_it(stores, hot):
    for number, ttl_ms in enumerate((MINUTE_MS, *[50] * 10)):
        await stores.cache.put(place(number), Kept(b"answer", "m", (), 1, ttl_ms), most_bytes=MOST)
    await asyncio.sleep(0.1)
    assert await hot.call("ZCARD", name("order")) == 11
    await stores.cache.put(place(11), ANSWER, most_bytes=MOST)

    left = [f"{SCOPE}/{place(number).entry_id}".encode() for number in (0, 11)]
    assert await hot.call("ZRANGE", name("order"), 0, -1) == left
    assert await hot.call("HGET", name("index"), "#bytes") == b"%d" % (2 * SIZE)


async def test_an_overview_counts_nothing_that_has_expired_however_much_that_is(stores):
    for number, ttl_ms in enumerate((MINUTE_MS, *[300] * 150)):
        await stores.cache.put(place(number), Kept(b"answer", "m", (), 1, ttl_ms), most_bytes=MOST)
    await asyncio.sleep(0.35)

    assert await stores.cache.overview(ACME) == Overview(1, SIZE)


@pytest.mark.parametrize("lost", ["index", "order", "expiry"])
async def test_an_overview_counts_nothing_that_is_not_served(stores, hot, lost):
    await stores.cache.put(place(1), ANSWER, most_bytes=MOST)
    await hot.call("DEL", name(lost))

    assert await stores.cache.overview(ACME) == Overview(0, 0)
    assert await found(stores, range(3)) == []


@pytest.fixture
def evicting_redis() -> Iterator[RedisProcess]:
    server = RedisProcess.launch(options=("--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"))
    yield server
    server.close()


async def test_a_redis_that_evicts_gives_the_right_answer_or_none(evicting_redis):
    stores = open_cache(evicting_redis.url)
    await stores.start()
    chance = random.Random(6)
    latest: dict[int, bytes] = {}
    hits = misses = 0
    for turn in range(3_000):
        number = chance.randrange(800)
        latest[number] = b"%d:%d:" % (number, turn) + bytes(chance.randrange(12_000))
        answer = Kept(latest[number], "m", (), 1, MINUTE_MS)
        assert await stores.cache.put(place(number), answer, most_bytes=100 * MOST, sample=sample(number))
        asked = chance.randrange(800)
        told = await stores.cache.find(place(asked))
        assert told is None or told.payload == latest[asked]
        hits, misses = hits + (told is not None), misses + (told is None and asked in latest)

    assert evicting_redis.execute("INFO", "stats")["evicted_keys"] > 100
    assert hits > 100
    assert misses > 100
    await stores.cache.purge(ACME)
    assert await found(stores, range(800)) == []
    await stores.aclose()
