"""Where answers are looked up and kept: ages, sizes, seals, and a store that is away."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest

from app.cache.answers import MAX_BYTES, Answered, Sealer
from app.cache.question import Question
from app.cache.shelf import Found, Shelf, Spot
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import ManualClock
from app.stores.cache import Maker, Owner, Place
from app.stores.errors import StoreUnavailable
from app.stores.memory_cache import MemoryCacheStore
from providers.types import Choice, Completion, TextPart

MOST = 64 << 20


def spot_of(number: int = 1, scope: str = "organization:aa") -> Spot:
    key = bytes([number]) * 32
    return Spot(Place(Owner(3, "aa"), scope, key), Question(key=key))


class Shelves:
    """A store, and shelves on it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryCacheStore(clock=self.clock)
        self.tasks = TaskSupervisor()

    def shelf(self, *, seal_key: bytes = b"k" * 32, maker: str = "") -> Shelf:
        return Shelf(
            self.store,
            sealer=Sealer(seal_key),
            clock=self.clock,
            spawn=self.tasks.spawn,
            maker=maker,
            most_bytes=MOST,
        )

    def answered(self, text: str = "hello", **more: Any) -> Answered:
        choice = Choice(index=0, content=[TextPart(text=text)], finish_reason="stop")
        completion = Completion(id="1", model="m", created=1, choices=[choice])
        made = Answered(
            provider="p", model="m", upstream_model="u", created_ms=self.clock.wall_ns // 10**6, completion=completion
        )
        return msgspec.structs.replace(made, **more)


@pytest.fixture
def shelves() -> Shelves:
    return Shelves()


async def put(shelf: Shelf, spot: Spot, answered: Answered, *, ttl_s: int = 60) -> None:
    await shelf.put(spot, answered, ttl_s=ttl_s, tags={"team": "blue"}, sample=None)


async def find(shelf: Shelf, spot: Spot, **more: Any) -> Found | Maker | None:
    return await shelf.find(spot, **{"max_age_s": None, "makes": False, **more})


@pytest.mark.parametrize("size", [5, 5_000, 40_000, 500_000])
async def test_what_is_put_is_found(shelves: Shelves, size: int) -> None:
    shelf, answered = shelves.shelf(), shelves.answered("x" * size)
    await put(shelf, spot_of(), answered)
    assert await find(shelf, spot_of()) == Found(answered, spot_of().place.entry_id, 0)
    assert await find(shelf, spot_of(2)) is None
    assert await find(shelf, spot_of(1, "organization:bb")) is None


async def test_it_ages_and_expires(shelves: Shelves) -> None:
    shelf = shelves.shelf()
    await put(shelf, spot_of(), shelves.answered(), ttl_s=10)
    shelves.clock.advance(4.9)
    found = await find(shelf, spot_of())
    assert isinstance(found, Found)
    assert found.age_s == 4
    assert await find(shelf, spot_of(), max_age_s=4) is not None
    assert await find(shelf, spot_of(), max_age_s=3) is None
    shelves.clock.advance(5.2)
    assert await find(shelf, spot_of()) is None


async def test_what_is_longer_than_may_be_is_not_kept(shelves: Shelves) -> None:
    shelf = shelves.shelf()
    await put(shelf, spot_of(), shelves.answered("x" * (MAX_BYTES + 1)))
    await put(shelf, spot_of(2), shelves.answered(body=b"x" * MAX_BYTES))
    assert [await find(shelf, spot_of(number)) for number in (1, 2)] == [None, None]


async def test_what_has_a_number_of_too_many_bits_is_not_kept_and_nobody_waits_for_it(shelves: Shelves) -> None:
    one, other = shelves.shelf(maker="one"), shelves.shelf(maker="other")
    assert await find(one, spot_of(), makes=True) == Maker("one", is_me=True)
    part = TextPart(text="x", extras={"score": 10**30})
    odd = Completion(choices=[Choice(index=0, content=[part], finish_reason="stop")], id="a", model="m", created=1)
    await put(one, spot_of(), msgspec.structs.replace(shelves.answered(), completion=odd))
    assert await find(other, spot_of(), makes=True) == Maker("other", is_me=True)
    await other.release(spot_of())
    await shelves.tasks.drain(patience_s=0)


async def test_what_was_sealed_under_another_key_is_none(shelves: Shelves) -> None:
    await put(shelves.shelf(), spot_of(), shelves.answered())
    assert await find(shelves.shelf(seal_key=b"l" * 32), spot_of()) is None


async def test_what_was_moved_to_another_place_is_none(shelves: Shelves) -> None:
    shelf = shelves.shelf()
    await put(shelf, spot_of(), shelves.answered())
    stolen = await shelves.store.find(spot_of().place)
    assert stolen is not None
    assert not isinstance(stolen, Maker)
    for other in (spot_of(2), spot_of(1, "team:aa"), spot_of(1, "organization:bb")):
        await shelves.store.put(other.place, stolen, most_bytes=MOST)
        assert await find(shelf, other) is None


async def test_one_makes_and_others_are_told_who(shelves: Shelves) -> None:
    one, other = shelves.shelf(maker="one"), shelves.shelf(maker="other")
    assert await find(one, spot_of(), makes=True) == Maker("one", is_me=True)
    assert await find(other, spot_of(), makes=True) == Maker("one", is_me=False)
    await other.release(spot_of())
    assert await find(other, spot_of(), makes=True) == Maker("one", is_me=False)
    await one.release(spot_of())
    assert await find(other, spot_of(), makes=True) == Maker("other", is_me=True)
    await put(other, spot_of(), shelves.answered())
    assert isinstance(await find(one, spot_of(), makes=True), Found)
    await shelves.tasks.drain(patience_s=0)


async def test_a_store_that_is_away_costs_nothing_but_the_hit(
    shelves: Shelves, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = shelves.shelf(maker="one")
    assert await find(shelf, spot_of(), makes=True) == Maker("one", is_me=True)

    def away(*args: Any, **more: Any) -> Coroutine[Any, Any, Any]:
        raise StoreUnavailable("down")

    for name in ("find", "put", "release", "renew"):
        monkeypatch.setattr(shelves.store, name, away)
    assert await find(shelf, spot_of()) is None
    await put(shelf, spot_of(), shelves.answered())
    await shelf.release(spot_of())
    await asyncio.sleep(0)
    await shelves.tasks.drain(patience_s=0)
