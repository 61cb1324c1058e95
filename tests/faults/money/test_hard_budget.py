"""A hard budget holds: two workers together never spend more, whatever is asked at once."""

import random
from decimal import Decimal
from uuid import UUID

import pytest
from faults.money.books import Sampling
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import Stand
from outside.caller import Caller
from outside.ledger import cost_nusd, usd

MEANS = 37
AT_ONCE = 200
WORDS = range(10, 60)
OVERSHOT_TOKENS = 200


def question(draw: random.Random, key: str, model: str) -> Question:
    words = draw.choice(WORDS)
    return Question(key, new_tag(), model=model, words=words, stream=draw.random() < 0.5, max_tokens=words)


def mean_cost_nusd() -> int:
    """Return what a request costs on average: the provider echoes as many tokens as it was asked."""
    costs = [cost_nusd(words + 3, words) for words in WORDS]
    return sum(costs) // len(costs)


def check_denials(told: list[Told], limit_nusd: int) -> list[Told]:
    """Every request is answered in full or refused as a budget refuses; return the refusals."""
    denied = [each for each in told if not each.is_whole]
    for each in denied:
        assert each.reply is not None
        error = each.error
        assert (each.status, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota")
        assert each.reply.header("x-should-retry") == "false"
        words = error["message"]
        assert "key" in words
        assert all(said in words for said in (usd(limit_nusd), "used", "held"))
    return denied


def check_spending(stand: Stand, caller: Caller, told: list[Told], limit_nusd: int) -> int:
    """Every whole answer is charged, nothing is held, and the account is the ledger's sum; return the sum."""
    stand.books.wait_for(told, key_id=caller.key_id)
    stand.books.assert_balanced(caller.key_id, within_s=20)
    (use,) = stand.gateway.admin("GET", f"/budgets/key/{caller.key_id}")["use"]
    spent_nusd = stand.books.spent_nusd(caller.key_id)
    assert (Decimal(use["used"]), Decimal(use["held"])) == (Decimal(usd(spent_nusd)), 0)
    assert use["amount"] == usd(limit_nusd)
    return spent_nusd


def check_honest(stand: Stand, *, seed: int, requests: int) -> None:
    draw, limit_nusd = random.Random(seed), MEANS * mean_cost_nusd()
    with stand.caller(budget={"amount": usd(limit_nusd), "period": "total"}) as caller:
        with Sampling(stand.account(caller)) as samples:
            told = stand.crowd.ask(*(question(draw, caller.key, "late") for _ in range(requests)))
            told += stand.crowd.ask(*(question(draw, caller.key, "plain") for _ in range(requests)))
        assert len(samples.balances) > 20
        assert samples.most_nusd <= limit_nusd
        assert check_denials(told, limit_nusd)
        spent_nusd = check_spending(stand, caller, told, limit_nusd)
        assert limit_nusd // 2 < spent_nusd <= limit_nusd


def test_two_hundred_at_once_never_spend_more_than_the_budget(stand: Stand):
    check_honest(stand, seed=1, requests=AT_ONCE)


def test_a_provider_that_overshoots_costs_no_more_than_what_was_in_flight(stand: Stand):
    check_overshoot(stand, seed=2)


def check_overshoot(stand: Stand, *, seed: int) -> None:
    draw, limit_nusd = random.Random(seed), MEANS * mean_cost_nusd()
    with stand.caller(budget={"amount": usd(limit_nusd), "period": "total"}) as caller:
        told = stand.crowd.ask(*(question(draw, caller.key, "overshoot") for _ in range(AT_ONCE)))
        # Everything that was in flight when the budget was exceeded was admitted before: nothing is, after.
        told += stand.crowd.ask(*(question(draw, caller.key, "overshoot") for _ in range(AT_ONCE)))
        assert check_denials(told, limit_nusd)
        spent_nusd = check_spending(stand, caller, told, limit_nusd)
        over_nusd = sum(overshot_nusd(stand, each) for each in told if each.is_whole)
        assert limit_nusd < spent_nusd <= limit_nusd + over_nusd
        whole = sum(each.is_whole for each in told[:AT_ONCE])
        assert 0 < whole < AT_ONCE
        assert not any(each.is_whole for each in told[AT_ONCE:]), "admitted although the budget was exceeded"


def overshot_nusd(stand: Stand, told: Told) -> int:
    """Return by how much a request cost more than the most that was held for it: its prompt's tokens were bounded."""
    (event,) = stand.books.ledger.events(request_id=UUID(told.request_id))
    asked = told.question.max_tokens
    assert asked is not None
    assert event["output_tokens"] == OVERSHOT_TOKENS
    return cost_nusd(0, OVERSHOT_TOKENS - min(asked, OVERSHOT_TOKENS))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10, 30))
def test_again_and_again(stand: Stand, seed: int):
    check_honest(stand, seed=seed, requests=AT_ONCE)
    check_overshoot(stand, seed=seed)
