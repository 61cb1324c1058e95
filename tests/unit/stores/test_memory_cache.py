import asyncio
import random
from itertools import count

import pytest

from app.kernel.clock import ManualClock
from app.stores.cache import COUNTS_KEPT_S, Kept, Maker, Overview, Owner, Place, Sample, Samples, size_of
from app.stores.expiries import Expiries
from app.stores.memory_cache import MOST_OF_ALL, MemoryCacheStore
from app.stores.memory_makers import MOST_MAKERS

SCOPE, SEMANTIC = "organization", "5e" * 16
MINUTE_MS = 60_000
ANSWER = Kept(b"answer", "m", (), 1, MINUTE_MS)
SIZE = size_of(ANSWER, None)
MOST = 8 * SIZE
ACME, OTHER = Owner(1, "acme"), Owner(2, "other")


def place(number: int, owner: Owner = ACME) -> Place:
    return Place(owner, SCOPE, number.to_bytes(4, "big") * 8)


def sample(number: int) -> Sample:
    return Sample(place(number).entry_id, SEMANTIC, b"c" * 32, b"p" * 256, 1.0, b"text", 9_000_000_000_000)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(clock) -> MemoryCacheStore:
    return MemoryCacheStore(clock=clock)


async def held(cache: MemoryCacheStore, owner: Owner, numbers: range) -> list[int]:
    """Return which entries are there, without using them."""
    shelf = cache._shelves.get(owner.organization)
    there = set() if shelf is None else set(shelf.entries)
    return [number for number in numbers if (SCOPE, place(number).entry_id) in there]


def is_empty(cache: MemoryCacheStore) -> bool:
    return not (cache._shelves or cache._size_bytes or len(cache._expiries) or len(cache._makers) or cache._counts)


# -- the bound of all -------------------------------------------------------------------------------------------------


async def fill(cache: MemoryCacheStore, sizes: dict[str, int]) -> dict[str, Owner]:
    owners = {name: Owner(number, name) for number, name in enumerate(sizes)}
    for name, entries in sizes.items():
        for number in range(entries):
            assert await cache.put(place(number, owners[name]), ANSWER, most_bytes=MOST)
    return owners


async def test_all_together_hold_four_times_what_one_may(cache):
    for number in range(40):
        await cache.put(place(number, Owner(number, f"o{number}")), ANSWER, most_bytes=MOST)

    assert cache._size_bytes == MOST_OF_ALL * MOST
    assert sum(shelf.size_bytes for shelf in cache._shelves.values()) == cache._size_bytes


async def test_whoever_holds_the_most_gives_up_what_it_used_least(cache):
    owners = await fill(cache, {"a": 8, "b": 7, "c": 6, "d": 7, "e": 4})
    for number in (0, 1, 3):
        assert await cache.find(place(number, owners["a"])) == ANSWER
    assert await cache.read(owners["a"], scope=SCOPE, entry_id=place(4).entry_id) == ANSWER
    await cache.put(place(9, owners["e"]), ANSWER, most_bytes=MOST)

    assert await held(cache, owners["a"], range(9)) == [0, 1, 3, 4, 5, 6, 7]
    assert [len(cache._shelves[name].entries) for name in "abcde"] == [7, 7, 6, 7, 5]


async def test_an_organisation_of_a_small_share_loses_nothing_to_a_greedy_one(cache):
    owners = await fill(cache, {"small": 1, "a": 8, "b": 8, "c": 8})
    for number in range(100):
        await cache.put(place(number, owners["a"]), ANSWER, most_bytes=MOST)
        await cache.put(place(number, Owner(9, "greedy")), ANSWER, most_bytes=MOST)

    assert await held(cache, owners["small"], range(1)) == [0]


async def test_who_shrank_or_left_is_not_taken_for_the_largest(cache):
    owners = await fill(cache, {"a": 8, "b": 8, "c": 8, "d": 7})
    await cache.purge(owners["a"])
    await cache.purge(owners["b"], entry_id=place(0).entry_id)
    for number in range(8):
        await cache.put(place(number, Owner(9, "e")), ANSWER, most_bytes=MOST)
    await cache.put(place(0, Owner(9, "f")), ANSWER, most_bytes=MOST)
    await cache.put(place(1, Owner(9, "f")), ANSWER, most_bytes=MOST)

    assert sorted(len(shelf.entries) for shelf in cache._shelves.values()) == [2, 7, 7, 8, 8]
    await cache.put(place(2, Owner(9, "f")), ANSWER, most_bytes=MOST)
    assert sorted(len(shelf.entries) for shelf in cache._shelves.values()) == [3, 7, 7, 7, 8]


