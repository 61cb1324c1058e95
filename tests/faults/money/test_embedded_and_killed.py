"""One process, SQLite and no Redis: killed under load and started again, its books are as if it had not been."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from faults.money.books import eventually, tag_of, truths
from faults.money.crowd import Crowd, Question, Told, gathered, new_tag
from faults.money.stand import TOKENS_PER_S, environ, tree_of
from outside.caller import Caller
from outside.ledger import Ledger, usd
from servers.gateway import GatewayProcess

from providers.testing import FakeProvider, serve_in_thread

CLIENTS = 20
WORDS = 100
ON_THE_WAY = 4
SHORT_BY_S = 2
LANDS_WITHIN_S = 15


@dataclass(frozen=True)
class Small:
    """A gateway of one process and its provider."""

    gateway: GatewayProcess
    provider: FakeProvider
    crowd: Crowd
    ledger: Ledger


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    with (
        serve_in_thread() as provider,
        closing(GatewayProcess.launch(tree_of(provider), environ=environ())) as gateway,
        gathered(gateway.port) as crowd,
    ):
        yield Small(gateway, provider, crowd, Ledger(gateway))


def kill_worker(small: Small) -> None:
    """SIGKILL what serves; the parent starts another."""
    (pid,) = small.gateway.pids()
    psutil.Process(pid).kill()

    def is_another() -> bool:
        try:
            return small.gateway.pids() not in ([], [pid])
        except psutil.NoSuchProcess:
            return False

    eventually(is_another, within_s=20)
    eventually(small.gateway.is_ready, within_s=20)


def kill_parent(small: Small) -> None:
    """SIGKILL the parent, and start the gateway again when its children have noticed: they end what they have begun."""
    children = small.gateway.workers()
    small.gateway.kill()
    eventually(lambda: not any(child.is_running() for child in children), within_s=45)
    small.gateway.start()


def kill_all(small: Small) -> None:
    """SIGKILL all of it, and start it again."""
    children = small.gateway.workers()
    for child in children:
        child.kill()
    small.gateway.kill()
    eventually(lambda: not any(child.is_running() for child in children), within_s=20)
    small.gateway.start()


DEATHS = {"worker": kill_worker, "parent": kill_parent, "all": kill_all}


def load(draw: random.Random, keys: list[str]) -> Question:
    model = draw.choice(["plain", "slow", "late"])
    stream = model == "slow" or draw.random() < 0.5
    return Question(
        draw.choice(keys), new_tag(), model=model, words=WORDS, stream=stream, max_tokens=draw.randint(5, 100)
    )


def run(small: Small, keys: list[str], *, how: str, rounds: int, seed: int) -> list[Told]:
    """Let clients ask one thing after the other while the process dies again and again."""
    draw, told = random.Random(seed), list[Told]()
    for _ in range(rounds):
        ends_at = time.monotonic() + draw.uniform(1.0, 3.5)
        asking = small.crowd.begin(
            small.crowd.busy(CLIENTS, until=lambda at=ends_at: time.monotonic() > at, make=lambda _: load(draw, keys))
        )
        time.sleep(max(0.0, ends_at - time.monotonic()))
        DEATHS[how](small)
        told += asking.result(timeout=60)
    return told


def events_of(small: Small, caller: Caller, wanted: set[str]) -> list[dict[str, Any]]:
    """Return a key's events when these tags have theirs, each question at most one."""
    events = small.ledger.wait_until(
        lambda found: wanted <= {tag_of(event) for event in found}, key_id=caller.key_id, within_s=LANDS_WITHIN_S
    )
    counts = Counter(map(tag_of, events))
    assert wanted - counts.keys() == set(), "what must be in the ledger is not"
    assert {tag: count for tag, count in counts.items() if count > 1} == {}
    return events


def check(small: Small, *, how: str, rounds: int, seed: int) -> None:
    with (
        Caller(small.gateway, budget={"amount": "5", "period": "total"}) as paying,
        Caller(small.gateway) as free,
    ):
        told = run(small, [paying.key, free.key], how=how, rounds=rounds, seed=seed)
        assert how == "parent" or any(not each.is_whole for each in told), "no death met a request"
        served = truths(small.provider)
        for caller in (paying, free):
            mine = {each.question.tag: each for each in told if each.question.key == caller.key}
            wanted = {tag for tag, each in mine.items() if each.is_whole}
            assert len(wanted) > CLIENTS // 2
            # Whatever the provider has served is paid for, where a budget holds.
            events = events_of(small, caller, wanted | (mine.keys() & served.keys() if caller is paying else set()))
            check_orphans([event for event in events if event["usage_source"] == "orphan"], mine, served)
        # The account is made when it is next spent from.
        (last,) = small.crowd.ask(Question(paying.key, new_tag(), max_tokens=3))
        assert last.is_whole
        events = events_of(small, paying, {last.question.tag})
        (use,) = small.gateway.admin("GET", f"/budgets/key/{paying.key_id}")["use"]
        assert (use["used"], use["held"]) == (usd(sum(event["cost_nusd"] for event in events)), usd(0))


def check_orphans(orphans: list[dict[str, Any]], asked: dict[str, Told], served: dict[str, Any]) -> None:
    """Orphans pay at most what the provider served, and are at most two seconds of tokens short."""
    for event in orphans:
        truth = served.get(tag_of(event))
        if truth is None:
            continue
        question = asked[tag_of(event)].question
        assert 0 < event["cost_nusd"] <= truth.cost_nusd
        if question.model == "slow":
            assert event["output_tokens"] >= truth.tokens_served - SHORT_BY_S * TOKENS_PER_S - ON_THE_WAY


@pytest.mark.parametrize("how", DEATHS)
def test_books_outlive_the_process(small: Small, how: str):
    check(small, how=how, rounds=1 if how == "parent" else 2, seed=1)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("how", DEATHS)
def test_fifty_deaths(small: Small, how: str):
    check(small, how=how, rounds=50, seed=2)
