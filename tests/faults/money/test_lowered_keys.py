"""What an administrator takes away is gone on every worker within seconds, Redis or no Redis."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import Stand
from outside.caller import Caller
from servers.proxy import Faults

WITHIN_S = 5.0
WITHOUT_REDIS_WITHIN_S = 30.0
PROBES = 16

Change = Callable[[Stand, Caller], None]


def revoke(stand: Stand, caller: Caller) -> None:
    stand.gateway.admin("POST", f"/keys/{caller.key_id}/revoke")


def lower_the_limit(stand: Stand, caller: Caller) -> None:
    stand.gateway.admin("PUT", f"/limits/key/{caller.key_id}", json={"requests_per_minute": 1})


def lower_the_budget(stand: Stand, caller: Caller) -> None:
    stand.gateway.admin("PUT", f"/budgets/key/{caller.key_id}", json={"amount": "0.000001", "period": "total"})


CHANGES: dict[str, tuple[Change, int]] = {
    "revoked": (revoke, 401),
    "limited": (lower_the_limit, 429),
    "budgeted": (lower_the_budget, 429),
}


def check(stand: Stand, how: str, *, within_s: float, is_store_away: bool = False) -> None:
    """Ask both workers all the time while the key is changed, until none admits any more; then none ever does."""
    change, status = CHANGES[how]
    refused = {status} | ({503} if is_store_away and how == "budgeted" else set[int]())
    budget = {"amount": "5", "period": "total"}
    with stand.caller(limits={"requests_per_minute": 100_000}, **_budget_of(how, budget)) as caller:
        asked = Question(caller.key, new_tag())

        def probe() -> list[Told]:
            return stand.crowd.ask(*(asked._replace(tag=new_tag()) for _ in range(PROBES)))

        assert is_store_away or all(each.is_whole for each in probe())
        change(stand, caller)
        changed_at = time.monotonic()
        told = probe()
        while any(each.is_whole for each in told):
            assert time.monotonic() - changed_at < within_s
            told = probe()
        assert {each.status for each in told} <= refused
        assert not any(each.is_whole for each in probe())


def _budget_of(how: str, budget: dict[str, Any]) -> dict[str, Any]:
    return {"budget": budget} if how == "budgeted" else {}


@contextmanager
def without_redis(stand: Stand, how: str) -> Iterator[None]:
    if how == "held":
        stand.redis_proxy.up = stand.redis_proxy.down = Faults(is_held=True)
    else:
        stand.redis_proxy.refuses = True
        stand.redis_proxy.sever()
    try:
        yield
    finally:
        stand.redis_proxy.heal()


@pytest.mark.parametrize("how", CHANGES)
def test_every_worker_knows_within_seconds(stand: Stand, how: str):
    check(stand, how, within_s=WITHIN_S)


@pytest.mark.parametrize("fault", ["held", "refused"])
@pytest.mark.parametrize("how", ["revoked", "limited"])
def test_every_worker_knows_without_redis_too(stand: Stand, how: str, fault: str):
    with without_redis(stand, fault):
        check(stand, how, within_s=WITHOUT_REDIS_WITHIN_S, is_store_away=True)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("turn", range(10))
@pytest.mark.parametrize("how", CHANGES)
def test_again_and_again(stand: Stand, how: str, turn: int):
    del turn
    check(stand, how, within_s=WITHIN_S)
