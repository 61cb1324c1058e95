"""One nano-dollar too much or too little, in any book: it is told within one comparison, and not quietly put right."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from faults.money.books import eventually
from faults.money.crowd import Question, new_tag
from faults.money.stand import Stand, standing
from outside.caller import Caller

NUSD = Decimal("0.000000001")
TOLD_WITHIN_S = 15
METRIC = "gateway_ledger_drift_nusd"


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with standing(durable=False, reconcile_s=1) as put_up:
        yield put_up


def drift_nusd(stand: Stand) -> float:
    """Return the drift that any process of the gateway reports, the largest."""
    found = [0.0]
    for url in (stand.gateway.base_url, stand.gateway.admin_url):
        text = httpx.get(f"{url}/metrics", timeout=20).text
        found += [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(METRIC)]
    return max(found)


def audited(stand: Stand, scope_id: str) -> list[dict[str, Any]]:
    """Return what the audit says of an account's books."""
    rows = stand.books.execute(
        "SELECT before::text AS before, after::text AS after FROM audit_entries"
        " WHERE object_kind = 'ledger' AND action = 'reconcile' AND object_id = $1",
        UUID(scope_id),
    )
    return [dict(row) for row in rows]


def put_into_redis(stand: Stand, caller: Caller, nusd: int) -> None:
    stand.account(caller).add(nusd)


def put_into_balances(stand: Stand, caller: Caller, nusd: int) -> None:
    sql = "UPDATE balances SET cost_nusd = cost_nusd + $2 WHERE scope_kind = 'key' AND scope_id = $1"
    stand.books.execute(sql, UUID(caller.key_id), nusd)


def put_into_hours(stand: Stand, caller: Caller, nusd: int) -> None:
    sql = (
        "UPDATE usage_hourly SET cost_nusd = cost_nusd + $2 WHERE (key_id, tags_hash) ="
        " (SELECT key_id, tags_hash FROM usage_hourly WHERE key_id = $1 ORDER BY tags_hash LIMIT 1)"
    )
    stand.books.execute(sql, UUID(caller.key_id), nusd)


BOOKS = {"redis": put_into_redis, "balances": put_into_balances, "usage_hourly": put_into_hours}


def books_of(stand: Stand, caller: Caller) -> list[Any]:
    """Return what each book says of a key."""
    key_id = UUID(caller.key_id)
    balances = stand.books.execute("SELECT hour, cost_nusd FROM balances WHERE scope_id = $1 ORDER BY hour", key_id)
    hours = stand.books.execute(
        "SELECT hour, cost_nusd FROM usage_hourly WHERE key_id = $1 ORDER BY hour, tags_hash", key_id
    )
    return [stand.account(caller).balance(), list(map(tuple, balances)), list(map(tuple, hours))]


@pytest.mark.parametrize("nusd", [1, -1])
@pytest.mark.parametrize("book", BOOKS)
def test_a_nano_dollar_is_told_and_left_where_it_is(stand: Stand, book: str, nusd: int):
    with stand.caller(budget={"amount": "5", "period": "total"}) as caller:
        told = stand.crowd.ask(*(Question(caller.key, new_tag(), max_tokens=3) for _ in range(5)))
        stand.books.wait_for(told, key_id=caller.key_id)
        stand.books.assert_balanced(caller.key_id, within_s=10)
        eventually(lambda: drift_nusd(stand) == 0, within_s=TOLD_WITHIN_S)
        assert audited(stand, caller.key_id) == []
        BOOKS[book](stand, caller, nusd)
        try:
            falsified = books_of(stand, caller)
            eventually(lambda: audited(stand, caller.key_id) != [], within_s=TOLD_WITHIN_S)
            # A row may be in the books of its key and of its organisation.
            eventually(lambda: 1 <= drift_nusd(stand) <= 2, within_s=TOLD_WITHIN_S)
            before, after = (json.loads(audited(stand, caller.key_id)[0][name]) for name in ("before", "after"))
            assert Decimal(after["amount"]) - Decimal(before["amount"]) == nusd * NUSD
            assert books_of(stand, caller) == falsified, "a book was changed"
        finally:
            # Put right by hand, as an administrator would: nothing is told any more.
            BOOKS[book](stand, caller, -nusd)
        eventually(lambda: drift_nusd(stand) == 0, within_s=TOLD_WITHIN_S)


def test_books_agree_while_they_are_written(stand: Stand):
    """A comparison in the middle of a load finds nothing."""
    with stand.caller(budget={"amount": "5", "period": "total"}) as caller:
        seen: list[float] = []
        asking = stand.crowd.begin(
            stand.crowd.at_rate(40, seconds=5, make=lambda _: Question(caller.key, new_tag(), max_tokens=3))
        )
        while not asking.done():
            seen.append(drift_nusd(stand))
        assert all(each.is_whole for each in asking.result(timeout=60))
        assert set(seen) == {0.0}
        assert audited(stand, caller.key_id) == []