async def test_the_list_of_sizes_stays_as_short_as_the_list_of_organisations(cache):
    for number in range(5_000):
        await cache.put(place(number % 5, Owner(0, f"o{number % 3}")), ANSWER, most_bytes=MOST)

    assert len(cache._sizes._heap) <= 2 * 3 + 64


async def test_a_hundred_thousand_entries_of_any_size_stay_within_the_bound(cache, clock):
    chance = random.Random(6)
    most = 3_000_000
    owners = [Owner(number, f"o{number}") for number in range(9)]
    numbers = count()
    for number in range(100_000):
        payload = bytes(int(chance.paretovariate(0.8) * 100) % 200_000)
        answer = Kept(payload, "m", (), 1, chance.choice((500, MINUTE_MS)))
        with_sample = sample(number) if number % 3 == 0 else None
        where = place(next(numbers) if number % 4 else number // 2, owners[min(int(chance.expovariate(0.5)), 8)])
        await cache.put(where, answer, most_bytes=most, sample=with_sample)
        assert cache._shelves[where.owner.organization].size_bytes <= most
        assert cache._size_bytes <= MOST_OF_ALL * most
        if number % 100 == 0:
            clock.advance(0.05)
        if number % 10_000 == 0:
            cache.sweep()
            really = [len(entry.kept.payload) for shelf in cache._shelves.values() for entry in shelf.entries.values()]
            assert sum(really) < cache._size_bytes
            assert len(cache._expiries) == len(really)

    assert cache._size_bytes > 0.9 * MOST_OF_ALL * most


# -- time -------------------------------------------------------------------------------------------------------------


async def test_nothing_outlives_its_time_by_more_than_a_sweep(cache, clock):
    for number, ttl_ms in enumerate((1, 999, 1_000, 1_500, 86_400_000)):
        answer = Kept(b"", "m", (), 1, ttl_ms)
        await cache.put(place(number), answer, most_bytes=10 * MOST, sample=sample(number))
    await cache.find(place(9), maker="a", lease_ms=1_000)
    left = []
    for seconds in (0.001, 0.997, 0.002, 0.499, 0.001, 86_398.4, 0.1):
        clock.advance(seconds)
        cache.sweep()
        left.append((len(cache._shelves["acme"].entries) if cache._shelves else 0, len(cache._makers)))

    assert left == [(4, 1), (4, 1), (2, 0), (2, 0), (1, 0), (1, 0), (0, 0)]
    assert is_empty(cache)


async def test_what_has_expired_is_gone_when_it_is_looked_for(cache, clock):
    await cache.put(place(1), ANSWER, most_bytes=MOST, sample=sample(1))
    clock.advance(60)

    assert await cache.find(place(1)) is None
    assert is_empty(cache)
    assert await cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC) == Samples((), "")


async def test_counts_are_kept_for_ninety_days_after_the_last(cache, clock):
    cache.count(ACME, {"hits": 1})
    cache.count(OTHER, {"hits": 1})
    clock.advance(COUNTS_KEPT_S - 1)
    cache.count(ACME, {"hits": 1})
    clock.advance(1)
    assert await cache.counts(OTHER) == {}
    cache.sweep()
    assert list(cache._counts) == ["acme"]
    assert await cache.counts(ACME) == {"hits": 2}

    clock.advance(COUNTS_KEPT_S)
    cache.sweep()
    assert is_empty(cache)


async def test_replacing_and_purging_leave_nothing_behind(cache):
    for _ in range(3):
        for number in range(5):
            await cache.put(place(number), ANSWER, most_bytes=100 * SIZE, sample=sample(number))
    assert len(cache._expiries) == 5
    assert await cache.overview(ACME) == Overview(5, 5 * size_of(ANSWER, sample(1)))
    await cache.find(place(9), maker="a", lease_ms=MINUTE_MS)
    await cache.release(place(9), maker="a")
    await cache.purge(ACME)

    assert is_empty(cache)


