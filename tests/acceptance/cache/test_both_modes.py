"""The cache in one process, and on a Redis that several workers share."""

import asyncio
from uuid import uuid4

from faults.cache.crowd import CHAT, CHAT_STREAM, Client, ask, called, prompt_of
from outside.caller import Caller
from outside.ledger import Ledger
from servers.caching import EXACT, Stand
from servers.gateway import GatewayProcess

from providers.testing import FakeProvider, Script

WORDS = 20
SAID = "".join(f"word{at} " for at in range(WORDS))


async def test_what_one_worker_keeps_all_give_again(gateway: GatewayProcess, fake_provider: FakeProvider) -> None:
    with Caller(gateway, cache=EXACT) as own:
        prompt = f"say it {uuid4()}"
        made = await ask(own, CHAT, prompt)
        await asyncio.sleep(0.1)
        again = await asyncio.gather(*(ask(own, form, prompt) for form in (CHAT, CHAT_STREAM) for _ in range(8)))
    assert (made.cache, {one.cache for one in again}) == ("miss", {"exact"})
    assert len(fake_provider.journal.entries) == 1
    assert {(CHAT, CHAT_STREAM)[at // 8].read(one.text) for at, one in enumerate(again)} == {CHAT.read(made.text)}


async def test_whoever_takes_over_from_a_leader_is_admitted_and_counted_once(
    gateway: GatewayProcess, fake_provider: FakeProvider
) -> None:
    stand = Stand(gateway, fake_provider, {})
    prompt = prompt_of(stand, Script(output_tokens=WORDS, head_delay_ms=300))
    limits, budget = {"requests_per_minute": 1_000, "concurrency": 99}, {"amount": "9", "period": "total"}
    with Caller(gateway, cache=EXACT, limits=limits, budget=budget) as own:
        leaders = [await Client(own, CHAT, prompt).send() for _ in range(4)]
        await called(stand, prompt)
        followers = [await Client(own, form, prompt).send() for form in (CHAT, CHAT_STREAM) * 4]
        await asyncio.sleep(0.1)
        for leader in leaders:
            leader.leave()
        told = await asyncio.gather(*(follower.listen() for follower in followers))
        assert {one.said.status for one in told} == {200}, [one.text for one in told]
        assert {each.form.read(one.text).text for each, one in zip(followers, told, strict=True)} == {SAID}
        rows = Ledger(gateway).wait(len(followers), within_s=20, key_id=own.key_id)
        paid = sum(row["cost_nusd"] for row in rows)
        (use,) = gateway.admin("GET", f"/budgets/key/{own.key_id}")["use"]
        assert (use["held"], use["used"]) == ("0.000000000", f"0.{paid:09d}")
