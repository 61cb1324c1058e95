"""The stores of answers do what the plainest thing that keeps their contract does, whatever is asked in whatever order.

`Plain` keeps lists and goes through all of them each time.
"""

import asyncio
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec import structs

from app.kernel.clock import ManualClock
from app.stores.cache import CacheStores, Kept, Maker, Overview, Owner, Place, Sample, size_of
from app.stores.opening import open_cache

LONG_MS = 9_000_000
SMALL = size_of(Kept(b"", "m", (), 1, 1), None)
MOST = 12 * SMALL
_NAMES = count()

WHO = st.integers(0, 2)
NUMBERS = st.integers(0, 5)
SCOPES = st.sampled_from(["organization", "team:1"])
SEMANTICS = st.sampled_from(["a" * 32, "b" * 32])
MODELS = st.sampled_from(["m", "n"])
TAGS = st.lists(st.sampled_from(["t=1", "t=2", "u=1"]), max_size=2, unique=True).map(tuple)
MAKERS = st.sampled_from(["x", "y"])
KEPT = st.builds(
    Kept,
    payload=st.builds(lambda byte, size: byte * size, st.binary(min_size=1, max_size=1), st.integers(0, 3 * SMALL)),
    model=MODELS,
    tags=TAGS,
    created_ms=st.integers(0, 9),
    ttl_ms=st.integers(1, 5_000),
)


@dataclass
class Row:
    """An entry, or a lease, of the plain store."""

    owner: Owner
    place: Place
    what: Kept | str
    sample: Sample | None
    expires_ms: int


@dataclass
class Plain:
    """The contract, at its plainest."""

    now_ms: int = 0
    rows: list[Row] = field(default_factory=list)
    leases: list[Row] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, owner: Owner) -> list[Row]:
        self.rows = [row for row in self.rows if row.expires_ms > self.now_ms]
        self.leases = [row for row in self.leases if row.expires_ms > self.now_ms]
        return [row for row in self.rows if row.owner == owner]

    def find(self, place: Place, maker: str | None, lease_ms: int) -> Kept | Maker | None:
        for row in self.of(place.owner):
            if row.place == place:
                return row.what
        holders = [row for row in self.leases if row.place == place]
        if maker is None or (holders and holders[0].what != maker):
            return Maker(holders[0].what, is_me=False) if holders else None
        self.lease(place, maker, lease_ms)
        return Maker(maker, is_me=True)

    def lease(self, place: Place, maker: str, lease_ms: int) -> None:
        self.leases = [row for row in self.leases if row.place != place]
        self.leases.append(Row(place.owner, place, maker, None, self.now_ms + lease_ms))

    def holds(self, place: Place, maker: str) -> bool:
        self.of(place.owner)
        return any(row.place == place and row.what == maker for row in self.leases)

    def release(self, place: Place, maker: str | None) -> bool:
        held = maker is not None and self.holds(place, maker)
        if held:
            self.leases = [row for row in self.leases if row.place != place]
        return held

    def put(self, place: Place, kept: Kept, maker: str | None, sample: Sample | None) -> bool:
        self.release(place, maker)
        size = size_of(kept, sample)
        if 4 * size > MOST:
            return False
        self.rows = [row for row in self.rows if row.place != place]
        others = self.of(place.owner)
        while sum(size_of(row.what, row.sample) for row in others) + size > MOST:
            self.rows.remove(others.pop(0))
        self.rows.append(Row(place.owner, place, kept, sample, self.now_ms + kept.ttl_ms))
        return True

    def purge(self, owner: Owner, **criteria: str | None) -> int:
        doomed = [
            row
            for row in self.of(owner)
            if criteria["entry_id"] in (None, row.place.entry_id)
            and criteria["scope"] in (None, row.place.scope)
            and criteria["model"] in (None, row.what.model)
            and (criteria["tag"] is None or criteria["tag"] in row.what.tags)
        ]
        self.rows = [row for row in self.rows if row not in doomed]
        return len(doomed)

    def samples(self, owner: Owner, scope: str, semantic: str) -> list[Sample]:
        return [
            row.sample
            for row in self.of(owner)
            if row.sample is not None and row.place.scope == scope and row.sample.semantic == semantic
        ]