# -- makers and samples -----------------------------------------------------------------------------------------------


async def test_makers_of_one_organisation_are_bounded_and_of_another_are_not_touched(cache):
    for number in range(MOST_MAKERS):
        assert await cache.find(place(number), maker="a", lease_ms=MINUTE_MS) == Maker("a", is_me=True)

    assert await cache.find(place(MOST_MAKERS), maker="a", lease_ms=MINUTE_MS) is None
    assert await cache.find(place(0), maker="a", lease_ms=MINUTE_MS) == Maker("a", is_me=True)
    assert await cache.find(place(0, OTHER), maker="b", lease_ms=MINUTE_MS) == Maker("b", is_me=True)
    await cache.release(place(0), maker="a")
    assert await cache.find(place(MOST_MAKERS), maker="a", lease_ms=MINUTE_MS) == Maker("a", is_me=True)


async def test_a_lease_that_was_renewed_outlives_the_sweep_of_its_first_end(cache, clock):
    await cache.find(place(1), maker="a", lease_ms=2_000)
    await cache.renew(place(1), maker="a", lease_ms=30_000)
    await cache.find(place(2), maker="a", lease_ms=2_000)
    await cache.release(place(2), maker="a")
    await cache.find(place(2), maker="b", lease_ms=30_000)
    clock.advance(10)
    cache.sweep()

    assert await cache.find(place(1)) == Maker("a", is_me=False)
    assert await cache.find(place(2)) == Maker("b", is_me=False)
    assert len(cache._makers._expiries) == 2


async def test_an_entry_whose_sample_made_room_takes_no_other_s_with_it(cache, monkeypatch):
    monkeypatch.setattr("app.stores.memory_shelf.MOST_SAMPLES", 2)
    for number in range(3):
        await cache.put(place(number), ANSWER, most_bytes=100 * SIZE, sample=sample(number))
    await cache.purge(ACME, entry_id=place(1).entry_id)
    await cache.purge(ACME, entry_id=place(2).entry_id)
    await cache.put(place(3), ANSWER, most_bytes=100 * SIZE, sample=sample(3))
    await cache.purge(ACME, entry_id=place(0).entry_id)

    found = await cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC)
    assert found.samples == (sample(3),)


def test_nothing_but_a_purge_ever_suspends(cache):
    for step in (
        cache.put(place(1), ANSWER, most_bytes=MOST, sample=sample(1)),
        cache.find(place(2), maker="a", lease_ms=1),
        cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC),
        cache.overview(ACME),
    ):
        with pytest.raises(StopIteration):
            step.send(None)


async def test_a_purge_lets_others_run_and_spares_what_expires_or_comes_meanwhile(cache, clock):
    for number in range(1_200):
        await cache.put(place(number), ANSWER, most_bytes=5_000 * SIZE)
    purging = asyncio.create_task(cache.purge(ACME))
    await asyncio.sleep(0)
    assert len(cache._shelves["acme"].entries) == 700
    await cache.put(place(5_000), ANSWER, most_bytes=5_000 * SIZE)
    clock.advance(60)
    cache.sweep()

    assert await purging == 500
    assert is_empty(cache)


# -- expiries ---------------------------------------------------------------------------------------------------------


def test_an_item_that_left_does_not_expire():
    expiries: Expiries[str] = Expiries()
    expiries.add("a", at_ms=1_500)
    expiries.add("b", at_ms=1_500)
    expiries.discard("a", at_ms=1_500)
    expiries.discard("a", at_ms=1_500)
    expiries.discard("c", at_ms=99_500)

    assert expiries.take_due(1_499) == []
    assert expiries.take_due(1_500) == ["b"]
    assert expiries.take_due(9_999) == []
    assert len(expiries) == 0


def test_an_item_that_comes_when_its_time_has_passed_is_due_at_once():
    expiries: Expiries[str] = Expiries()
    assert expiries.take_due(5_000_000) == []
    expiries.add("late", at_ms=10)
    expiries.add("next", at_ms=5_001_000)

    assert expiries.take_due(5_000_000) == ["late"]
    assert expiries.take_due(9_000_000_000) == ["next"]
