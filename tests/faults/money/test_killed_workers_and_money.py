"""Workers die at any moment: whole answers are settled once, holds come back, and orphans pay what they cost."""

import random
import time
from typing import Any

import pytest
from faults.money.books import Truth, eventually, tag_of, truths
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import TOKENS_PER_S, Stand
from outside.caller import Caller

IN_FLIGHT = 40
RELEASED_WITHIN_S = 45
SHORT_BY_S = 2
SPREAD_S = 2.0
ON_THE_WAY = 4
"""Tokens that the provider had sent and a dying worker had not read."""
# So many short words that a guess of one token for each four bytes is below what the provider counts.
WORDS = 100


def questions(draw: random.Random, keys: list[str]) -> list[Question]:
    """Return a mix of streams and whole answers, quick and slow."""
    return [
        Question(
            draw.choice(keys),
            new_tag(),
            model=(model := draw.choice(["plain", "slow", "slow", "late"])),
            words=WORDS,
            stream=model == "slow" or draw.random() < 0.5,
            max_tokens=draw.randint(5, 100),
        )
        for _ in range(IN_FLIGHT)
    ]


def kill_rounds(stand: Stand, keys: list[str], *, rounds: int, seed: int) -> list[Told]:
    """Kill a random worker at a random moment under 40 requests, again and again; return what clients were told.

    Every other time they come one after the other, so that checkpoints find them at every age.
    """
    draw, told = random.Random(seed), list[Told]()
    for number in range(rounds):
        asked = questions(draw, keys)
        if number % 2:
            asking = stand.crowd.begin(
                stand.crowd.at_rate(IN_FLIGHT / SPREAD_S, seconds=SPREAD_S, make=asked.__getitem__)
            )
            time.sleep(SPREAD_S)
        else:
            asking = stand.crowd.begin(stand.crowd.ask_all(asked))
        time.sleep(draw.uniform(0.0, 3.0))
        dead = stand.kill_a_worker(draw)
        told += asking.result(timeout=60)
        stand.wait_for_workers(without=dead)
    return told


def check(stand: Stand, *, rounds: int, seed: int) -> None:
    with (
        stand.caller(budget={"amount": "5", "period": "total"}) as paying,
        stand.caller(budget={"amount": "5"}, limits={"concurrency": 500}) as monthly,
        stand.caller() as free,
    ):
        callers = [paying, monthly, free]
        told = kill_rounds(stand, [caller.key for caller in callers], rounds=rounds, seed=seed)
        ended = time.monotonic()
        assert sum(each.is_whole for each in told) > IN_FLIGHT * rounds // 4
        assert any(not each.is_whole for each in told), "no death met a request"
        check_released(stand, [paying, monthly], since=ended)
        for caller in callers:
            mine = [each for each in told if each.question.key == caller.key]
            # Whatever the provider has served is paid for, where a budget holds.
            also = () if caller is free else truths(stand.provider).keys() & {each.question.tag for each in mine}
            events = stand.books.wait_for(mine, key_id=caller.key_id, also=also)
            check_whole(mine, events)
            if caller is not free:
                check_orphans(stand, mine, events)
                stand.books.assert_balanced(caller.key_id, within_s=10)


def check_released(stand: Stand, callers: list[Caller], *, since: float) -> None:
    """Nothing is held any more, soon enough after the last death."""
    accounts = [stand.account(caller) for caller in callers]

    def is_released() -> bool:
        return all((found := account.balance()) is not None and found.held == 0 for account in accounts)

    eventually(is_released, within_s=RELEASED_WITHIN_S - (time.monotonic() - since))


def check_whole(told: list[Told], events: list[dict[str, Any]]) -> None:
    """What was answered in full is settled as such."""
    whole = {each.question.tag for each in told if each.is_whole}
    assert {event["outcome"] for event in events if tag_of(event) in whole} <= {"ok"}


def check_orphans(stand: Stand, told: list[Told], events: list[dict[str, Any]]) -> None:
    """Orphans pay at most what the provider served, and are at most two seconds of tokens short."""
    served = truths(stand.provider)
    asked = {each.question.tag: each.question for each in told}
    orphans = [event for event in events if event["usage_source"] == "orphan"]
    assert orphans, "no death left an orphan"
    for event in orphans:
        # One that never reached the provider is charged for its input: it might have.
        if tag_of(event) in served:
            check_orphan(event, served[tag_of(event)], asked[tag_of(event)])


def check_orphan(event: dict[str, Any], truth: Truth, question: Question) -> None:
    assert 0 < event["input_tokens"] <= truth.prompt_tokens
    assert 0 < event["cost_nusd"] <= truth.cost_nusd
    if question.stream and question.model == "slow":
        assert event["output_tokens"] >= truth.tokens_served - SHORT_BY_S * TOKENS_PER_S - ON_THE_WAY


@pytest.mark.timeout(180)
def test_whole_answers_are_settled_once_and_orphans_pay_what_they_cost(stand: Stand):
    check(stand, rounds=4, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3_000)
def test_a_hundred_deaths(stand: Stand):
    check(stand, rounds=100, seed=2)
