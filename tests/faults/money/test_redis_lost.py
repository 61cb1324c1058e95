"""Redis dies, hangs, vanishes or is slow under load: what must be counted waits, the rest goes on, no cent is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from faults.money.books import eventually, tag_of
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import Stand
from outside.caller import Caller
from outside.ledger import cost_nusd, usd
from servers.proxy import Faults

DEGRADED = "x-gateway-degraded"
REFUSED_WITHIN_MS = 50
NOTICED_WITHIN_S = 1.5
BACK_WITHIN_S = 2.0
SUCCESS_AT_LEAST = 0.999
WORKERS = 2
# A request of three words, capped at three tokens, never costs more.
REQUEST_NUSD = cost_nusd(6, 3)
ALLOWED_NUSD = 2_000_000


class Pace(NamedTuple):
    """How many requests a second, and for how long before, in and after the outage."""

    per_s: float = 40
    before_s: float = 1.5
    away_s: float = 4
    after_s: float = 4


LONG = Pace(per_s=100, before_s=20, away_s=15, after_s=25)


@contextmanager
def killed(stand: Stand) -> Iterator[None]:
    stand.redis.kill()
    try:
        yield
    finally:
        stand.redis.start()


@contextmanager
def paused(stand: Stand) -> Iterator[None]:
    stand.redis.pause()
    try:
        yield
    finally:
        stand.redis.resume()


@contextmanager
def blackholed(stand: Stand) -> Iterator[None]:
    stand.redis_proxy.up = stand.redis_proxy.down = Faults(is_held=True)
    try:
        yield
    finally:
        stand.redis_proxy.heal()


@contextmanager
def refused(stand: Stand) -> Iterator[None]:
    stand.redis_proxy.refuses = True
    stand.redis_proxy.sever()
    try:
        yield
    finally:
        stand.redis_proxy.heal()


OUTAGES = {"killed": killed, "paused": paused, "blackholed": blackholed, "refused": refused}


class Keys(NamedTuple):
    """A key of each class."""

    closed: Caller
    open: Caller
    limited: Caller
    plain: Caller

    def ask(self, number: int) -> Question:
        return Question(self[number % len(self)].key, new_tag(), max_tokens=3, stream=number % 8 < len(self))

    def of(self, caller: Caller, told: list[Told]) -> list[Told]:
        return [each for each in told if each.question.key == caller.key]


@contextmanager
def keys_of(stand: Stand) -> Iterator[Keys]:
    allow = {"allow": usd(ALLOWED_NUSD)}
    with (
        stand.caller(budget={"amount": "5"}) as closed,
        stand.caller(budget={"amount": "5", "period": "total", "on_accounting_down": allow}) as opened,
        stand.caller(limits={"requests_per_minute": 100_000}) as limited,
        stand.caller() as plain,
    ):
        yield Keys(closed, opened, limited, plain)


class Moments(NamedTuple):
    """Monotonic times of an outage, in seconds."""

    began: float
    ended: float
    """When the store was there again: its program may take a moment to start."""


def run(stand: Stand, keys: Keys, pace: Pace, outage: Callable[[Stand], object]) -> tuple[list[Told], Moments]:
    seconds = pace.before_s + pace.away_s + pace.after_s
    asking = stand.crowd.begin(stand.crowd.at_rate(pace.per_s, seconds=seconds, make=keys.ask))
    time.sleep(pace.before_s)
    began = time.monotonic()
    with OUTAGES[outage.__name__](stand):
        time.sleep(pace.away_s)
        ended = time.monotonic()
    ended = max(ended, time.monotonic())
    return asking.result(timeout=180), Moments(began, ended)


def check_closed(told: list[Told], moments: Moments) -> None:
    """A budget that nobody can count is closed, at once; the rest of the time it is as ever."""
    for each in told:
        is_away = moments.began < each.ended_s and each.began_s < moments.ended + BACK_WITHIN_S
        assert each.is_whole or (is_away and each.status == 503), "refused while all was well"
    away = [each for each in told if moments.began + NOTICED_WITHIN_S < each.began_s < moments.ended - 0.3]
    assert away
    for each in away:
        assert each.reply is not None
        assert (each.status, each.error["code"]) == (503, "accounting_unavailable")
        assert each.reply.header("retry-after") == "1"
    took = sorted(each.took_ms for each in away)
    assert took[len(took) * 95 // 100] <= REFUSED_WITHIN_MS


def check_open(told: list[Told], moments: Moments) -> None:
    """What is allowed uncounted is served, on each worker up to so much."""
    away = [each for each in told if moments.began + NOTICED_WITHIN_S < each.began_s < moments.ended - 0.3]
    assert {each.status for each in away} <= {200, 503}
    served = [each for each in away if each.is_whole]
    assert served
    assert len(served) * REQUEST_NUSD <= WORKERS * ALLOWED_NUSD


def check_uncounted(told: list[Told], moments: Moments) -> None:
    """Who has no budget hardly notices."""
    whole = sum(each.is_whole for each in told)
    assert whole >= SUCCESS_AT_LEAST * len(told)
    away = [each for each in told if moments.began + NOTICED_WITHIN_S < each.began_s < moments.ended - 0.3]
    headers = {each.reply.header(DEGRADED) for each in away if each.reply is not None}
    assert headers == {"redis"}


def check_books(stand: Stand, keys: Keys, told: list[Told]) -> None:
    """All that was answered is in the ledger, once, nothing else, and the accounts say what the ledger says."""
    for caller in keys:
        stand.books.wait_for(keys.of(caller, told), key_id=caller.key_id)
    for caller in (keys.closed, keys.open):
        stand.books.assert_balanced(caller.key_id, within_s=45)
    for caller in keys:
        refused = {each.question.tag for each in keys.of(caller, told) if each.status == 503}
        events = stand.books.ledger.events(key_id=caller.key_id)
        assert [event for event in events if tag_of(event) in refused] == [], "charged for what was refused"


def check(stand: Stand, pace: Pace, how: str) -> None:
    with keys_of(stand) as keys:
        told, moments = run(stand, keys, pace, OUTAGES[how])
        check_closed(keys.of(keys.closed, told), moments)
        check_open(keys.of(keys.open, told), moments)
        check_uncounted(keys.of(keys.plain, told), moments)
        check_uncounted(keys.of(keys.limited, told), moments)
        check_books(stand, keys, told)


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_budgets_wait_and_the_rest_goes_on(stand: Stand, how: str):
    check(stand, Pace(), how)


def test_a_slow_redis_is_waited_for(stand: Stand):
    """A tenth of a second each time: everything is served and counted, and nothing is called degraded."""
    stand.redis_proxy.up = stand.redis_proxy.down = Faults(delay_ms=50)
    try:
        with keys_of(stand) as keys:
            told = stand.crowd.begin(stand.crowd.at_rate(30, seconds=3, make=keys.ask)).result(timeout=60)
            assert all(each.is_whole for each in told)
            assert {each.reply.header(DEGRADED) for each in told if each.reply is not None} == {None}
    finally:
        stand.redis_proxy.heal()
    check_books(stand, keys, told)


def test_what_an_allowance_leaves_is_spent_and_no_more(stand: Stand):
    """Many ask at once of a budget that allows little: the workers together serve at most their allowances."""
    allow = {"allow": usd(20 * REQUEST_NUSD)}
    with stand.caller(budget={"amount": "5", "on_accounting_down": allow}) as caller:
        (first,) = stand.crowd.ask(Question(caller.key, new_tag(), max_tokens=3))
        assert first.is_whole
        with refused(stand):

            def is_noticed() -> bool:
                probes = stand.crowd.ask(*(Question("sk-gw-none", new_tag()) for _ in range(8)))
                return {each.reply.header(DEGRADED) for each in probes if each.reply is not None} == {"redis"}

            eventually(is_noticed, within_s=10)
            told = stand.crowd.ask(*(Question(caller.key, new_tag(), max_tokens=3) for _ in range(100)))
            served = [each for each in told if each.is_whole]
            assert {each.status for each in told} == {200, 503}
            assert 2 <= len(served) <= 2 * 20
        stand.books.wait_for([first, *told], key_id=caller.key_id)
        stand.books.assert_balanced(caller.key_id, within_s=20)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", OUTAGES)
def test_a_minute_with_an_outage(stand: Stand, how: str):
    check(stand, LONG, how)
