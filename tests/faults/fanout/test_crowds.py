"""Many fan-outs at once, of which many are left: nothing stays open, held or unwritten, and no budget is overspent."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from faults.fanout.panel import LAST, LEGS, VERDICT, Panel, Told, panel
from outside.caller import CHAT, Caller
from outside.ledger import Ledger

from providers.testing import Script

CROWD = 200
AMOUNT_NUSD = 5_000_000
ENSEMBLES = {"racing": {"strategy": "race", "members": list(LEGS)}}
KINDS: list[dict[str, Any]] = [
    {"strategy": "race"},
    {"strategy": "hedge", "after_s": 0.05},
    {"strategy": "first_valid", "check": {"regex": "word1"}},
    {"strategy": "quorum", "quorum": 2},
    {"strategy": "best_of", "judge": LAST, "min_success": 2},
    {"strategy": "mixture", "fuser": LAST},
    {"strategy": "cascade", "check": {"regex": "word3"}},
    {"strategy": "compare", "deadline_s": 0.3},
]


@pytest.fixture(scope="module")
def found() -> Iterator[Panel]:
    with panel(ensembles=ENSEMBLES, cache={"mode": "exact"}) as made:
        yield made


def any_script(dice: random.Random) -> Script:
    """Return something that a model may do: slowly, badly or not at all."""
    words, delay = dice.randrange(2, 20), dice.randrange(80)
    return dice.choice(
        [
            Script(output_tokens=words, head_delay_ms=delay, chunk_delay_ms=dice.randrange(10)),
            Script(output_tokens=words, first_chunk_delay_ms=delay, chunk_delay_ms=dice.randrange(10)),
            Script(output_tokens=4, head_delay_ms=delay),
            Script(status=dice.choice([400, 429, 500]), head_delay_ms=delay),
            Script(output_tokens=60, fault="reset", fault_after_bytes=700),
            Script(fault="stall"),
            Script(refusal="no"),
        ]
    )


async def test_two_hundred_fan_outs_that_are_left_at_random_leave_nothing(found: Panel):
    dice = random.Random(7)
    with Caller(found.gateway, budget={"amount": "100", "period": "total"}) as caller:
        scripts: list[str] = []

        async def one(number: int) -> Told | None:
            judge = dice.choice(
                [Script(text=VERDICT % "A"), Script(text="?"), Script(fault="stall"), Script(status=500)]
            )
            scripts.append(script := found.tell(*(any_script(dice) for _ in LEGS), last=judge))
            kind = {"deadline_s": 0.5} | dice.choice(KINDS) | {"models": list(LEGS)}
            is_ensemble = number % 5 == 0
            where: dict[str, Any] = {"path": CHAT, "model": "racing", "headers": {"x_gateway_timeout_s": "1"}}
            fanout, more = (None, where) if is_ensemble else (kind, {})
            await asyncio.sleep(dice.random() * 0.5)
            client = await found.client(fanout, script, key=caller.key, stream=dice.random() < 0.5, **more).send()
            if dice.random() < 0.5:
                await asyncio.sleep(dice.random() * 0.4)
                client.leave()
                return None
            return await client.listen()

        told = [each for each in await asyncio.gather(*map(one, range(CROWD))) if each is not None]
        assert len(told) > CROWD / 4
        assert {each.status for each in told} <= {200, 400, 429, 502, 504}
        assert sum(each.status == 200 for each in told) > 10
        await found.rest(caller.key_id)
        calls = sum(len(found.calls(name, script)) for script in scripts for name in (*LEGS, LAST))
        used = found.gateway.admin("GET", f"/budgets/key/{caller.key_id}")["use"][0]["used"]
        spent_nusd = round(float(used) * 10**9)
        rows = Ledger(found.gateway).wait_until(
            lambda rows: sum(row["cost_nusd"] for row in rows) == spent_nusd, within_s=20, key_id=caller.key_id
        )
    requests: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        requests[row["request_id"]].append(row)
    for attempts in requests.values():
        assert [row["attempt"] for row in attempts] == list(range(1, len(attempts) + 1))
        assert sum(bool(row["is_final"]) for row in attempts) == 1
    assert len(told) <= len(requests) <= CROWD
    # A call that was cut before its socket was there is in the ledger, and nobody else knows of it.
    assert calls <= len(rows) < calls * 1.2
    assert sum(row["cost_nusd"] for row in rows) == spent_nusd
    for each in told:
        found.rows(each, int(each.headers["x-gateway-attempts"]))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_fifty_fan_outs_at_once_never_overspend_a_budget(found: Panel, stream: bool):
    amount = f"0.{AMOUNT_NUSD:09d}"
    kinds = [{"strategy": "race"}, {"strategy": "compare"}, {"strategy": "best_of", "judge": LAST}]
    # Vendors that overshoot are not the gateway's fault; these say all that they may.
    script = found.tell(*(Script(output_tokens=600, head_delay_ms=50) for _ in LEGS), last=Script(output_tokens=3_000))
    with Caller(found.gateway, budget={"amount": amount, "period": "total"}, cache={"mode": "off"}) as caller:

        async def one(number: int) -> Told:
            return await found.ask(
                {**kinds[number % 3], "models": list(LEGS)}, script, key=caller.key, max_tokens=500, stream=stream
            )

        told = await asyncio.gather(*map(one, range(50)))
        again = [await one(number) for number in range(12)]
        await found.rest(caller.key_id)
        calls = sum(len(found.calls(name, script)) for name in (*LEGS, LAST))
        rows = Ledger(found.gateway).wait(calls, within_s=20, key_id=caller.key_id)
    assert len(rows) == calls
    spent = sum(row["cost_nusd"] for row in rows)
    statuses = {each.status for each in (*told, *again)}
    assert statuses == {200, 429}, statuses
    assert {each.error["code"] for each in (*told, *again) if each.status == 429} == {"insufficient_quota"}
    assert AMOUNT_NUSD * 0.7 < spent <= AMOUNT_NUSD
