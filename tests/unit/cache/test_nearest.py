"""Searches against comparing with everything, while items come and go, in bounded slices and bounded memory."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.cache.embedding import cosine, vector_of
from app.cache.nearest import SLICE, Item, Partition, Partitions, hamming_bound

BITS = 256


def item(name, vector=None, *, expires_at_ms=10):
    return Item(name, vector or vector_of([1.0] * BITS), name, expires_at_ms)


def direction(chance):
    return [chance.gauss(0, 1) for _ in range(BITS)]


def at_cosine(values, similarity, chance):
    """Return a direction whose cosine to `values` is about the wanted one."""
    noise = direction(chance)
    along = sum(a * b for a, b in zip(values, noise, strict=True)) / sum(a * a for a in values)
    across = [b - along * a for a, b in zip(values, noise, strict=True)]
    length = (sum(a * a for a in values) / sum(b * b for b in across)) ** 0.5
    return [similarity * a + (1 - similarity**2) ** 0.5 * length * b for a, b in zip(values, across, strict=True)]


async def names_near(partition, vector, *, floor=0.8, **options):
    return [near.item.entry_id for near in await partition.nearest(vector, floor=floor, **{"now_ms": 1, **options})]


def in_turns(search, between):
    """Run a search by hand, calling `between` whenever it gives way; return what it found and how often it did."""
    turns = 0
    while True:
        try:
            search.send(None)
        except StopIteration as done:
            return done.value, turns
        between(turns)
        turns += 1


async def test_it_finds_what_comparing_with_everything_finds():
    chance = random.Random(1)
    centre = direction(chance)
    vectors = [vector_of(at_cosine(centre, chance.uniform(0.3, 1), chance)) for _ in range(300)]
    partition = Partition()
    for number, vector in enumerate(vectors):
        partition.add(item(str(number), vector))
    asked = vector_of(centre)
    best = sorted(((cosine(asked, vector), str(number)) for number, vector in enumerate(vectors)), reverse=True)
    assert await names_near(partition, asked, floor=0.9, at_most=300) == [name for near, name in best if near >= 0.9]
    found = await partition.nearest(asked, floor=0.9, at_most=300, now_ms=1)
    assert [near.similarity for near in found] == [near for near, _ in best if near >= 0.9]


@pytest.mark.parametrize("floor", [0.7, 0.8, 0.9, 0.97])
def test_fewer_than_one_true_neighbour_in_a_thousand_is_left_out(floor):
    chance = random.Random(int(floor * 100))
    bound = hamming_bound(floor, bits=BITS)
    missed = 0
    for _ in range(1_000):
        values = direction(chance)
        a, b = vector_of(values), vector_of(at_cosine(values, floor, chance))
        missed += (a.code ^ b.code).bit_count() > bound
    assert missed <= 1
    assert bound < BITS // 2


@pytest.mark.parametrize(("floor", "bound"), [(1.0, 1), (-1.0, BITS), (2.0, 1)])
def test_bounds_at_the_ends(floor, bound):
    assert hamming_bound(floor, bits=BITS) == bound


async def test_at_most_so_many_are_compared_and_they_are_the_nearest():
    chance = random.Random(2)
    centre = direction(chance)
    partition = Partition()
    for number in range(2 * SLICE):
        partition.add(
            item(f"far {number}", vector_of(at_cosine(centre, 0.9, chance)))
            if number % 50 == 0
            else item(f"none {number}", vector_of(at_cosine(centre, 0.0, chance)))
        )
    for place in range(4):
        partition.add(item(f"near {place}", vector_of(at_cosine(centre, 0.99, chance))))
    assert set(await names_near(partition, vector_of(centre), at_most=4)) == {f"near {place}" for place in range(4)}


async def test_what_expired_is_not_found_and_takes_no_place():
    partition = Partition()
    for number in range(40):
        partition.add(item(f"old {number}", expires_at_ms=5))
    partition.add(item("good", expires_at_ms=6))
    vector = vector_of([1.0] * BITS)
    assert await names_near(partition, vector, now_ms=5, at_most=2) == ["good"]
    assert await names_near(partition, vector, now_ms=6) == []


def test_a_search_gives_way_after_each_slice():
    partition = Partition()
    for number in range(10_000):
        partition.add(item(str(number)))
    search = partition.nearest(vector_of([1.0] * BITS), floor=0.8, now_ms=1)
    found, turns = in_turns(search, lambda turn: None)
    assert turns == 10_000 // SLICE - 1
    assert len(found) == 32


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kept_at=st.integers(0, 3 * SLICE - 1),
    verbs=st.lists(st.sampled_from(["drop", "drop many", "add", "again"]), max_size=3),
)
def test_what_is_there_throughout_is_found_whatever_comes_and_goes_meanwhile(seed, kept_at, verbs):
    chance = random.Random(seed)
    wanted, other = vector_of([1.0] * BITS), vector_of([-1.0] * BITS)
    partition = Partition(most=3 * SLICE + 10)
    for number in range(3 * SLICE):
        partition.add(item("kept" if number == kept_at else str(number), wanted if number == kept_at else other))

    def change(turn):
        verb = verbs[turn] if turn < len(verbs) else ""
        gone = [
            str(number) for number in chance.sample(range(3 * SLICE), {"drop": 3, "drop many": 2 * SLICE}.get(verb, 0))
        ]
        for name in gone:
            partition.drop(name)
        if verb == "add":
            partition.add(item(f"new {turn}", other))
        if verb == "again":
            partition.add(item(str(chance.randrange(3 * SLICE)), other))

    found, _ = in_turns(partition.nearest(wanted, floor=0.8, now_ms=1), change)
    assert [near.item.entry_id for near in found] == ["kept"]


def test_what_is_dropped_meanwhile_is_not_found():
    partition = Partition()
    for number in range(2 * SLICE):
        partition.add(item(str(number), vector_of([1.0 if number == 2 * SLICE - 1 else -1.0] * BITS)))
    search = partition.nearest(vector_of([1.0] * BITS), floor=0.8, now_ms=1)
    assert in_turns(search, lambda turn: partition.drop(str(2 * SLICE - 1)))[0] == []


def test_an_entry_replaced_meanwhile_is_not_answered_by_its_old_text():
    partition = Partition()
    for number in range(2 * SLICE):
        partition.add(item(str(number), vector_of([-1.0] * BITS)))
    partition.add(item("entry"))
    search = partition.nearest(vector_of([1.0] * BITS), floor=0.8, now_ms=1)
    replaced = item("entry", vector_of([-1.0] * BITS))
    assert in_turns(search, lambda turn: partition.add(replaced))[0] == []


async def test_a_full_partition_drops_the_oldest():
    partition = Partition(most=3)
    for name in ("a", "b", "a", "c", "d"):
        partition.add(item(name))
    assert [name in partition for name in "abcd"] == [True, False, True, True]
    assert sorted(await names_near(partition, vector_of([1.0] * BITS))) == ["a", "c", "d"]


async def test_nothing_is_near_in_an_empty_partition():
    assert await names_near(Partition(), vector_of([1.0] * BITS)) == []


class ManyPartitions(RuleBasedStateMachine):
    """Partitions against a list of (key, entry) by age and a list of keys by use."""

    def __init__(self):
        super().__init__()
        self.partitions = Partitions(most=12, most_each=5)
        self.kept = {}

    @rule(key=st.sampled_from("pqrs"), name=st.sampled_from("abcdefgh"))
    def add(self, key, name):
        self.partitions.add(key, item(name))
        names = self.kept.pop(key, [])
        self.kept[key] = [*(each for each in names if each != name), name][-5:]
        while sum(map(len, self.kept.values())) > 12:
            oldest = next(iter(self.kept))
            del self.kept[oldest][0]
            if not self.kept[oldest]:
                del self.kept[oldest]

    @rule(key=st.sampled_from("pqrs"))
    def find(self, key):
        found = self.partitions.find(key)
        assert (found is None) == (key not in self.kept)
        if key in self.kept:
            self.kept[key] = self.kept.pop(key)

    @rule(key=st.sampled_from("pqrs"), name=st.sampled_from("abcdefgh"))
    def drop(self, key, name):
        is_there = name in self.kept.get(key, [])
        assert self.partitions.drop(key, name) == is_there
        if is_there:
            self.kept[key].remove(name)
            if not self.kept[key]:
                del self.kept[key]

    @invariant()
    def it_keeps_what_the_lists_keep(self):
        assert len(self.partitions) == sum(map(len, self.kept.values()))
        found = {key: list(each._places) for key, each in self.partitions._partitions.items()}
        assert list(found.items()) == list(self.kept.items())


TestManyPartitions = ManyPartitions.TestCase
