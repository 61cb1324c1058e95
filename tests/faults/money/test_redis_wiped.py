"""Redis forgets everything, or its last moment, or its replies: what was spent is known again, and counted once."""

import time
from typing import NamedTuple

import pytest
from faults.money.books import eventually
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import Stand
from outside.caller import Caller
from outside.ledger import cost_nusd
from servers.proxy import Faults

REBUILT_WITHIN_S = 2
REQUEST_NUSD = cost_nusd(6, 3)


class Load(NamedTuple):
    """How many requests a second for how long, and how often Redis loses everything meanwhile."""

    per_s: float = 50
    seconds: float = 8
    times: int = 2


def question(caller: Caller, number: int = 0) -> Question:
    return Question(caller.key, new_tag(), max_tokens=3, stream=number % 2 == 0)


def run(stand: Stand, caller: Caller, load: Load, *, breaks: str) -> list[Told]:
    asking = stand.crowd.begin(
        stand.crowd.at_rate(load.per_s, seconds=load.seconds, make=lambda number: question(caller, number))
    )
    for _ in range(load.times):
        time.sleep(load.seconds / (load.times + 1))
        if breaks == "wiped":
            stand.redis.execute("FLUSHALL")
        else:
            stand.redis.kill()
            stand.redis.start()
    return asking.result(timeout=180)


def check(stand: Stand, load: Load, *, breaks: str) -> None:
    with stand.caller(budget={"amount": "5", "period": "total"}) as caller, stand.caller() as plain:
        before = stand.crowd.ask(*(question(caller) for _ in range(20)))
        plains = stand.crowd.begin(stand.crowd.at_rate(10, seconds=load.seconds, make=lambda n: question(plain, n)))
        told = before + run(stand, caller, load, breaks=breaks)
        assert {each.status for each in told} <= {200, 503}
        assert sum(each.is_whole for each in told) > len(told) // 2
        stand.books.wait_for(told, key_id=caller.key_id)
        stand.books.wait_for(plains.result(timeout=60), key_id=plain.key_id)
        stand.books.assert_balanced(caller.key_id, within_s=40)
        assert stand.books.spent_nusd(caller.key_id) >= REQUEST_NUSD * sum(each.is_whole for each in told)


@pytest.mark.parametrize("breaks", ["wiped", "killed"])
def test_what_was_spent_is_the_ledgers_sum_again(stand: Stand, breaks: str):
    check(stand, Load(), breaks=breaks)


def test_an_account_is_rebuilt_by_whoever_asks_first_and_never_twice(stand: Stand):
    """Fifty ask both workers at once of an account that is gone."""
    with stand.caller(budget={"amount": "5", "period": "total"}) as caller:
        told = stand.crowd.ask(*(question(caller) for _ in range(20)))
        stand.books.wait_for(told, key_id=caller.key_id)
        stand.redis.execute("FLUSHALL")
        told += stand.crowd.ask(*(question(caller) for _ in range(50)))
        assert all(each.is_whole for each in told)
        assert max(each.took_ms for each in told) < REBUILT_WITHIN_S * 1000
        stand.books.wait_for(told, key_id=caller.key_id)
        stand.books.assert_balanced(caller.key_id, within_s=20)
        assert stand.books.spent_nusd(caller.key_id) == REQUEST_NUSD * len(told)


LONG_ONLY = [pytest.param(at, marks=pytest.mark.long) for at in (0, 1, 5)]


@pytest.mark.parametrize("at_bytes", [40, *LONG_ONLY])
def test_a_reply_that_is_lost_is_no_second_hold_and_no_second_event(stand: Stand, at_bytes: int):
    """Redis has done it and nobody hears: at the reservation, and again when a request is settled."""
    with stand.caller(budget={"amount": "5", "period": "total"}) as caller:
        told: list[Told] = []

        def is_well() -> bool:
            answers = stand.crowd.ask(*(question(caller) for _ in range(8)))
            told.extend(answers)
            return all(each.is_whole for each in answers)

        eventually(is_well, within_s=20)
        # While the provider thinks, the way back from Redis is cut: it is the settlement whose reply is lost.
        asking = stand.crowd.begin(stand.crowd.ask_all([Question(caller.key, new_tag(), model="late", max_tokens=3)]))
        eventually(lambda: (found := stand.account(caller).balance()) is not None and found.held > 0, within_s=20)
        stand.redis_proxy.down = Faults(drop_after_bytes=at_bytes)
        settled = asking.result(timeout=60)
        stand.redis_proxy.heal()
        assert all(each.is_whole for each in settled)
        told += settled
        # Now the reply to a reservation.
        stand.redis_proxy.down = Faults(reset_after_bytes=at_bytes)
        told += stand.crowd.ask(*(question(caller) for _ in range(8)))
        stand.redis_proxy.heal()
        assert {each.status for each in told} <= {200, 503}
        stand.books.wait_for(told, key_id=caller.key_id)
        stand.books.assert_balanced(caller.key_id, within_s=20)
        assert stand.books.spent_nusd(caller.key_id) == REQUEST_NUSD * sum(each.is_whole for each in told)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("breaks", ["wiped", "killed"])
def test_a_minute_of_losses(stand: Stand, breaks: str):
    check(stand, Load(per_s=60, seconds=60, times=5), breaks=breaks)
