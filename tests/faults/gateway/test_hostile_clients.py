"""Clients who mean harm and need no key for it: who means well is served as before, and soon after they have left."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from faults.gateway.loads import ROUNDS, Load, percentile, statuses, under_load
from faults.money.crowd import Question, Told, new_tag

GOOD_PER_S = 20
RECOVERED_S = 6


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    with under_load() as put_up:
        yield put_up


@contextmanager
def attack(port: int, *, clients: int) -> Iterator[None]:
    """Let so many clients of every kind come, from a process of their own, until the end."""
    command = [sys.executable, str(Path(__file__).with_name("hostile.py")), str(port), str(clients)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE)
    try:
        yield
        assert process.poll() is None, "the attack ended by itself"
    finally:
        process.kill()
        process.communicate()


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
    with attack(load.gateway.port, clients=clients):
        time.sleep(1.5)
        assert load.connections() > clients / 3
        during = good(load, key, seconds=seconds - 1.5)
    time.sleep(RECOVERED_S - 4)
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
