import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from app.stores.cache import (
    MOST_SAMPLES,
    SAMPLES_AT_ONCE,
    Kept,
    Maker,
    Overview,
    Owner,
    Place,
    Sample,
    Samples,
    size_of,
)
from app.stores.protocols import Stores

ACME, OTHER = Owner(7, "ac" * 16), Owner(7, "0b" * 16)
SCOPE, TEAM = f"organization:{ACME.organization}", "team:7e"
SEMANTIC = "5e" * 16
MOST = 1_000_000
MINUTE_MS = 60_000
INDEX = ("index", "order", "expiry")
BINARY = bytes(range(256)) + b"\r\n$-1\r\n\0"


def key_of(number: int) -> bytes:
    return number.to_bytes(2, "big") * 16


def place(number: int = 1, *, owner: Owner = ACME, scope: str = SCOPE) -> Place:
    return Place(owner, scope, key_of(number))


def kept(payload: bytes = b"answer", *, model: str = "m", tags: tuple[str, ...] = (), ttl_ms: int = MINUTE_MS) -> Kept:
    return Kept(payload, model, tags, 1_800_000_000_000, ttl_ms)


def sample(number: int = 1, *, semantic: str = SEMANTIC, expires_ms: int = 9_000_000_000_000) -> Sample:
    return Sample(place(number).entry_id, semantic, BINARY[:32], BINARY, 0.1 + number, b"text %d" % number, expires_ms)


async def put(stores: Stores, where: Place, what: Kept | None = None, **more: object) -> bool:
    return await stores.cache.put(where, what or kept(), **{"most_bytes": MOST, **more})


async def found(stores: Stores, numbers: range, **more: object) -> list[int]:
    return [number for number in numbers if isinstance(await stores.cache.find(place(number, **more)), Kept)]


async def all_samples(stores: Stores, after: str = "", *, semantic: str = SEMANTIC, scope: str = SCOPE) -> Samples:
    """Read on until there are no more."""
    first = answer = await stores.cache.samples(ACME, scope=scope, semantic=semantic, after=after)
    collected = list(answer.samples)
    while answer.has_more:
        assert len(answer.samples) <= SAMPLES_AT_ONCE
        answer = await stores.cache.samples(ACME, scope=scope, semantic=semantic, after=answer.cursor)
        assert not answer.is_anew
        collected += answer.samples
    return Samples(tuple(collected), answer.cursor, first.is_anew)


@pytest.fixture
def wipe(installation) -> Callable[[], Awaitable[None]]:
    """Let the store lose everything, as it does when somebody empties the Redis."""

    async def empty() -> None:
        if installation.flush is None:
            await installation.stores.cache.purge(ACME)
        else:
            installation.flush()

    return empty


# -- entries ----------------------------------------------------------------------------------------------------------


async def test_what_was_put_is_found_as_it_was(installation):
    what = kept(BINARY, model="mödel", tags=("team=blue\n", "run=7"), ttl_ms=MINUTE_MS)
    assert await put(installation.stores, place(), what)

    assert await installation.peer.cache.find(place()) == what
    assert await installation.peer.cache.read(ACME, scope=SCOPE, entry_id=place().entry_id) == what


async def test_a_large_and_an_empty_payload_are_found(stores):
    for number, payload in enumerate((b"", b"\x00", BINARY * 2_000)):
        assert await put(stores, place(number), kept(payload), most_bytes=10 * MOST)
        assert await stores.cache.find(place(number)) == kept(payload)


async def test_what_was_not_put_is_not_found(stores):
    await put(stores, place(1))

    assert await stores.cache.find(place(2)) is None
    assert await stores.cache.read(ACME, scope=SCOPE, entry_id=place(2).entry_id) is None


async def test_the_public_id_is_the_first_half_of_the_key(stores):
    key = bytes(range(32))

    assert Place(ACME, SCOPE, key).entry_id == "000102030405060708090a0b0c0d0e0f"


