"""More is asked than can be served: what can be is, the rest hears so at once, and nobody pays for another's haste."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from faults.gateway.loads import ROUNDS, SERVICE_MS, Load, percentile, statuses, under_load
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import TOKENS_PER_S
from outside.caller import Caller
from outside.wire import parse, request

CAP = 20
CAPACITY_PER_S = CAP * 1000 / SERVICE_MS
GROWTH_BYTES = 24 << 20
"""How much memory a worker may take beside what it had at its peak before."""


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    with under_load(inflight=CAP) as put_up:
        yield put_up


def asks(key: str) -> Any:
    """Return what makes one question after the other."""
    return lambda _: Question(key, new_tag(), model="timed")


class Figures(NamedTuple):
    """One round under three times the load: what was served of the peak, and how long the others took.

    `machine_ms` is what the simplest server there is, in this process, took meanwhile to answer the same clients.
    """

    goodput: float
    shed_ms: float
    health_ms: float
    machine_ms: float
    growth_bytes: int

    @property
    def hold(self) -> bool:
        """Whether they are as promised."""
        return (
            self.goodput >= 0.8
            and self.shed_ms - self.machine_ms <= 50
            and self.health_ms - self.machine_ms <= 100
            and self.growth_bytes <= GROWTH_BYTES
        )


async def probed(port: int, path: str, *, seconds: float) -> list[float]:
    """Ask for a path for so long; return how many milliseconds each answer took."""
    ends_s, took_ms = time.monotonic() + seconds, []
    while (began_s := time.monotonic()) < ends_s:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", path, [("Connection", "close")]))
        replies, _ = parse(await reader.read())
        writer.close()
        assert [reply.status for reply in replies] == [200]
        took_ms.append((time.monotonic() - began_s) * 1000)
        await asyncio.sleep(0.04)
    return took_ms


def peak_per_s(load: Load, key: str) -> float:
    """Return how many are served in a second by clients who wait for each other."""
    seconds = 2.5
    ends_s = time.monotonic() + seconds
    busy = load.crowd.busy(CAP, until=lambda: time.monotonic() > ends_s, make=asks(key))
    told = load.crowd.begin(busy).result(timeout=60)
    return sum(each.status == 200 and each.ended_s <= ends_s for each in told) / seconds


def check_shed(told: list[Told]) -> None:
    """Whoever is not served is told why, and when to come back."""
    assert set(statuses(told)) == {200, 503}
    for each in told:
        if each.status == 503:
            assert each.reply is not None
            assert each.error["code"] == "overloaded"
            assert int(each.reply.header("retry-after") or 0) >= 1


def overload(load: Load, key: str, *, seconds: float) -> Figures:
    peak = peak_per_s(load, key)
    rss_bytes = load.rss_bytes()
    probing = load.crowd.begin(probed(load.gateway.port, "/healthz", seconds=seconds))
    beside = load.crowd.begin(probed(urlsplit(load.provider.url).port or 0, "/v1/models", seconds=seconds))
    asking = load.crowd.begin(load.crowd.at_rate(3 * CAPACITY_PER_S, seconds=seconds, make=asks(key)))
    told, health_ms = asking.result(timeout=300), probing.result(timeout=60)
    check_shed(told)
    served_per_s = statuses(told)[200] / seconds
    return Figures(
        goodput=served_per_s / peak,
        shed_ms=percentile([each.took_ms for each in told if each.status == 503], 0.99),
        health_ms=percentile(health_ms, 0.99),
        machine_ms=percentile(beside.result(timeout=60), 0.99),
        growth_bytes=load.rss_bytes() - rss_bytes,
    )


def rounds(load: Load, *, seconds: float) -> None:
    key = load.new_key()
    measured: list[Figures] = []
    while len(measured) < ROUNDS:
        measured.append(overload(load, key, seconds=seconds))
        if measured[-1].hold:
            return
    raise AssertionError(measured)


def test_at_three_times_the_capacity_most_of_it_is_served_and_the_rest_told_at_once(load: Load):
    before = load.shed().get("full", 0)
    rounds(load, seconds=8)
    assert load.shed()["full"] - before > 8 * CAPACITY_PER_S


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_minute_at_three_times_the_capacity(load: Load):
    rounds(load, seconds=60)


def test_a_quiet_organisation_does_not_wait_behind_a_noisy_one(load: Load):
    load.reconfigure(queue_s=5)
    try:
        # A place is free every SERVICE_MS / CAP at most, and the one after the next is the quiet one's.
        measured_ms: list[float] = []
        while not measured_ms or (measured_ms[-1] > 2 * SERVICE_MS and len(measured_ms) < ROUNDS):
            measured_ms.append(beside_a_storm(load, seconds=4))
        assert measured_ms[-1] <= 2 * SERVICE_MS, measured_ms
    finally:
        load.reconfigure()


def beside_a_storm(load: Load, *, seconds: float) -> float:
    """Return the median of what a quiet organisation's requests take, in milliseconds, while another's are shed."""
    noisy, quiet = (load.new_key() for _ in range(2))
    crowd = load.crowd
    storm = crowd.begin(crowd.at_rate(3 * CAPACITY_PER_S, seconds=seconds, make=asks(noisy)))
    time.sleep(0.5)
    ends_s = time.monotonic() + seconds - 1
    calm = crowd.begin(crowd.busy(1, until=lambda: time.monotonic() > ends_s, make=asks(quiet))).result(timeout=60)
    loud = storm.result(timeout=60)
    check_shed(loud)
    assert statuses(loud)[503] > CAPACITY_PER_S
    assert set(statuses(calm)) == {200}
    return percentile([each.took_ms for each in calm], 0.5)


def test_a_reload_changes_how_many_are_served_and_how_long_the_others_wait(load: Load):
    make = asks(load.new_key())
    try:
        load.reconfigure(inflight=3, queue_s=0)
        assert statuses(load.crowd.ask(*map(make, range(8)))) == {200: 3, 503: 5}
        load.reconfigure(inflight=4, queue_s=3)
        assert statuses(load.crowd.ask(*map(make, range(12)))) == {200: 8, 503: 4}
        load.reconfigure(inflight=4, queue_s=SERVICE_MS / 4000)
        late = load.crowd.ask(*map(make, range(8)))
        assert statuses(late) == {200: 4, 503: 4}
        assert load.shed()["queue_timeout"] >= 4
    finally:
        load.reconfigure()


def test_who_leaves_the_queue_leaves_a_place_in_it(load: Load):
    load.reconfigure(inflight=2, queue_s=5)
    try:
        key, asked = load.new_key(), len(load.provider.journal.for_model("slow"))
        long = [Question(key, new_tag(), model="slow", stream=True, words=2 * TOKENS_PER_S) for _ in range(2)]
        inside = load.crowd.begin(load.crowd.ask_all(long))
        time.sleep(0.2)
        with Caller(load.gateway) as caller:
            for _ in range(2):
                caller.leave({"model": "slow", "messages": [{"role": "user", "content": "x"}]}, after_s=0.05)
        time.sleep(0.5)
        assert not inside.done()
        assert statuses(load.crowd.ask(*map(asks(key), range(2)))) == {200: 2}
        assert statuses(inside.result(timeout=20)) == {200: 2}
        assert len(load.provider.journal.for_model("slow")) == asked + 2
    finally:
        load.reconfigure()


def test_a_call_that_outlives_its_client_keeps_its_place(load: Load):
    load.reconfigure(inflight=1)
    try:
        with Caller(load.gateway) as caller:
            ask = Question(caller.key, new_tag())
            body = {"model": "late", "messages": [{"role": "user", "content": "x"}]}
            caller.leave(body, after_s=0.3, Idempotency_Key=new_tag())
            assert statuses(load.crowd.ask(ask)) == {503: 1}
            time.sleep(1)
            assert statuses(load.crowd.ask(ask)) == {200: 1}
    finally:
        load.reconfigure()


@pytest.mark.parametrize(
    ("memory_limit_mb", "stream", "code"), [(1, False, "overloaded"), (1, True, "overloaded"), (0, True, None)]
)
def test_a_worker_short_of_memory_serves_nobody_new(
    load: Load, memory_limit_mb: int, *, stream: bool, code: str | None
):
    load.reconfigure(memory_limit_mb=memory_limit_mb)
    try:
        key = "sk-gw-unknown" if code is not None else load.new_key()
        (told,) = load.crowd.ask(Question(key, new_tag(), stream=stream))
        if code is None:
            assert told.is_whole
            return
        assert (told.status, told.error["code"]) == (503, code)
        time.sleep(0.6)
        (again,) = load.crowd.ask(Question(key, new_tag()))
        assert again.reply is not None
        assert again.reply.header("connection") == "close"
        assert load.shed()["memory"] >= 1
    finally:
        load.reconfigure()


LIMIT, WINDOW_S = 4, 2


def test_a_request_over_a_rate_limit_waits_until_there_is_room(load: Load):
    load.reconfigure(queue_s=10)
    try:
        rule = {"dimension": "requests", "limit": LIMIT, "window_s": WINDOW_S}
        with Caller(load.gateway, limits={"rules": [rule]}) as caller:
            told = load.crowd.ask(*(Question(caller.key, new_tag()) for _ in range(2 * LIMIT)))
            assert statuses(told) == {200: 2 * LIMIT}
            waited = [each for each in told if each.took_ms > 1000 * WINDOW_S / 2]
            assert len(waited) == LIMIT
            assert max(each.took_ms for each in told) < 1000 * WINDOW_S * 2
    finally:
        load.reconfigure()


def test_what_a_wait_cannot_help_is_refused_at_once(load: Load):
    load.reconfigure(queue_s=2)
    try:
        with Caller(load.gateway, limits={"requests_per_minute": 1}) as caller:
            first, second = (load.crowd.ask(Question(caller.key, new_tag()))[0] for _ in range(2))
            assert (first.status, second.status) == (200, 429)
            assert second.took_ms < 1500
    finally:
        load.reconfigure()


def test_requests_over_a_limit_at_once_wait_for_each_other(load: Load):
    load.reconfigure(queue_s=10)
    try:
        with Caller(load.gateway, limits={"concurrency": 2}) as caller:
            load.provider.journal.clear()
            told = load.crowd.ask(*map(asks(caller.key), range(6)))
            assert statuses(told) == {200: 6}
            entries = load.provider.journal.for_model("timed")
            begun_ms = sorted(entry.received_ns // 1_000_000 for entry in entries)
            # Never a third while two are being answered.
            assert all(
                later - earlier >= SERVICE_MS - 20 for earlier, later in zip(begun_ms, begun_ms[2:], strict=False)
            )
            assert max(each.took_ms for each in told) < 3 * SERVICE_MS + 2000
    finally:
        load.reconfigure()
