"""Like questions: found in memory, told apart by guards, forgotten when their answers are gone."""

import asyncio

import pytest

from app.cache.answers import Answered, Sealer
from app.cache.embedding import NotEmbedded, vector_of
from app.cache.nearest import Partitions
from app.cache.question import Question
from app.cache.semantic import _TURNS, Semantic
from app.cache.shelf import Shelf, Spot
from app.kernel.clock import ManualClock
from app.stores.cache import Owner, Place
from app.stores.errors import StoreUnavailable
from app.stores.memory_cache import MemoryCacheStore
from providers.types import Choice, Completion, TextPart

MINE, OTHERS = Owner(3, "aa" * 16), Owner(4, "bb" * 16)
MIB = 1 << 20


class Angles:
    """Embeds a text as the direction that its first word names, in degrees."""

    id = "angles"
    threshold = 0.9

    def __init__(self):
        self.embedded = []

    async def embed(self, text):
        self.embedded.append(text)
        degrees = text.split()[0]
        if degrees == "?":
            raise NotEmbedded("no")
        turned = complex(1, 0) * (1j ** (float(degrees) / 90))
        return vector_of([turned.real, turned.imag] * 8)


class Store(MemoryCacheStore):
    """A store that may be down or slow, and says what it was asked for."""

    def __init__(self, clock):
        super().__init__(clock=clock)
        self.is_down = False
        self.asked = 0
        self.pages = asyncio.Semaphore(1_000)

    async def samples(self, owner, *, scope, semantic, after=""):
        self.asked += 1
        await self.pages.acquire()
        if self.is_down:
            raise StoreUnavailable("down")
        return await super().samples(owner, scope=scope, semantic=semantic, after=after)