async def test_keys_that_share_their_public_id_do_not_share_an_answer(stores):
    one, two = (Place(ACME, SCOPE, b"k" * 16 + end * 16) for end in (b"1", b"2"))
    await put(stores, one, kept(b"one"))

    assert await stores.cache.find(two) is None
    await put(stores, two, kept(b"two"))
    assert await stores.cache.find(one) is None
    assert await stores.cache.find(two) == kept(b"two")
    assert await stores.cache.overview(ACME) == Overview(1, size_of(kept(b"two"), None))


async def test_an_entry_lives_as_long_as_it_should(installation):
    stores = installation.stores
    await put(stores, place(1), kept(ttl_ms=400))
    await put(stores, place(2), kept(ttl_ms=MINUTE_MS))
    assert await found(stores, range(3)) == [1, 2]
    await installation.pass_s(0.45)

    assert await stores.cache.read(ACME, scope=SCOPE, entry_id=place(1).entry_id) is None
    assert await found(stores, range(3)) == [2]
    assert await stores.cache.overview(ACME) == Overview(1, size_of(kept(), None))


async def test_an_entry_without_time_to_live_is_refused(stores):
    assert not await put(stores, place(), kept(ttl_ms=0))
    assert await stores.cache.find(place()) is None


async def test_two_organisations_with_the_same_key_never_meet(installation):
    stores, peer = installation.stores, installation.peer
    assert await put(stores, place(owner=ACME), kept(b"acme's"), sample=sample())
    assert await stores.cache.find(place(2, owner=ACME), maker="a", lease_ms=MINUTE_MS) == Maker("a", is_me=True)
    stores.cache.count(ACME, {"hits": 1})

    assert await peer.cache.find(place(owner=OTHER)) is None
    assert await peer.cache.find(place(2, owner=OTHER), maker="b", lease_ms=MINUTE_MS) == Maker("b", is_me=True)
    assert await peer.cache.read(OTHER, scope=SCOPE, entry_id=place().entry_id) is None
    assert await peer.cache.samples(OTHER, scope=SCOPE, semantic=SEMANTIC) == Samples((), "")
    assert await peer.cache.overview(OTHER) == Overview(0, 0)
    assert await peer.cache.counts(OTHER) == {}
    assert await peer.cache.purge(OTHER) == 0
    await put(peer, place(owner=OTHER), kept(b"other's"))
    assert await stores.cache.find(place(owner=ACME)) == kept(b"acme's")
    assert await stores.cache.purge(ACME) == 1
    assert await peer.cache.find(place(owner=OTHER)) == kept(b"other's")


async def test_what_one_organisation_keeps_does_not_push_out_another_s(stores):
    await put(stores, place(0, owner=OTHER), most_bytes=10_000)
    for number in range(30):
        await put(stores, place(number), most_bytes=10_000)

    assert await found(stores, range(1), owner=OTHER) == [0]
    assert await stores.cache.overview(OTHER) == Overview(1, size_of(kept(), None))


async def test_scopes_of_an_organisation_are_apart(stores):
    await put(stores, place(scope=SCOPE), kept(b"all"))
    await put(stores, place(scope=TEAM), kept(b"team"))

    assert await stores.cache.find(place(scope=SCOPE)) == kept(b"all")
    assert await stores.cache.find(place(scope=TEAM)) == kept(b"team")
    assert await stores.cache.find(place(scope="team:00")) is None


# -- makers -----------------------------------------------------------------------------------------------------------


async def test_of_many_at_once_one_becomes_maker(installation):
    sides = (installation.stores, installation.peer)
    told = await asyncio.gather(
        *[sides[n % 2].cache.find(place(), maker=f"m{n}", lease_ms=MINUTE_MS) for n in range(50)]
    )

    assert [each.is_me for each in told].count(True) == 1
    assert len({each.id for each in told}) == 1


async def test_who_only_looks_takes_nothing(installation):
    assert await installation.stores.cache.find(place()) is None
    assert await installation.stores.cache.find(place(), maker="a", lease_ms=MINUTE_MS) == Maker("a", is_me=True)
    assert await installation.peer.cache.find(place()) == Maker("a", is_me=False)


