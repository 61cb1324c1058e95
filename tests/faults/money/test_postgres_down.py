"""PostgreSQL is away: known keys go on, their usage waits and lands; that a key is unknown is then no 401."""

import time

import pytest
from faults.money.crowd import Question, new_tag
from faults.money.stand import Stand
from outside.caller import Caller
from outside.ledger import cost_nusd

from app.domain.keys.secrets import make_key

LANDS_WITHIN_S = 30
REQUEST_NUSD = cost_nusd(6, 3)


def check_unknown(stand: Stand, key: str) -> None:
    """Nobody can say now who this is."""
    for each in stand.crowd.ask(*(Question(key, new_tag()) for _ in range(8))):
        assert each.reply is not None
        assert (each.status, each.error["code"]) == (503, "database_unavailable")
        assert each.reply.header("retry-after") == "1"


def check(stand: Stand, *, per_s: float, away_s: float) -> None:
    """Stop the server at once, as a crash would, and start it again."""
    with (
        stand.caller(budget={"amount": "50", "period": "total"}) as paying,
        stand.caller() as plain,
        Caller(stand.gateway, budget={"amount": "50"}) as cold,
    ):
        callers = (paying, plain)

        def make(number: int) -> Question:
            return Question(callers[number % 2].key, new_tag(), max_tokens=3, stream=number % 4 < 2)

        # Changes of keys are read every two seconds, and what was read of is asked for anew: let that be over.
        told = stand.crowd.begin(stand.crowd.at_rate(10, seconds=3, make=make)).result(timeout=30)
        asking = stand.crowd.begin(stand.crowd.at_rate(per_s, seconds=away_s + 4, make=make))
        time.sleep(1)
        stand.postgres.stop(immediate=True)
        try:
            check_unknown(stand, cold.key)
            check_unknown(stand, make_key("inference").text.reveal())
            time.sleep(away_s)
        finally:
            stand.postgres.start()
        back = time.monotonic()
        told += asking.result(timeout=away_s + 60)
        assert all(each.is_whole for each in told), "a key that was known was refused"
        for caller in callers:
            mine = [each for each in told if each.question.key == caller.key]
            stand.books.wait_for(mine, key_id=caller.key_id, within_s=LANDS_WITHIN_S - (time.monotonic() - back))
            assert stand.books.spent_nusd(caller.key_id) == REQUEST_NUSD * len(mine)
        stand.books.assert_balanced(paying.key_id, within_s=10)
        stand.know(cold.key)


def test_known_keys_go_on_and_their_usage_lands(stand: Stand):
    check(stand, per_s=20, away_s=20)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("away_s", [40, 280])
def test_minutes_without_postgresql(stand: Stand, away_s: int):
    """Keys are known for five minutes after they were last read."""
    check(stand, per_s=50, away_s=away_s)
