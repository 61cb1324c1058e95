"""Sentinel makes a master of a replica: limits go on from what was used, and accounts are the ledger's sum, once.

What a replica has not heard of when its master dies is lost. Here it is made to have lost more than it can: an account,
or everything. Law: it is noticed, and what was spent is known again, however many ask at once.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest
from faults.money.books import Books, eventually
from faults.money.crowd import Crowd, Question, Told, gathered, new_tag
from faults.money.stand import environ, tree_of
from outside.caller import Caller
from outside.ledger import cost_nusd
from servers.gateway import GatewayProcess
from servers.postgres import PostgresProcess
from servers.redis import RedisProcess
from servers.redis_sentinel import RedisSentinel

from providers.testing import serve_in_thread

BACK_WITHIN_S = 30
REQUEST_NUSD = cost_nusd(6, 3)
LIMIT, BEFORE = 20, 12
AT_ONCE = 40
WORKERS = 2


@dataclass(frozen=True)
class Watched:
    """Two workers whose Redis a sentinel watches."""

    gateway: GatewayProcess
    sentinel: RedisSentinel
    crowd: Crowd
    books: Books

    def ask(self, caller: Caller, count: int) -> list[Told]:
        """Ask as often at once, on connections that the system spreads among the workers."""
        return self.crowd.ask(*(Question(caller.key, new_tag(), max_tokens=3) for _ in range(count)))

    def ask_until(self, caller: Caller, count: int) -> list[Told]:
        """Ask as often at once, and again, until as many are answered in full; the others are told to come again."""
        told: list[Told] = []

        def is_enough() -> bool:
            told.extend(self.ask(caller, count))
            return sum(each.is_whole for each in told) >= count

        eventually(is_enough, within_s=BACK_WITHIN_S)
        assert {each.status for each in told} <= {200, 503}
        return told


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with ExitStack() as stack:
        postgres = stack.enter_context(closing(PostgresProcess.launch()))
        sentinel = stack.enter_context(closing(RedisSentinel.launch()))
        provider = stack.enter_context(serve_in_thread())
        tree: dict[str, Any] = tree_of(provider, workers=WORKERS)
        tree |= {"database": postgres.new_database(), "state": sentinel.watched_url}
        gateway = stack.enter_context(closing(GatewayProcess.launch(tree, environ=environ(), migrates=True)))
        crowd = stack.enter_context(gathered(gateway.port))
        yield Watched(gateway, sentinel, crowd, Books(gateway, redis=sentinel, postgres=postgres))


def is_alone(told: Told) -> bool:
    return told.reply is not None and told.reply.header("x-gateway-degraded") is not None


def lose(replica: RedisProcess, what: str) -> None:
    """Take from a replica what it has heard of its master."""
    replica.execute("CONFIG", "SET", "replica-read-only", "no")
    if what == "everything":
        replica.execute("FLUSHALL")
    elif what == "the accounts":
        names = replica.execute("KEYS", "*:b:k*")
        assert names
        replica.execute("DEL", *names)


@pytest.mark.parametrize("what", ["nothing", "the accounts", "everything"])
def test_limits_and_budgets_go_on_where_they_were(watched: Watched, what: str):
    rules = [{"dimension": "requests", "limit": LIMIT, "window_s": 3600}]
    with (
        Caller(watched.gateway, budget={"amount": "5", "period": "total"}) as spender,
        Caller(watched.gateway, limits={"rules": rules}) as limited,
    ):
        told = watched.ask_until(spender, BEFORE)
        let_in = watched.ask(limited, BEFORE)
        assert all(each.is_whole for each in let_in)
        watched.books.wait_for(told, key_id=spender.key_id)
        replica = watched.sentinel.add_replica()
        lose(replica, what)
        watched.sentinel.fail_over(replica)

        # Both workers at once: an account that is gone is made by one of them, and by no other again.
        told += watched.ask_until(spender, AT_ONCE)
        watched.books.wait_for(told, key_id=spender.key_id)
        watched.books.assert_balanced(spender.key_id, within_s=20)
        assert watched.books.spent_nusd(spender.key_id) == REQUEST_NUSD * sum(each.is_whole for each in told)
        # Windows are in no ledger: what the new master has not heard of has passed.
        check_limit([] if what == "everything" else let_in, watched.ask(limited, LIMIT))


def check_limit(before: list[Told], after: list[Told]) -> None:
    """What was let in before counts after; where a busy machine kept a worker from Redis it had a share of its own."""
    passed = sum(each.is_whole for each in after)
    alone = WORKERS * (LIMIT // WORKERS) if any(map(is_alone, after)) else 0
    assert passed <= LIMIT - sum(not is_alone(each) for each in before) + alone
    assert alone or passed >= LIMIT - len(before)
    assert {each.status for each in after if not each.is_whole} <= {429}
