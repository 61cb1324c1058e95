"""PostgreSQL answers, but does not take what is written: usage waits, nobody notices, and each event has one effect."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import asyncpg
import httpx
import pytest
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import Stand, standing
from outside.caller import Caller
from outside.ledger import cost_nusd
from servers.postgres import dsn
from servers.process import wait_until

from app.domain.usage.entries import partition_of

REQUEST_NUSD = cost_nusd(6, 3)
LANDS_WITHIN_S = 30
_ROUNDS = 5
_MOST_QUEUED = 1_000_000
_AT_ONCE = 20_000
"""How many entries one script adds: so few that no request finds Redis busy for long."""
# No writer reads these: they count as read, and nobody has them.
_FILL = """
for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'x', '') end
redis.call('XGROUP', 'SETID', KEYS[1], 'ledger', '$')
"""
_UNTIL_SOMEBODY_WAITS = """
DO $$ BEGIN
    FOR _ IN 1..2000 LOOP
        EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE NOT granted);
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$
"""


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing(durable=False) as put_up:
        # Its log says of an error which it is, and not the whole batch again that it was about.
        put_up.postgres.execute("ALTER SYSTEM SET log_line_prefix = '%e '")
        put_up.postgres.execute("ALTER SYSTEM SET log_min_error_statement = 'panic'")
        put_up.postgres.execute("SELECT pg_reload_conf()")
        yield put_up


def ask(stand: Stand, *callers: Caller) -> list[Told]:
    """Ask for something with each key, on connections of their own, which the system spreads among the workers."""
    questions = [
        Question(caller.key, new_tag(), max_tokens=3, stream=at % 2 == 0) for caller in callers for at in range(8)
    ]
    return stand.crowd.ask(*questions)


def check_landed(stand: Stand, told: list[Told], caller: Caller) -> None:
    """All of it is in the ledger, once, and none of it was set aside."""
    assert all(each.is_whole for each in told)
    stand.books.wait_for(told, key_id=caller.key_id, within_s=LANDS_WITHIN_S)
    assert stand.books.spent_nusd(caller.key_id) == REQUEST_NUSD * len(told)
    stand.books.assert_balanced(caller.key_id, within_s=10)
    assert stand.books.execute("SELECT error FROM ledger_dead_letter") == []


# -- it writes nothing -------------------------------------------------------------------------------------------------


@contextmanager
def full(stand: Stand) -> Iterator[str]:
    """Refuse every event as a server does whose disk is full; returns the code of that."""
    stand.books.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$
    """)
    stand.books.execute("CREATE TRIGGER full_disk BEFORE INSERT ON usage_events EXECUTE FUNCTION refuse()")
    try:
        yield "53100"
    finally:
        stand.books.execute("DROP FUNCTION refuse CASCADE")


@contextmanager
def read_only(stand: Stand) -> Iterator[str]:
    """Let every transaction only read, as on a server that has become a standby; returns the code of the refusals."""
    stand.postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    stand.postgres.execute("SELECT pg_reload_conf()")
    try:
        yield "25006"
    finally:
        stand.postgres.execute("ALTER SYSTEM RESET default_transaction_read_only")
        stand.postgres.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize("fault", [full, read_only])
def test_what_it_does_not_take_waits(stand: Stand, fault: Callable[[Stand], AbstractContextManager[str]]):
    with stand.caller(budget={"amount": "50", "period": "total"}) as caller:
        told = ask(stand, caller)
        stand.books.wait_for(told, key_id=caller.key_id)
        with fault(stand) as code:
            told += ask(stand, caller)
            assert wait_until(lambda: f"{code} ERROR" in stand.postgres.tail(), within_s=20)
            told += ask(stand, caller)
            assert all(each.is_whole for each in told)
            assert stand.books.spent_nusd(caller.key_id) == REQUEST_NUSD * 8
        check_landed(stand, told, caller)


# -- it breaks a deadlock ----------------------------------------------------------------------------------------------


async def cross(stand: Stand, caller: Caller) -> list[Told]:
    """Let a writer wait for somebody who then waits for it; it is the one that gives up, as it has waited longer."""
    rival = await asyncpg.connect(dsn(str(stand.books.ledger.url)), timeout=10)
    try:
        await rival.execute("SET deadlock_timeout = '1min'")
        async with rival.transaction():
            await rival.execute("LOCK TABLE balances IN EXCLUSIVE MODE")
            told = await asyncio.to_thread(ask, stand, caller)
            await rival.execute(_UNTIL_SOMEBODY_WAITS)
            await rival.execute("LOCK TABLE usage_events IN EXCLUSIVE MODE")
    finally:
        await rival.close()
    return told


def test_a_deadlock_has_one_effect(stand: Stand):
    def deadlocks() -> int:
        (row,) = stand.books.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(row["deadlocks"])

    with stand.caller(budget={"amount": "50", "period": "total"}) as caller:
        told = ask(stand, caller)
        for _ in range(_ROUNDS):
            # Whoever comes to the writer's lock later than a second after it began to wait is too late to cross it.
            told += asyncio.run(cross(stand, caller))
            if wait_until(lambda: deadlocks() > 0, within_s=3):
                break
        assert deadlocks() > 0
        check_landed(stand, told, caller)


# -- it takes nothing for so long that too much waits ------------------------------------------------------------------


def fill(stand: Stand, stream: str, count: int) -> None:
    for start in range(0, count, _AT_ONCE):
        stand.redis.execute("EVAL", _FILL, 1, stream, min(_AT_ONCE, count - start))


def test_a_million_events_that_wait_are_enough(stand: Stand):
    """From there on nothing is admitted that must be counted; all else is, and so is all when the queue is shorter."""
    with stand.caller(budget={"amount": "50", "period": "total"}) as paying, stand.caller() as plain:
        told: list[Told] = []

        def is_served() -> bool:
            answers = ask(stand, paying)
            told.extend(each for each in answers if each.is_whole)
            return all(each.is_whole for each in answers)

        assert is_served()
        stream = f"{{p{(partition_of(paying.organization_id) + 1) % 64:02d}}}:usage"
        try:
            fill(stand, stream, _MOST_QUEUED - _AT_ONCE)
            assert wait_until(lambda: depth(stand) >= _MOST_QUEUED - _AT_ONCE, within_s=20)
            assert wait_until(is_served, within_s=20), "that is not too much yet"
            fill(stand, stream, _AT_ONCE)
            refused: list[Told] = []

            def is_shed() -> bool:
                refused[:] = ask(stand, paying)
                told.extend(each for each in refused if each.is_whole)
                return all(is_refused(each) for each in refused)

            assert wait_until(is_shed, within_s=20)
            assert {each.error["code"] for each in refused} == {"accounting_unavailable"}
            assert depth(stand) >= _MOST_QUEUED
            others = ask(stand, plain)
            assert all(each.is_whole for each in others)
        finally:
            stand.redis.execute("XTRIM", stream, "MAXLEN", 0)
        assert wait_until(is_served, within_s=20)
        check_landed(stand, told, paying)


def is_refused(told: Told) -> bool:
    """Whether a request was refused by a gateway all of whose stores answer."""
    if told.reply is None or told.status != 503:
        return False
    return (told.reply.header("retry-after"), told.reply.header("x-gateway-degraded")) == ("1", None)


def depth(stand: Stand) -> float:
    """Return how many events wait, as is told to those who watch."""
    answer = httpx.get(f"{stand.gateway.base_url}/metrics", timeout=30)
    (value,) = re.findall(r"^gateway_ledger_queue_depth (\S+)$", answer.text, flags=re.MULTILINE)
    return float(value)
