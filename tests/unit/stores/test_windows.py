"""Windows as arithmetic: a ring never grants too much in any span of its length, a bucket never loses a fraction."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.clock import ManualClock
from app.stores.accounts import Granted, Reservation, Window
from app.stores.memory import MemoryStores
from app.stores.windows import Bucket, Ring, grain_ms

STEPS = st.lists(st.tuples(st.integers(0, 2_500), st.integers(1, 5)), max_size=120)


def arrive(ring, limit, at_ms, amount):
    """Take `amount` if there is room, as a store does; return whether there was."""
    slot = ring.advance(at_ms)
    if ring.total + amount > limit:
        return False
    ring.add(slot, amount)
    return True


@given(steps=STEPS, limit=st.integers(1, 40), window_s=st.integers(1, 20), start_ms=st.integers(0, 10**13))
def test_no_window_ever_holds_more_than_its_limit(steps, limit, window_s, start_ms):
    window_ms, at_ms, taken = window_s * 1_000, start_ms, []
    ring = Ring(window_ms)
    for pause_ms, amount in steps:
        at_ms += pause_ms
        if arrive(ring, limit, at_ms, amount):
            taken.append((at_ms, amount))
    for end_ms, _ in taken:
        assert sum(amount for moment, amount in taken if end_ms - window_ms < moment <= end_ms) <= limit


@given(steps=STEPS, limit=st.integers(5, 40), window_s=st.integers(1, 20))
def test_a_wait_is_exactly_as_long_as_it_must_be(steps, limit, window_s):
    ring, at_ms = Ring(window_s * 1_000), 0
    for pause_ms, amount in steps:
        at_ms += pause_ms
        if arrive(ring, limit, at_ms, amount):
            continue
        wait_ms = ring.wait_ms(at_ms, ring.total + amount - limit)
        earlier = Ring(window_s * 1_000)
        earlier.counts, earlier.total = dict(ring.counts), ring.total
        assert not arrive(earlier, limit, at_ms + wait_ms - 1, amount)
        at_ms += wait_ms
        assert arrive(ring, limit, at_ms, amount)


@pytest.mark.parametrize(("limit", "window_s", "every_ms"), [(100, 10, 3), (50, 1, 7), (1_000, 60, 11), (7, 5, 1)])
def test_under_saturation_nearly_all_is_granted(limit, window_s, every_ms):
    ring, window_ms, periods = Ring(window_s * 1_000), window_s * 1_000, 30
    granted = sum(arrive(ring, limit, at_ms, 1) for at_ms in range(0, periods * window_ms, every_ms))
    assert granted >= limit * periods * 99 // 100


@given(
    amounts=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20),
    pause_ms=st.integers(0, 30_000),
)
def test_a_correction_counts_while_its_slot_does(amounts, pause_ms):
    ring, at_ms = Ring(10_000), 0
    for reserved, actual in amounts:
        slot = ring.advance(at_ms)
        ring.add(slot, reserved)
        ring.correct(slot, actual - reserved)
    assert ring.total == sum(actual for _, actual in amounts)
    ring.advance(pause_ms)
    ring.correct(0, 5)
    assert ring.total == (sum(actual for _, actual in amounts) + 5 if pause_ms < 10_100 else 0)


@given(
    pauses=st.lists(st.integers(0, 5_000), max_size=60),
    limit=st.one_of(st.integers(1, 1_000), st.integers(10**14, 9 * 10**15)),
    window_s=st.one_of(st.integers(1, 7_200), st.integers(86_401, 31_622_400)),
    taken=st.integers(0, 1_000),
    start_ms=st.integers(0, 10**13),
)
def test_a_bucket_loses_no_fraction_however_often_it_is_looked_at(pauses, limit, window_s, taken, start_ms):
    often, once = (Bucket(window_s * 1_000, limit=limit, now_ms=start_ms) for _ in range(2))
    amount = min(limit, taken * (limit // 1_000 + 1))
    often.balance -= amount
    once.balance -= amount
    at_ms = start_ms
    for pause_ms in pauses:
        at_ms += pause_ms
        often.refill(at_ms, limit)
    once.refill(at_ms, limit)
    assert (often.balance, often.rest) == (once.balance, once.rest)
    grain = grain_ms(window_s * 1_000)
    passed = at_ms // grain - start_ms // grain
    exact = min(Fraction(limit), limit - amount + Fraction(passed * limit, window_s * 1_000 // grain))
    assert once.balance == int(exact)


@given(
    looks=st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 1_000)), max_size=30), limit=st.integers(1, 1_000)
)
def test_looking_at_a_bucket_with_any_limit_changes_nothing(looks, limit):
    seen, unseen = (Bucket(60_000, limit=limit, now_ms=0) for _ in range(2))
    seen.balance = unseen.balance = 0
    at_ms = 0
    for pause_ms, other in looks:
        at_ms += pause_ms
        seen.look(at_ms, other)
    assert seen.refill(at_ms, limit) == unseen.refill(at_ms, limit)


@given(amount=st.integers(1, 100), limit=st.integers(1, 100), window_s=st.integers(1, 200_000))
def test_a_bucket_is_as_full_as_it_said_it_would_be(amount, limit, window_s):
    amount = min(amount, limit)
    bucket = Bucket(window_s * 1_000, limit=limit, now_ms=0)
    bucket.balance = 0
    wait_ms = bucket.wait_ms(amount, balance=0, limit=limit)
    assert bucket.look(wait_ms, limit) >= amount
    assert bucket.look(wait_ms - bucket.grain_ms, limit) < amount


def test_a_clock_that_goes_back_takes_nothing_from_a_bucket():
    bucket = Bucket(60_000, limit=60, now_ms=100_000)
    bucket.balance = 10
    assert bucket.refill(90_000, 60) == 10
    assert bucket.refill(101_000, 60) == 11


async def test_a_denied_request_and_an_administrator_leave_a_bucket_as_it_is():
    """A lowered limit that is raised again costs nothing, unless something was taken meanwhile."""
    clock = ManualClock()
    accounts = MemoryStores(clock=clock).accounts

    async def ask(limit, amount, name):
        window = Window(":tb:x", limit, 60_000, "token_bucket", amount)
        return await accounts.reserve(Reservation(partition=0, id=name, windows=(window,)))

    assert isinstance(await ask(100, 1, "a"), Granted)
    assert not isinstance(await ask(10, 11, "b"), Granted)
    await accounts.uses([Window(":tb:x", 10, 60_000, "token_bucket", 0)], partition=0)
    assert isinstance(await ask(100, 99, "c"), Granted)