async def test_a_maker_that_finds_again_is_still_the_maker(installation):
    for lease_ms in (300, MINUTE_MS):
        assert await installation.stores.cache.find(place(), maker="a", lease_ms=lease_ms) == Maker("a", is_me=True)
    await installation.pass_s(0.4)

    assert await installation.peer.cache.find(place(), maker="b", lease_ms=300) == Maker("a", is_me=False)


async def test_putting_ends_the_maker_s_lease(installation):
    await installation.stores.cache.find(place(), maker="a", lease_ms=MINUTE_MS)
    await put(installation.stores, place(), maker="a")

    assert await installation.peer.cache.find(place(), maker="b", lease_ms=MINUTE_MS) == kept()
    await installation.peer.cache.purge(ACME)
    assert await installation.peer.cache.find(place(), maker="b", lease_ms=MINUTE_MS) == Maker("b", is_me=True)


async def test_what_is_refused_ends_the_maker_s_lease_too(stores):
    await stores.cache.find(place(), maker="a", lease_ms=MINUTE_MS)

    assert not await put(stores, place(), kept(bytes(MOST)), maker="a")
    assert await stores.cache.find(place()) is None


async def test_putting_does_not_end_another_maker_s_lease(stores):
    await stores.cache.find(place(), maker="a", lease_ms=MINUTE_MS)
    await put(stores, place(), maker="b")
    await put(stores, place())
    await stores.cache.purge(ACME)

    assert await stores.cache.find(place()) == Maker("a", is_me=False)


async def test_a_lease_expires_and_is_free(installation):
    stores, peer = installation.stores, installation.peer
    await stores.cache.find(place(), maker="a", lease_ms=150)
    await installation.pass_s(0.2)

    assert not await stores.cache.renew(place(), maker="a", lease_ms=MINUTE_MS)
    assert not await stores.cache.release(place(), maker="a")
    assert await peer.cache.find(place()) is None
    assert await peer.cache.find(place(), maker="b", lease_ms=MINUTE_MS) == Maker("b", is_me=True)


async def test_renewing_extends_a_lease(installation):
    await installation.stores.cache.find(place(), maker="a", lease_ms=300)
    assert await installation.stores.cache.renew(place(), maker="a", lease_ms=MINUTE_MS)
    await installation.pass_s(0.4)

    assert await installation.peer.cache.find(place(), maker="b", lease_ms=300) == Maker("a", is_me=False)


async def test_only_the_maker_renews_and_releases(stores):
    await stores.cache.find(place(), maker="a", lease_ms=MINUTE_MS)

    assert not await stores.cache.renew(place(), maker="b", lease_ms=MINUTE_MS)
    assert not await stores.cache.release(place(), maker="b")
    assert not await stores.cache.release(place(2), maker="a")
    assert await stores.cache.release(place(), maker="a")
    assert not await stores.cache.release(place(), maker="a")
    assert await stores.cache.find(place(), maker="b", lease_ms=MINUTE_MS) == Maker("b", is_me=True)


# -- bounds -----------------------------------------------------------------------------------------------------------


async def test_the_oldest_make_room(stores):
    size = size_of(kept(), None)
    for number in range(10):
        assert await put(stores, place(number), most_bytes=5 * size)

    assert await found(stores, range(10)) == [5, 6, 7, 8, 9]
    assert await stores.cache.overview(ACME) == Overview(5, 5 * size)


async def test_finding_does_not_make_an_entry_younger_and_putting_again_does(stores):
    size = size_of(kept(), None)
    for number in (1, 2, 3, 4, 1):
        await put(stores, place(number), most_bytes=4 * size)
    await found(stores, range(5))
    await put(stores, place(5), most_bytes=4 * size)

    assert await found(stores, range(6)) == [1, 3, 4, 5]


async def test_all_scopes_of_an_organisation_count_together(stores):
    size = size_of(kept(), None)
    await put(stores, place(1, scope=TEAM), most_bytes=4 * size)
    for number in range(2, 6):
        await put(stores, place(number), most_bytes=4 * size)

    assert await stores.cache.find(place(1, scope=TEAM)) is None
    assert await found(stores, range(6)) == [2, 3, 4, 5]


