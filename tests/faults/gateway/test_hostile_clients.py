"""Clients who mean harm and need no key for it: who means well is served as before, and soon after they have left."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import pytest
from faults.gateway.loads import ROUNDS, Load, percentile, statuses, under_load
from faults.money.crowd import Question, Told, new_tag
from outside.caller import CHAT
from outside.wire import request

GOOD_PER_S = 20
RECOVERED_S = 6
_KINDS = 4


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    with under_load() as put_up:
        yield put_up


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def silent(port: int) -> None:
    """Connect, and say nothing until thrown out."""
    async with connected(port) as (reader, _):
        await reader.read()


async def slow_head(port: int) -> None:
    """Say a header, a byte at a time."""
    async with connected(port) as (_, writer):
        for byte in itertools.cycle(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n" + b"X-A: b\r\n" * 100):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.5)


async def slow_body(port: int) -> None:
    """Promise a body, and say a byte of it at a time."""
    pairs = [("Authorization", "Bearer sk-gw-none"), ("Content-Type", "application/json"), ("Content-Length", "9000")]
    async with connected(port) as (_, writer):
        writer.write(request("POST", CHAT, pairs))
        while True:
            writer.write(b"{")
            await writer.drain()
            await asyncio.sleep(0.5)


async def header_bomb(port: int) -> None:
    """Say more headers than anybody reads, or one that is longer."""
    bombs = itertools.cycle([[(f"x-{number}", "a" * 60) for number in range(400)], [("x-a", "a" * 90_000)]])
    for pairs in itertools.islice(bombs, 4):
        async with connected(port) as (reader, writer):
            writer.write(request("GET", "/v1/models", pairs))
            await reader.read()
        await asyncio.sleep(0.5)


KINDS = (silent, slow_head, slow_body, header_bomb)


async def attack(port: int, *, clients: int, until: Callable[[], bool]) -> None:
    """Let so many clients of every kind come, and come again whenever they are thrown out."""

    async def one(number: int) -> None:
        await asyncio.sleep(number / clients)
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await KINDS[number % _KINDS](port)
            await asyncio.sleep(0.05)

    tasks = [asyncio.ensure_future(one(number)) for number in range(clients)]
    while not until():  # noqa: ASYNC110 - it ends by the clock
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Figures(NamedTuple):
    """How good clients fared: before, while it went on, and from some seconds after its end."""

    before_ms: float
    success: float
    during_ms: float
    after_success: float
    after_ms: float

    @property
    def hold(self) -> bool:
        """Whether they are as promised."""
        most_ms = 2 * self.before_ms
        return (
            self.success >= 0.99 and self.during_ms <= most_ms and self.after_success == 1 and self.after_ms <= most_ms
        )


def good(load: Load, key: str, *, seconds: float) -> list[Told]:
    """Ask as somebody does who means well."""
    rate = load.crowd.at_rate(GOOD_PER_S, seconds=seconds, make=lambda _: Question(key, new_tag(), model="timed"))
    return load.crowd.begin(rate).result(timeout=300)


def p99_ms(told: list[Told]) -> float:
    return percentile([each.took_ms for each in told], 0.99)


def success(told: list[Told]) -> float:
    return statuses(told).get(200, 0) / len(told)


def under_attack(load: Load, *, clients: int, seconds: float) -> Figures:
    key = load.new_key()
    before = good(load, key, seconds=min(seconds, 5) / 2)
    assert success(before) == 1
    ends_s = time.monotonic() + seconds
    attacking = load.crowd.begin(attack(load.gateway.port, clients=clients, until=lambda: time.monotonic() > ends_s))
    time.sleep(1)
    during = good(load, key, seconds=seconds - 1.5)
    attacking.result(timeout=60)
    time.sleep(max(0.0, ends_s + RECOVERED_S - 4 - time.monotonic()))
    after = good(load, key, seconds=1.5)
    return Figures(p99_ms(before), success(during), p99_ms(during), success(after), p99_ms(after))


def rounds(load: Load, *, clients: int, seconds: float) -> None:
    pids = load.gateway.pids()
    measured: list[Figures] = []
    while len(measured) < ROUNDS:
        measured.append(under_attack(load, clients=clients, seconds=seconds))
        assert load.gateway.pids() == pids
        if measured[-1].hold:
            return
    raise AssertionError(measured)


def test_who_means_well_is_served_beside_two_hundred_who_do_not(load: Load):
    rounds(load, clients=200, seconds=8)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_who_means_well_is_served_beside_eight_hundred_who_do_not(load: Load):
    rounds(load, clients=800, seconds=30)