class World:
    def __init__(self):
        self.clock = ManualClock(wall_ns=1_700_000_000 * 10**9)
        self.store = Store(self.clock)
        self.spawned = []
        self.refused = {}
        self.read = []

    def worker(self, embedder=None):
        shelf = Shelf(
            self.store,
            sealer=Sealer(b"k" * 32),
            clock=self.clock,
            spawn=self.spawn,
            maker="",
            most_bytes=64 * MIB,
        )
        return Semantic(
            shelf,
            embedder=embedder or Angles(),
            partitions=Partitions(),
            spawn=self.spawn,
            differ=lambda a, b: self.refused.get(frozenset((a, b))),
            read=self.read.append,
        )

    def spawn(self, work):
        self.spawned.append(asyncio.ensure_future(work))

    async def keep(self, worker, spot, *, ttl_s=60):
        sample = await worker.sample_of(spot, expires_ms=self.clock.now_ns() // 10**6 + ttl_s * 1_000)
        await worker._shelf.put(spot, answer(spot.question.text), ttl_s=ttl_s, tags={}, sample=sample)


def answer(text):
    choice = Choice(index=0, content=[TextPart(text=f"of {text}")], finish_reason="stop")
    completion = Completion(id="1", model="m", created=1, choices=[choice])
    return Answered(
        provider="p", model="m", upstream_model="u", created_ms=1_700_000_000_000, completion=completion, cost_nusd=7
    )


def spot(text, *, owner=MINE, scope="organization:a", partition=b"p" * 16):
    key = (text.encode() * 32)[:32]
    return Spot(Place(owner, scope, key), Question(key=key, partition=partition, text=text))


def said(found):
    return None if found is None else found.answered.completion.choices[0].content[0].text


@pytest.fixture
def world():
    return World()


async def find(worker, wanted, **more):
    return await worker.find(wanted, **{"threshold": None, "max_age_s": None, "judged": []} | more)


async def test_the_nearest_question_that_no_guard_tells_apart_is_answered_alike(world):
    worker = world.worker()
    for text in ("0 far", "20 near", "25 nearer"):
        await world.keep(worker, spot(text))
    found = await find(worker, spot("26 asked"))
    assert said(found) == "of 25 nearer"
    assert found.similarity == pytest.approx(0.9998, abs=0.01)
    assert found.entry_id == spot("25 nearer").place.entry_id
    world.refused[frozenset(("26 asked", "25 nearer"))] = "number"
    assert said(await find(worker, spot("26 asked"))) == "of 20 near"
    world.refused[frozenset(("26 asked", "20 near"))] = "number"
    assert await find(worker, spot("26 asked"), threshold=0.95) is None


async def test_what_is_further_than_the_threshold_is_not_found(world):
    worker = world.worker()
    await world.keep(worker, spot("0 there"))
    assert await find(worker, spot("26 asked")) is None, "0.899 is less than the embedder's 0.9"
    assert said(await find(worker, spot("26 asked"), threshold=0.8)) == "of 0 there"
    assert await find(worker, spot("2 asked"), threshold=0.99999) is None


@pytest.mark.parametrize(
    "other",
    [
        {"owner": OTHERS, "scope": "organization:b"},
        {"scope": "key:a"},
        {"partition": b"q" * 16},
    ],
)
async def test_others_and_other_conversations_are_never_found(world, other):
    worker = world.worker()
    await world.keep(worker, spot("5 there", **other))
    assert await find(worker, spot("5 asked")) is None
    assert said(await find(worker, spot("5 asked", **other))) == "of 5 there"


async def test_vectors_of_another_embedder_are_not_compared(world):
    worker, other = world.worker(), world.worker(Angles())
    other.embedder.id = "other"
    await world.keep(worker, spot("5 there"))
    assert await find(other, spot("5 asked")) is None


async def test_what_one_worker_keeps_all_find_and_the_store_is_asked_for_news_only(world):
    one, other = world.worker(), world.worker()
    await world.keep(one, spot("5 there"))
    assert said(await find(other, spot("5 asked"))) == "of 5 there"
    await world.keep(one, spot("50 later"))
    assert said(await find(other, spot("50 asked"))) == "of 50 later"
    assert said(await find(other, spot("5 asked"))) == "of 5 there"
    assert world.store.asked == 3


async def test_an_answer_that_is_gone_is_forgotten(world):
    worker = world.worker()
    await world.keep(worker, spot("5 there"))
    assert await find(worker, spot("5 asked")) is not None
    assert await world.store.purge(MINE, entry_id=spot("5 there").place.entry_id) == 1
    assert await find(worker, spot("5 asked")) is None
    assert len(worker._partitions) == 0


async def test_an_answer_that_has_expired_is_not_given(world):
    worker = world.worker()
    await world.keep(worker, spot("5 there"), ttl_s=10)
    world.clock.advance(9)
    assert await find(worker, spot("5 asked")) is not None
    assert await find(worker, spot("5 asked"), max_age_s=8) is None
    world.clock.advance(2)
    assert await find(worker, spot("5 asked")) is None


async def test_a_question_is_embedded_once_for_looking_and_keeping(world):
    worker = world.worker()
    await find(worker, spot("5 asked"))
    await world.keep(worker, spot("5 asked"))
    await find(worker, spot("5 asked"))
    assert worker.embedder.embedded == ["5 asked"]


async def test_the_guards_read_every_text_once_and_beforehand(world):
    worker = world.worker()
    await world.keep(worker, spot("5 there"))
    for _ in range(3):
        await find(worker, spot("5 asked"))
    assert world.read == ["5 asked", "5 there"]


async def test_a_store_that_is_down_or_a_text_without_a_vector_is_a_miss(world):
    worker = world.worker()
    await world.keep(worker, spot("5 there"))
    assert await find(worker, spot("? asked")) is None
    assert await worker.sample_of(spot("? asked"), expires_ms=0) is None
    world.store.is_down = True
    assert await find(worker, spot("5 asked")) is None
    world.store.is_down = False
    assert said(await find(worker, spot("5 asked"))) == "of 5 there"


async def test_a_question_without_words_to_compare_has_no_like(world):
    worker = world.worker()
    plain = spot("5 asked")._replace(question=Question(key=b"k" * 32))
    assert await find(worker, plain) is None
    assert await worker.sample_of(plain, expires_ms=0) is None


async def test_thousands_are_learnt_behind_the_first_question(world):
    one, other = world.worker(), world.worker()
    for number in range(1_200):
        await world.keep(one, spot(f"{number % 360}.{number} there"))
    world.spawned.clear()
    world.store.pages = asyncio.Semaphore(_TURNS)
    await asyncio.wait_for(find(other, spot("5 asked")), 10)
    assert 0 < len(other._partitions) < 1_200, "the first question does not wait for all"
    for _ in range(1_200):
        world.store.pages.release()
    await asyncio.gather(*world.spawned)
    assert len(other._partitions) == 1_200
    assert await find(other, spot("359.1199 asked")) is not None


async def test_a_sample_that_was_sealed_for_another_entry_is_passed_over(world):
    worker = world.worker()
    sample = await worker.sample_of(spot("5 there"), expires_ms=2 * 10**12)
    wrong = spot("9 other")
    changed = type(sample)(wrong.place.entry_id, *[getattr(sample, name) for name in sample.__struct_fields__[1:]])
    await worker._shelf.put(wrong, answer("x"), ttl_s=60, tags={}, sample=changed)
    assert await find(worker, spot("5 asked")) is None