async def test_what_has_expired_makes_room_before_what_has_not(installation):
    stores, size = installation.stores, size_of(kept(), None)
    for number, ttl_ms in enumerate((*[MINUTE_MS] * 2, *[150] * 20, *[MINUTE_MS] * 2)):
        await put(stores, place(number), kept(ttl_ms=ttl_ms))
    await installation.pass_s(0.2)
    await put(stores, place(24), most_bytes=5 * size)

    assert await found(stores, range(25)) == [0, 1, 22, 23, 24]


async def test_a_lowered_bound_is_kept_at_the_next_put(stores):
    size = size_of(kept(), None)
    for number in range(500):
        await put(stores, place(number), most_bytes=500 * size)
    assert (await stores.cache.overview(ACME)).entries == 500
    await put(stores, place(500), most_bytes=4 * size)

    assert await found(stores, range(501)) == [497, 498, 499, 500]
    assert await stores.cache.overview(ACME) == Overview(4, 4 * size)


async def test_a_quarter_of_the_bound_is_the_most_of_one_entry(stores):
    room = 10_000 - size_of(kept(b""), None)
    await put(stores, place(1), kept(b"before"))

    assert not await put(stores, place(1), kept(bytes(room + 1)), most_bytes=40_000)
    assert await stores.cache.find(place(1)) == kept(b"before")
    assert await put(stores, place(1), kept(bytes(room)), most_bytes=40_000)
    assert await stores.cache.find(place(1)) == kept(bytes(room))


async def test_a_sample_counts_for_what_it_holds(stores):
    await put(stores, place(), sample=sample())

    assert await stores.cache.overview(ACME) == Overview(1, size_of(kept(), sample()))
    assert size_of(kept(), sample()) > size_of(kept(), None) + len(BINARY)


async def test_replacing_an_entry_replaces_its_records(stores):
    await put(stores, place(), kept(model="old", tags=("v=1",)), sample=sample(1, semantic="a" * 32))
    await put(stores, place(), kept(model="new", tags=("v=2",)), sample=sample(2, semantic="b" * 32))

    assert await stores.cache.overview(ACME) == Overview(1, size_of(kept(model="new", tags=("v=2",)), sample(2)))
    assert (await all_samples(stores, semantic="a" * 32)).samples == ()
    assert (await all_samples(stores, semantic="b" * 32)).samples == (sample(2, semantic="b" * 32),)
    assert await stores.cache.purge(ACME, model="old") == 0
    assert await stores.cache.purge(ACME, tag="v=1") == 0
    assert await stores.cache.purge(ACME, model="new", tag="v=2") == 1


# -- samples ----------------------------------------------------------------------------------------------------------


async def test_samples_come_in_the_order_of_their_putting_and_once(installation):
    for number in range(3):
        await put(installation.stores, place(number), sample=sample(number))
    first = await installation.peer.cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC)
    assert first.samples == tuple(map(sample, range(3)))
    assert not first.is_anew
    assert not first.has_more
    nothing = await installation.peer.cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC, after=first.cursor)
    assert nothing == Samples((), first.cursor)

    await put(installation.stores, place(3), sample=sample(3))
    second = await installation.peer.cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC, after=first.cursor)
    assert second.samples == (sample(3),)
    assert not second.is_anew


async def test_entries_without_samples_have_none(stores):
    await put(stores, place())

    assert await stores.cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC) == Samples((), "")


async def test_semantic_partitions_and_scopes_are_apart(stores):
    await put(stores, place(1), sample=sample(1))
    await put(stores, place(2, scope=TEAM), sample=sample(2))
    await put(stores, place(3), sample=sample(3, semantic="0" * 32))

    assert (await all_samples(stores)).samples == (sample(1),)
    assert (await all_samples(stores, scope=TEAM)).samples == (sample(2),)
    assert (await all_samples(stores, semantic="0" * 32)).samples == (sample(3, semantic="0" * 32),)