class Life(RuleBasedStateMachine):
    """One store beside the plain one, and readers that follow its samples."""

    url = "memory://"

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.runner = asyncio.Runner()
        self.stores: CacheStores = open_cache(self.url, clock=self.clock)
        self.run(self.stores.start())
        self.cache = self.stores.cache
        self.plain = Plain()
        self.owners = [Owner(number, f"o{next(_NAMES)}") for number in range(3)]
        self.cursors: dict[tuple[Owner, str, str], str] = {}
        self.read: dict[tuple[Owner, str, str], list[Sample]] = {}
        self.texts = count()

    def run(self, step):
        return self.runner.get_loop().run_until_complete(step)

    def place(self, who: int, scope: str, number: int) -> Place:
        return Place(self.owners[who], scope, bytes([number]) * 32)

    @rule(who=WHO, scope=SCOPES, number=NUMBERS, maker=st.none() | MAKERS, lease_ms=st.integers(100, 3_000))
    def find(self, who, scope, number, maker, lease_ms):
        place, lease_ms = self.place(who, scope, number), self.lasting(lease_ms)
        told = self.run(self.cache.find(place, maker=maker, lease_ms=lease_ms))
        assert told == self.plain.find(place, maker, lease_ms)

    @rule(who=WHO, scope=SCOPES, number=NUMBERS)
    def read_one(self, who, scope, number):
        place = self.place(who, scope, number)
        told = self.run(self.cache.read(place.owner, scope=scope, entry_id=place.entry_id))
        wanted = self.plain.find(place, None, 0)
        assert told == (wanted if isinstance(wanted, Kept) else None)

    @rule(who=WHO, scope=SCOPES, number=NUMBERS, maker=MAKERS, lease_ms=st.integers(100, 3_000))
    def renew(self, who, scope, number, maker, lease_ms):
        place, lease_ms = self.place(who, scope, number), self.lasting(lease_ms)
        held = self.plain.holds(place, maker)
        assert self.run(self.cache.renew(place, maker=maker, lease_ms=lease_ms)) == held
        if held:
            self.plain.lease(place, maker, lease_ms)

    @rule(who=WHO, scope=SCOPES, number=NUMBERS, maker=MAKERS)
    def release(self, who, scope, number, maker):
        place = self.place(who, scope, number)
        assert self.run(self.cache.release(place, maker=maker)) == self.plain.release(place, maker)

    @rule(who=WHO, scope=SCOPES, number=NUMBERS, maker=st.none() | MAKERS, kept=KEPT, semantic=st.none() | SEMANTICS)
    def put(self, *, who, scope, number, maker, kept, semantic):
        place, kept = self.place(who, scope, number), structs.replace(kept, ttl_ms=self.lasting(kept.ttl_ms))
        sample = None
        if semantic is not None:
            text = b"%d" % next(self.texts)
            sample = Sample(place.entry_id, semantic, b"c", b"p", 1.0, text, 9_000_000_000_000)
        told = self.run(self.cache.put(place, kept, most_bytes=MOST, maker=maker, sample=sample))
        assert told == self.plain.put(place, kept, maker, sample)

    @rule(
        who=WHO,
        number=st.none() | NUMBERS,
        scope=st.none() | SCOPES,
        model=st.none() | MODELS,
        tag=st.none() | st.sampled_from(["t=1", "u=1"]),
    )
    def purge(self, who, number, scope, model, tag):
        entry_id = None if number is None else self.place(who, "", number).entry_id
        criteria = {"entry_id": entry_id, "scope": scope, "model": model, "tag": tag}
        told = self.run(self.cache.purge(self.owners[who], **criteria))
        assert told == self.plain.purge(self.owners[who], **criteria)

    @rule(who=WHO, scope=SCOPES, semantic=SEMANTICS)
    def follow(self, who, scope, semantic):
        """Whoever goes on from his cursor has every sample that there is, in order, and each once."""
        reader = (self.owners[who], scope, semantic)
        self.run(self.cache.overview(self.owners[who]))
        after = self.cursors.get(reader, "")
        told = self.run(self.cache.samples(self.owners[who], scope=scope, semantic=semantic, after=after))
        read = [] if told.is_anew else self.read.get(reader, [])
        assert not (told.is_anew and not after)
        self.read[reader], self.cursors[reader] = [*read, *told.samples], told.cursor

        live = self.plain.samples(*reader)
        assert [sample for sample in self.read[reader] if sample in live] == live
        assert [sample for sample in told.samples if sample not in live] == []

    @rule(who=WHO, number=st.integers(1, 3), name=st.sampled_from(["hits", "misses"]))
    def count(self, who, number, name):
        self.runner.get_loop().call_soon(self.cache.count, self.owners[who], {name: number})
        key = (self.owners[who].organization, name)
        self.plain.numbers[key] = self.plain.numbers.get(key, 0) + number

    @rule(milliseconds=st.integers(1, 4_000), is_swept=st.booleans())
    def wait(self, milliseconds, is_swept):
        if self.url == "memory://":
            self.clock.advance(milliseconds / 1_000)
            self.plain.now_ms = self.clock.monotonic_ns() // 1_000_000
            if is_swept:
                self.stores.sweep()

    @invariant()
    def holds_what_it_should(self):
        for owner in self.owners:
            rows = self.plain.of(owner)
            size = sum(size_of(row.what, row.sample) for row in rows)
            assert self.run(self.cache.overview(owner)) == Overview(len(rows), size)
            wanted = {name: number for (its, name), number in self.plain.numbers.items() if its == owner.organization}
            assert self.run(self.cache.counts(owner)) == wanted

    def lasting(self, milliseconds: int) -> int:
        """Return how long something lives: where the clock cannot be moved, longer than the test."""
        return milliseconds if self.url == "memory://" else LONG_MS

    def teardown(self):
        self.run(self.stores.aclose())
        self.runner.close()


def test_memory_keeps_the_contract():
    run_state_machine_as_test(Life, settings=settings(max_examples=120, stateful_step_count=40))


@pytest.mark.parametrize("examples", [15, pytest.param(400, marks=pytest.mark.long)])
def test_redis_keeps_the_contract(redis_url, examples):
    class LifeOnRedis(Life):
        url = redis_url

    run_state_machine_as_test(LifeOnRedis, settings=settings(max_examples=examples, stateful_step_count=40))
