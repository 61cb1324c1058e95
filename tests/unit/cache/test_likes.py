"""Whether a like question's answer is given, compared or passed over, and how thresholds follow what was compared."""

import asyncio

import pytest

from app.cache.answers import Answered
from app.cache.embedding import vector_of
from app.cache.likes import LONGEST_GAP, SHORTEST_GAP, Likes, Look
from app.cache.question import Question
from app.cache.shadow import count_of
from app.cache.shelf import Found, Spot
from app.cache.statistics import Statistics
from app.cache.wishes import Wish
from app.kernel.clock import ManualClock
from app.stores.cache import Owner, Place
from app.stores.memory_cache import MemoryCacheStore
from providers.types import Choice, Completion, TextPart

OWNER = Owner(1, "aa" * 16)
SPOT = Spot(Place(OWNER, "organization:a", b"k" * 32), Question(key=b"k" * 32, partition=b"p" * 16, text="asked"))


def answer(text):
    choice = Choice(index=0, content=[TextPart(text=text)], finish_reason="stop")
    completion = Completion(id="1", model="m", created=1, choices=[choice])
    return Answered(provider="p", model="m", upstream_model="u", created_ms=1, completion=completion)


class Semantic:
    """Finds what it is told, if that is near enough."""

    def __init__(self):
        self.embedder = type("Embedder", (), {"threshold": 0.8, "id": "e"})()
        self.similarity = 0.95
        self.thresholds = []

    async def find(self, spot, *, threshold, max_age_s, judged):
        self.thresholds.append((threshold, max_age_s))
        return Found(answer("yes"), "e" * 32, 3, self.similarity) if self.similarity >= threshold else None

    async def sample_of(self, spot, *, expires_ms):
        return expires_ms


class Judge:
    async def embed(self, text):
        return vector_of([1.0, float(len(text) > 20)])


class World:
    def __init__(self, draw=0.5):
        self.clock = ManualClock()
        self.store = MemoryCacheStore(clock=self.clock)
        self.semantic = Semantic()
        self.compared = []
        self.tasks = []
        self.made = 0
        self.statistics = Statistics(self.store, spawn=self.spawn)
        shelf = type("Shelf", (), {"store": self.store, "now_ms": lambda _: self.clock.now_ns() // 10**6})()
        self.likes = Likes(
            shelf,
            semantic=self.make,
            judge=self.judge,
            statistics=self.statistics,
            compared=self.compared.append,
            clock=self.clock,
            spawn=self.spawn,
            draw=lambda: draw,
        )

    def spawn(self, work):
        self.tasks.append(asyncio.ensure_future(work))

    async def make(self):
        self.made += 1
        return self.semantic

    async def judge(self):
        return Judge()

    async def done(self):
        await asyncio.gather(*self.tasks)


@pytest.fixture
async def world():
    made = World()
    yield made
    for task in made.tasks:
        task.cancel()


async def test_nothing_is_looked_for_where_nobody_wants_it(world):
    assert await world.likes.find(SPOT, Wish(semantic="off"), look=Look()) is None
    wordless = SPOT._replace(question=Question(key=b"k" * 32))
    assert await world.likes.find(wordless, Wish(semantic="on"), look=Look()) is None
    assert await world.likes.sample_of(SPOT, Wish(semantic="off")) is None
    assert world.made == 0, "an embedder that nobody needs is not made"


async def test_the_whole_shadow_is_only_compared(world):
    like = await world.likes.find(SPOT, Wish(semantic="shadow"), look=Look())
    assert (like.serves, like.found.similarity) == (False, 0.95)


@pytest.mark.parametrize(("draw", "gap"), [(0.0, SHORTEST_GAP), (0.5, 50), (0.999_999, LONGEST_GAP)])
async def test_a_fiftieth_of_the_hits_is_only_compared(draw, gap):
    world = World(draw)
    served = [(await world.likes.find(SPOT, Wish(semantic="on"), look=Look())).serves for _ in range(3 * gap)]
    assert served == 3 * [*[True] * (gap - 1), False]
    await world.likes.foresee(SPOT, Wish(semantic="on"), look=Look())
    again = [(await world.likes.find(SPOT, Wish(semantic="on"), look=Look())).serves for _ in range(gap)]
    assert again.index(False) == gap - 1, "what is foreseen is no hit"


@pytest.mark.parametrize(
    ("setting", "asked", "used"),
    [(None, None, 0.8), (0.6, None, 0.6), (0.9, None, 0.9), (None, 0.5, 0.8), (0.6, 0.7, 0.7)],
)
async def test_a_caller_can_only_be_stricter_than_the_setting(world, setting, asked, used):
    await world.likes.find(
        SPOT, Wish(semantic="on", threshold=setting, least_similarity=asked, max_age_s=9), look=Look()
    )
    assert world.semantic.thresholds == [(used, 9)]


async def test_a_sample_lives_as_long_as_its_answer(world):
    now_ms = world.clock.now_ns() // 10**6
    assert await world.likes.sample_of(SPOT, Wish(semantic="shadow", ttl_s=60)) == now_ms + 60_000


@pytest.mark.parametrize(("other", "agrees"), [("yes", True), ("no", False), ("something that is quite else", False)])
async def test_what_was_compared_is_counted_for_the_organisation(world, other, agrees):
    found = Found(answer("yes"), "e" * 32, 3, 0.957)
    await world.likes.compare(SPOT, found, answer(other))
    world.statistics.flush()
    assert world.compared == [agrees]
    assert await world.store.counts(OWNER) == {count_of(0.957, agrees=agrees): 1}
    assert await world.store.counts(Owner(1, "bb" * 16)) == {}


async def test_the_threshold_follows_what_was_compared(world):
    world.likes.target = 0.01
    world.store.count(OWNER, {count_of(0.85, agrees=False): 50, count_of(0.95, agrees=True): 100})
    await world.likes.find(SPOT, Wish(semantic="on"), look=Look())
    await world.done()
    await world.likes.find(SPOT, Wish(semantic="on"), look=Look())
    assert [threshold for threshold, _ in world.semantic.thresholds] == [0.8, pytest.approx(0.86)]
    world.store.count(OWNER, {count_of(0.95, agrees=False): 50})
    await world.likes.find(SPOT, Wish(semantic="on"), look=Look())
    assert len(world.tasks) == 1, "what is known is not read again at once"
    world.clock.advance(61)
    await world.likes.find(SPOT, Wish(semantic="on"), look=Look())
    await world.done()
    assert await world.likes.find(SPOT, Wish(semantic="on"), look=Look()) is None


async def test_without_a_target_thresholds_stay(world):
    world.store.count(OWNER, {count_of(0.85, agrees=False): 50})
    await world.likes.find(SPOT, Wish(semantic="on"), look=Look())
    assert not world.tasks