async def test_many_samples_come_in_parts(stores):
    most = 600 * (size_of(kept(), sample(1_000)) + 10)
    for number in range(2 * SAMPLES_AT_ONCE + 7):
        await put(stores, place(number), sample=sample(number), most_bytes=most)
    first = await stores.cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC)
    assert first.samples == tuple(map(sample, range(SAMPLES_AT_ONCE)))
    assert first.has_more

    rest = await all_samples(stores, first.cursor)
    assert rest.samples == tuple(map(sample, range(SAMPLES_AT_ONCE, 2 * SAMPLES_AT_ONCE + 7)))


async def test_a_sample_goes_with_its_entry(stores):
    size = size_of(kept(), sample())
    for number in range(6):
        await put(stores, place(number), sample=sample(number), most_bytes=4 * size)
    await stores.cache.purge(ACME, entry_id=place(3).entry_id)

    assert [each.text for each in (await all_samples(stores)).samples] == [b"text 2", b"text 4", b"text 5"]


async def test_a_sample_that_has_expired_is_not_given_out(stores):
    await put(stores, place(1), sample=sample(1, expires_ms=1))
    await put(stores, place(2), sample=sample(2))

    assert (await all_samples(stores)).samples == (sample(2),)


async def test_a_sample_expires_with_its_entry_and_the_others_stay(installation):
    stores = installation.stores
    await put(stores, place(1), sample=sample(1))
    await put(stores, place(2), kept(ttl_ms=100), sample=sample(2))
    await installation.pass_s(0.15)
    await stores.cache.overview(ACME)

    assert (await all_samples(stores)).samples == (sample(1),)


async def test_samples_expire_with_the_last_of_their_entries(installation):
    stores = installation.stores
    await put(stores, place(1), kept(ttl_ms=300), sample=sample(1))
    await put(stores, place(2), kept(ttl_ms=100), sample=sample(2))
    cursor = (await all_samples(stores)).cursor
    assert cursor
    await installation.pass_s(0.35)
    stores.sweep()

    assert await stores.cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC, after=cursor) == Samples((), "", True)


async def test_a_cursor_from_before_a_wipe_begins_anew(installation, wipe):
    stores = installation.stores
    for number in range(3):
        await put(stores, place(number), sample=sample(number))
    cursor = (await all_samples(stores)).cursor
    await wipe()

    assert await stores.cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC, after=cursor) == Samples((), "", True)
    for number in range(5):
        await put(stores, place(number), sample=sample(10 + number))
    answer = await stores.cache.samples(ACME, scope=SCOPE, semantic=SEMANTIC, after=cursor)
    assert answer.is_anew
    assert answer.samples == tuple(sample(10 + number) for number in range(5))


async def test_a_cursor_that_nothing_is_left_of_begins_anew(stores):
    size = size_of(kept(), sample())
    await put(stores, place(0), sample=sample(0), most_bytes=4 * size)
    cursor = (await all_samples(stores)).cursor
    for number in range(1, 4):
        await put(stores, place(number), sample=sample(number), most_bytes=4 * size)
    await stores.cache.purge(ACME, entry_id=place(0).entry_id)
    assert not (await all_samples(stores, cursor)).is_anew
    await stores.cache.purge(ACME, entry_id=place(1).entry_id)

    answer = await all_samples(stores, cursor)
    assert answer.is_anew
    assert answer.samples == (sample(2), sample(3))


async def test_a_partition_keeps_the_newest_ten_thousand(stores):
    most = 20_000 * size_of(kept(), sample())
    numbers = count()
    for _ in range(101):
        batch = [next(numbers) for _ in range(100)]
        await asyncio.gather(*[put(stores, place(n), kept(b""), sample=sample(n), most_bytes=most) for n in batch])

    every = [each.text for each in (await all_samples(stores)).samples]
    assert len(every) == MOST_SAMPLES
    assert every == [b"text %d" % number for number in range(100, 10_100)]
    assert (await stores.cache.overview(ACME)).entries == 10_100


# -- purging ----------------------------------------------------------------------------------------------------------

