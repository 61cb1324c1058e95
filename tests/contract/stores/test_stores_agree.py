"""The two account stores are one: the same calls in the same order give the same answers and the same state."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app.kernel.clock import ManualClock
from app.stores.accounts import (
    MONEY,
    AccountScope,
    BudgetAccount,
    Charge,
    Denied,
    Granted,
    Money,
    Reservation,
    Slots,
    Window,
)
from app.stores.entries import UsageEntry
from app.stores.opening import open_stores

PARTITION = 7
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MOST = 9_000_000_000_000_000
ACCOUNTS = tuple(BudgetAccount(f":b:o{number}", 0, 0, 0) for number in range(3))
_PREFIXES = count()

WINDOWS = (
    (":w:short", DAY_MS, "sliding_window"),
    (":w:long", 400 * DAY_MS, "sliding_window"),
    (":tb:short", DAY_MS, "token_bucket"),
    (":tb:long", 400 * DAY_MS, "token_bucket"),
)
"""So long that what passes during a test is no part of a slot, and gives a bucket of these limits nothing back."""

LIMITS = st.one_of(st.integers(1, 30), st.sampled_from([MOST, MOST - 1]))
MONEYS = st.builds(
    Money,
    fixed_nusd=st.one_of(st.integers(0, 30), st.integers(0, 10**14)),
    rate_nusd=st.one_of(
        st.integers(0, 5_000_000),
        st.sampled_from([1, 999_999, 1_000_001, 9_007_199_254_740_993]),
        st.integers(0, 10**12),
    ),
    cap=st.one_of(st.integers(0, 40), st.integers(0, 900_000)),
    min_cap=st.sampled_from([0, 16]),
)
BUDGETS = st.one_of(st.integers(0, 400), st.integers(0, 10**13), st.just(MOST))


@st.composite
def reservations(draw: st.DrawFn) -> dict[str, object]:
    windows = draw(st.lists(st.sampled_from(range(len(WINDOWS))), max_size=3, unique=True))
    return {
        "windows": [(index, draw(LIMITS), draw(st.one_of(st.integers(0, 12), st.just(MONEY)))) for index in windows],
        "slots": draw(st.lists(st.integers(1, 3), max_size=1)),
        "budgets": draw(st.lists(BUDGETS, max_size=3)),
        "money": draw(MONEYS),
    }


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 9), reservations()),
        st.tuples(st.just("charge"), st.integers(0, 9), st.integers(0, 40)),
        st.tuples(st.just("late"), st.integers(0, 9), st.integers(0, 40)),
        st.tuples(st.just("orphan"), st.integers(0, 9), st.integers(0, 40)),
        st.tuples(st.just("renew"), st.integers(0, 9), st.integers(0, 40)),
    ),
    max_size=25,
)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


class Life:
    """One store, and what was asked of it."""

    def __init__(self, stores, prefix):
        self.stores, self.accounts = stores, stores.accounts
        self.prefix = prefix
        self.scope = AccountScope(0, f"o{prefix}")
        self.known = {}

    async def begin(self):
        for account in self.budgets([0, 0, 0]):
            made = {"partition": PARTITION, "scope": self.scope, "base_nusd": 0, "mark": b"0-0 0", "force": False}
            if self.stores.kind == "memory":
                made["mark"] = b"0"
            else:
                made["mark"] = (await self.accounts.pending(PARTITION)).mark
            assert await self.accounts.open_account(account, **made)

    def budgets(self, limits):
        return tuple(
            BudgetAccount(self.prefix + account.key, limit, 0, 0)
            for account, limit in zip(ACCOUNTS, limits, strict=False)
        )

    def windows(self, chosen):
        found = []
        for index, limit, amount in chosen:
            key, window_ms, algorithm = WINDOWS[index]
            found.append(Window(self.prefix + key, limit, window_ms, algorithm, amount))
        return tuple(found)

    async def step(self, what, number, more):
        name = f"{self.prefix}{number}"
        if what == "reserve":
            asked = Reservation(
                partition=PARTITION,
                id=name,
                windows=self.windows(more["windows"]),
                slots=tuple(Slots(self.prefix + ":c", limit) for limit in more["slots"]),
                budgets=self.budgets(more["budgets"]),
                money=more["money"],
                orphan=b"at first",
            )
            verdict = await self.accounts.reserve(asked)
            if isinstance(verdict, Granted) and name not in self.known:
                self.known[name] = (asked, verdict)
            return _told(verdict, asked)
        asked, granted = self.known.get(
            name, (Reservation(partition=PARTITION, id=name), Granted(at_ms=1, cap=0, held_nusd=0))
        )
        if what == "renew":
            return await self.accounts.renew(asked, granted, orphan=b"%d" % more)
        charged = await self.accounts.charge(
            Charge(
                reservation=asked,
                granted=granted,
                amounts=(more,) * len(asked.windows),
                entries=(UsageEntry(PARTITION, f"{name}:{what}:{more}", b"x", 1, more, (self.scope.id, "", "k")),),
                mode="settle" if what == "charge" else what,
            )
        )
        if charged.state == "done":
            self.known.pop(name, None)
        return charged

    async def end(self):
        windows = self.windows([(index, MOST, 0) for index in range(len(WINDOWS))])
        rings = [use.used for use in await self.accounts.uses(windows[:2], partition=PARTITION)]
        balances = await self.accounts.balances(self.budgets([0, 0, 0]), partition=PARTITION)
        slots = await self.accounts.in_flight([Slots(self.prefix + ":c", 0)], partition=PARTITION)
        return rings, balances, slots


def _told(verdict, asked):
    """Return what does not depend on the moment; a bucket has gained what its limit gives in a moment."""
    if isinstance(verdict, Denied):
        told = verdict.kind, verdict.index, verdict.asked, _steady(verdict.windows_used, asked)
        if verdict.kind in {"window", "too_large"} and asked.windows[verdict.index].limit >= MOST - 1:
            return told
        return *told, verdict.used, verdict.held, verdict.retry_ms is None
    if isinstance(verdict, Granted):
        return "granted", verdict.cap, verdict.held_nusd, _steady(verdict.used, asked)
    return type(verdict)


def _steady(used, asked):
    return [
        None if window.algorithm == "token_bucket" and window.limit >= MOST - 1 else each
        for window, each in zip(asked.windows, used, strict=False)
    ]


_MOMENT_S = 0.001


def test_memory_and_redis_agree(loop: asyncio.AbstractEventLoop, redis_url: str) -> None:
    shared = open_stores(redis_url)
    shared.hot._timeout_s = 30.0
    loop.run_until_complete(shared.accounts.now_ms())

    @settings(max_examples=150, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink])
    @given(steps=STEPS)
    def agree(steps):
        async def live():
            prefix = f"x{next(_PREFIXES)}"
            clock = ManualClock()
            lives = [Life(open_stores("memory://", clock=clock), prefix), Life(shared, prefix)]
            for life in lives:
                await life.begin()
            for step in steps:
                # A bucket gains something in every millisecond, so that one must pass for both.
                clock.advance(_MOMENT_S)
                await asyncio.sleep(_MOMENT_S)
                answers = [await life.step(*step) for life in lives]
                assert answers[0] == answers[1], step
            ends = [await life.end() for life in lives]
            assert ends[0] == ends[1]

        loop.run_until_complete(live())

    agree()
    loop.run_until_complete(shared.aclose())