ENTRIES = {
    1: {"scope": SCOPE, "model": "a", "tags": ("team=blue", "run=1")},
    2: {"scope": SCOPE, "model": "b", "tags": ("team=blue",)},
    3: {"scope": SCOPE, "model": "b", "tags": ()},
    4: {"scope": TEAM, "model": "a", "tags": ("run=1",)},
    5: {"scope": TEAM, "model": "a=b", "tags": ("team=blueish", "model=a")},
}
PURGES = [
    ({}, {1, 2, 3, 4, 5}),
    ({"entry_id": place(2).entry_id}, {2}),
    ({"entry_id": "f" * 32}, set()),
    ({"model": "a"}, {1, 4}),
    ({"model": "a=b"}, {5}),
    ({"model": ""}, set()),
    ({"tag": "team=blue"}, {1, 2}),
    ({"tag": "run"}, set()),
    ({"tag": ""}, set()),
    ({"scope": TEAM}, {4, 5}),
    ({"scope": "team"}, set()),
    ({"model": "a", "tag": "run=1"}, {1, 4}),
    ({"model": "b", "tag": "team=blue"}, {2}),
    ({"model": "a", "scope": TEAM}, {4}),
    ({"model": "a", "tag": "run=1", "scope": SCOPE}, {1}),
    ({"entry_id": place(1).entry_id, "scope": TEAM}, set()),
    ({"entry_id": place(1).entry_id, "scope": SCOPE, "model": "a", "tag": "team=blue"}, {1}),
]


@pytest.mark.parametrize(("criteria", "removed"), PURGES)
async def test_a_purge_removes_what_matches_all_that_is_given(installation, criteria, removed):
    stores, peer = installation.stores, installation.peer
    for number, about in ENTRIES.items():
        what = kept(model=about["model"], tags=about["tags"])
        await put(stores, place(number, scope=about["scope"]), what, sample=sample(number))

    assert await peer.cache.purge(ACME, **criteria) == len(removed)
    left = {
        number
        for number, about in ENTRIES.items()
        if await stores.cache.find(place(number, scope=about["scope"])) is not None
    }
    assert left == ENTRIES.keys() - removed
    samples = [*(await all_samples(stores)).samples, *(await all_samples(stores, scope=TEAM)).samples]
    assert {int(each.text[5:]) for each in samples} == left
    assert (await stores.cache.overview(ACME)).entries == len(left)
    assert await peer.cache.purge(ACME, **criteria) == 0


async def test_a_purge_of_everything_leaves_nothing(installation):
    stores = installation.stores
    for number in range(450):
        await put(stores, place(number), sample=sample(number))

    assert await stores.cache.purge(ACME) == 450
    assert await stores.cache.overview(ACME) == Overview(0, 0)
    assert await found(stores, range(450)) == []
    if stores.hot is not None:
        assert await stores.hot.call("EXISTS", *[f"{{p07}}:cache:{ACME.organization}:{each}" for each in INDEX]) == 0


async def test_others_are_served_during_a_purge(installation):
    stores = installation.stores
    for start in range(0, 3_000, 100):
        await asyncio.gather(
            *[put(stores, place(number), most_bytes=100 * MOST) for number in range(start, start + 100)]
        )
    purging = asyncio.create_task(stores.cache.purge(ACME))
    served = 0
    while not purging.done():
        await asyncio.sleep(0)
        await installation.peer.cache.find(place(1, owner=OTHER))
        served += 1

    assert purging.result() == 3_000
    assert served > 3


# -- counts -----------------------------------------------------------------------------------------------------------


async def test_counts_add_up(installation):
    installation.stores.cache.count(ACME, {"hits": 2, "misses": 1})
    await installation.stores.cache.counts(ACME)
    installation.peer.cache.count(ACME, {"hits": 3})

    assert await installation.peer.cache.counts(ACME) == {"hits": 5, "misses": 1}


async def test_nothing_counted_is_nothing(stores):
    assert await stores.cache.counts(ACME) == {}
    assert await stores.cache.overview(ACME) == Overview(0, 0)
