"""Identical requests in flight share one call, whatever becomes of its leader, its provider or its followers."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from faults.cache.crowd import CHAT, CHAT_STREAM, Client, Told, ask, called, calls_of, prompt_of
from outside.caller import Caller
from outside.forms import FORMS, GEMINI_STREAM, MESSAGES_STREAM, STREAMED
from outside.ledger import Ledger, cost_nusd
from servers.caching import Stand, caching
from servers.configs import PRICE

from providers.testing import Script

ONCE: dict[str, Any] = {"price": dict(PRICE), "retries": 0, "breaker": False}
ANY = [{"provider": "fake", "model": "fake-model"}]
MODELS = {
    "once": {"targets": ANY, **ONCE},
    "falling": {"targets": [{"provider": "faulty", "model": "fake-500"}], **ONCE, "fallbacks": ["spare"]},
    "spare": {"targets": [{"provider": "local", "model": "fake-local"}], **ONCE},
}
REQUESTS = 10_000
WORDS = 30
STEADY = Script(output_tokens=WORDS, chunk_delay_ms=10)
SAID = "".join(f"word{at} " for at in range(WORDS))
SLOW_HEAD = Script(output_tokens=WORDS, head_delay_ms=250)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with caching(models=MODELS) as running:
        yield running


@pytest.fixture
def caller(stand: Stand) -> Iterator[Caller]:
    limits = {"requests_per_minute": REQUESTS}
    with Caller(stand.gateway, budget={"amount": "100", "period": "total"}, limits=limits) as fresh:
        yield fresh


def settled(stand: Stand, caller: Caller, count: int) -> list[dict[str, Any]]:
    """Return the key's rows when there are so many; nothing is held by then, and nobody is in flight."""
    rows = Ledger(stand.gateway).wait(count, within_s=20, key_id=caller.key_id)
    assert len(rows) == count, [(row["outcome"], row["cache_status"]) for row in rows]
    deadline = time.monotonic() + 5
    while not is_at_rest(stand, caller):
        assert time.monotonic() < deadline, "something is held or in flight for good"
        time.sleep(0.02)
    return rows


def is_at_rest(stand: Stand, caller: Caller) -> bool:
    held = stand.gateway.admin("GET", f"/budgets/key/{caller.key_id}")["use"][0]["held"]
    metrics = httpx.get(f"{stand.gateway.base_url}/metrics").text
    inflight = re.search(r'^gateway_inflight\{plane="gateway"\} (\S+)$', metrics, re.MULTILINE)
    return float(held) == 0 and inflight is not None and float(inflight[1]) == 0


def statuses(told: list[Told]) -> Counter[str]:
    assert {one.said.status for one in told} == {200}, [one.text for one in told if one.said.status != 200]
    return Counter(one.cache for one in told)


# --- Many at once


@pytest.mark.parametrize(
    ("forms", "script"),
    [((CHAT,), SLOW_HEAD), ((CHAT_STREAM,), STEADY), ((CHAT, CHAT_STREAM), STEADY), (FORMS, STEADY)],
    ids=["whole", "streamed", "mixed", "dialects"],
)
async def test_a_hundred_that_ask_the_same_make_one_call(
    stand: Stand, caller: Caller, forms: tuple[Any, ...], script: Script
) -> None:
    prompt = prompt_of(stand, script)
    crowd = [forms[at % len(forms)] for at in range(100)]
    told = await asyncio.gather(*(ask(caller, form, prompt) for form in crowd))
    assert calls_of(stand, prompt) == 1
    assert statuses(told)["miss"] == 1
    assert set(statuses(told)) <= {"miss", "coalesced", "exact"}
    heard = {form.read(one.text) for form, one in zip(crowd, told, strict=True)}
    assert {one.text for one in heard} == {SAID}
    assert {(one.tokens[1], one.ends) for one in heard} == {(WORDS, "stop")}
    rows = settled(stand, caller, 100)
    paid = [row for row in rows if row["cache_status"] == "miss"]
    cost = cost_nusd(paid[0]["input_tokens"], WORDS)
    assert [row["cost_nusd"] for row in paid] == [cost]
    others = [row for row in rows if row["cache_status"] != "miss"]
    assert {(row["cost_nusd"], row["saved_nusd"], row["outcome"], row["status"]) for row in others} == {
        (0, cost, "ok", 200)
    }


async def test_streams_are_live_for_all(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, STEADY)
    leader = await Client(caller, CHAT_STREAM, prompt).send()
    await leader.hear(b"word3 ")
    told, first = await asyncio.gather(
        asyncio.gather(*(ask(caller, form, prompt) for form in STREAMED)), leader.listen()
    )
    assert statuses(told) == {"coalesced": len(STREAMED)}
    assert all(one.first_s < first.last_s - 0.05 for one in told)
    for form, one in zip(STREAMED, told, strict=True):
        assert form.read(one.text) == CHAT_STREAM.read(first.text), str(form)


async def test_followers_are_told_of_usage_that_the_leader_did_not_want(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, STEADY)
    unasked = {"stream_options": {"include_usage": False}}
    leader = await Client(caller, CHAT_STREAM, prompt, **unasked).send()
    await leader.hear(b"word3 ")
    told, unwilling = await asyncio.gather(
        asyncio.gather(*(ask(caller, form, prompt) for form in STREAMED)), ask(caller, CHAT_STREAM, prompt, **unasked)
    )
    assert statuses([*told, unwilling]) == {"coalesced": len(STREAMED) + 1}
    assert {form.read(one.text).tokens[1] for form, one in zip(STREAMED, told, strict=True)} == {WORDS}
    assert '"usage":{' not in (await leader.listen()).text.replace(" ", "") + unwilling.text.replace(" ", "")


async def test_who_has_its_own_wish_does_not_share(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, SLOW_HEAD)
    wishes = [
        ("x-gateway-cache", "refresh"),
        ("x-gateway-cache", "off"),
        ("cache-control", "no-store"),
        ("cache-control", "no-cache"),
    ]
    told = await asyncio.gather(
        ask(caller, CHAT, prompt), *(ask(caller, CHAT, prompt, headers=[one]) for one in wishes)
    )
    assert statuses(told) == {"miss": 4, "off": 1}
    assert calls_of(stand, prompt) == 5


async def test_who_comes_when_it_is_over_gets_what_is_kept(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, STEADY)
    told = [await ask(caller, form, prompt) for form in (CHAT_STREAM, CHAT_STREAM, CHAT)]
    assert [one.cache for one in told] == ["miss", "exact", "exact"]


# --- The leader goes


@pytest.mark.parametrize("form", [CHAT, CHAT_STREAM], ids=str)
async def test_a_follower_takes_over_from_a_leader_that_leaves_before_content(
    stand: Stand, caller: Caller, form: Any
) -> None:
    prompt = prompt_of(stand, SLOW_HEAD)
    leader = await Client(caller, form, prompt).send()
    await called(stand, prompt)
    followers = [await Client(caller, each, prompt).send() for each in (CHAT, CHAT_STREAM, MESSAGES_STREAM)]
    await asyncio.sleep(0.05)
    leader.leave()
    told = await asyncio.gather(*(one.listen() for one in followers))
    assert sum(statuses(told).values()) == 3
    assert statuses(told)["miss"] == 1
    assert {one.form.read(heard.text).text for one, heard in zip(followers, told, strict=True)} == {SAID}
    assert calls_of(stand, prompt) == 2
    rows = settled(stand, caller, 4)
    assert Counter(row["outcome"] for row in rows) == {"cancelled": 1, "ok": 3}
    # Whoever took over is counted once, and so is everybody else.
    last = await ask(caller, CHAT, prompt)
    assert last.said.headers["x-ratelimit-remaining-requests"] == str(REQUESTS - 5)


async def test_followers_get_everything_when_the_leader_leaves_in_the_middle(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, STEADY)
    leader = await Client(caller, CHAT_STREAM, prompt).send()
    await leader.hear(b"word2 ")
    followers = [await Client(caller, form, prompt).send() for form in (CHAT_STREAM, GEMINI_STREAM, CHAT)]
    await asyncio.gather(*(one.hear(b"word4 ") for one in followers[:2]))
    leader.leave()
    told = await asyncio.gather(*(one.listen() for one in followers))
    assert {one.form.read(heard.text).text for one, heard in zip(followers, told, strict=True)} == {SAID}
    assert (statuses(told), calls_of(stand, prompt)) == ({"coalesced": 3}, 1)
    rows = settled(stand, caller, 4)
    paid = next(row for row in rows if row["cache_status"] == "miss")
    assert (paid["output_tokens"], paid["outcome"]) == (WORDS, "cancelled")
    assert paid["cost_nusd"] == cost_nusd(paid["input_tokens"], WORDS)
    assert {row["saved_nusd"] for row in rows if row is not paid} == {paid["cost_nusd"]}
    assert (await ask(caller, CHAT, prompt)).cache == "exact"


@pytest.mark.parametrize("is_leader_first", [True, False])
async def test_a_call_ends_when_all_have_left(stand: Stand, caller: Caller, is_leader_first: bool) -> None:
    prompt = prompt_of(stand, Script(output_tokens=100, chunk_delay_ms=10))
    leader = await Client(caller, CHAT_STREAM, prompt).send()
    await leader.hear(b"word2 ")
    follower = await Client(caller, CHAT_STREAM, prompt).send()
    await follower.hear(b"word4 ")
    for one in (leader, follower) if is_leader_first else (follower, leader):
        one.leave()
        await asyncio.sleep(0.1)
    rows = settled(stand, caller, 2)
    assert {row["outcome"] for row in rows} == {"cancelled"}
    assert 0 < max(row["output_tokens"] for row in rows) < 90
    again = await Client(caller, CHAT_STREAM, prompt).send()
    await again.hear(b"x-gateway-cache: miss")
    again.leave()


# --- The provider breaks


async def test_followers_try_again_when_the_leaders_provider_fails(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, Script(status=500, head_delay_ms=150, times=1), SLOW_HEAD)
    told = await asyncio.gather(*(ask(caller, CHAT, prompt, model="once") for _ in range(10)))
    assert Counter(one.said.status for one in told) == {200: 9, 502: 1}
    assert calls_of(stand, prompt) == 2
    assert len(settled(stand, caller, 10)) == 10


async def test_an_error_is_shared_when_two_leaders_have_met_it(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, Script(status=500, head_delay_ms=150))
    told = await asyncio.gather(*(ask(caller, CHAT, prompt, model="once") for _ in range(10)))
    assert Counter(one.said.status for one in told) == {502: 10}
    assert calls_of(stand, prompt) == 2
    assert len(settled(stand, caller, 2)) == 2


async def test_a_refusal_is_shared_by_those_who_sent_the_same_only(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, Script(status=400, head_delay_ms=150, times=1), SLOW_HEAD)
    first = asyncio.create_task(ask(caller, CHAT, prompt, model="once"))
    await called(stand, prompt)
    told = await asyncio.gather(
        first, ask(caller, CHAT, prompt, model="once"), ask(caller, CHAT_STREAM, prompt, model="once")
    )
    assert [one.said.status for one in told] == [400, 400, 200]
    assert CHAT_STREAM.read(told[2].text).text == SAID


@pytest.mark.parametrize("form", STREAMED, ids=str)
async def test_followers_are_told_when_the_leaders_stream_breaks(stand: Stand, caller: Caller, form: Any) -> None:
    prompt = prompt_of(stand, Script(output_tokens=WORDS, chunk_delay_ms=20, fault="close", fault_after_frames=12))
    leader = await Client(caller, CHAT_STREAM, prompt, model="once").send()
    await leader.hear(b"word2 ")
    told = await ask(caller, form, prompt, model="once")
    assert (told.said.status, told.cache) == (200, "coalesced")
    assert "word3 " in told.text
    assert "error" in told.text.lower()
    ends = ("[DONE]", "message_stop", "response.completed", '"STOP"', '"finished"')
    assert not any(end in told.text for end in ends)
    assert not told.text.rstrip().endswith("]") or form.name != "gemini array"
    assert "[DONE]" not in (await leader.listen()).text
    rows = settled(stand, caller, 2)
    assert [(row["cache_status"], row["outcome"]) for row in rows] == [
        ("miss", "interrupted"),
        ("coalesced", "interrupted"),
    ]
    assert (await ask(caller, CHAT, prompt_of(stand, STEADY))).cache == "miss"


async def test_whole_answers_are_asked_for_again_when_a_stream_breaks(stand: Stand, caller: Caller) -> None:
    broken = Script(output_tokens=WORDS, chunk_delay_ms=20, fault="close", fault_after_frames=8, times=1)
    prompt = prompt_of(stand, broken, STEADY)
    leader = await Client(caller, CHAT_STREAM, prompt, model="once").send()
    await leader.hear(b"word1 ")
    told = await ask(caller, CHAT, prompt, model="once")
    assert CHAT.read(told.text).text == SAID
    await leader.listen()


# --- Limits and rights


async def test_followers_are_not_refused_by_the_leaders_limits(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, SLOW_HEAD)
    with Caller(stand.gateway, budget={"amount": "0.000000001", "period": "total"}) as poor:
        told = await asyncio.gather(ask(poor, CHAT, prompt), *(ask(caller, CHAT, prompt) for _ in range(5)))
    assert Counter(one.said.status for one in told[1:]) == {200: 5}
    assert told[0].said.status in {200, 429}
    assert calls_of(stand, prompt) == 1


async def test_a_follower_is_refused_by_its_own_limits(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, STEADY)
    leader = await Client(caller, CHAT_STREAM, prompt).send()
    await leader.hear(b"word1 ")
    with Caller(stand.gateway, limits={"requests_per_minute": 1}) as limited:
        told = await asyncio.gather(*(ask(limited, CHAT_STREAM, prompt) for _ in range(3)))
    assert Counter(one.said.status for one in told) == {200: 1, 429: 2}
    assert CHAT_STREAM.read((await leader.listen()).text).text == SAID


async def test_an_answer_that_the_leaders_limits_cut_short_is_not_the_followers(stand: Stand) -> None:
    prompt = prompt_of(stand, Script(output_tokens=100, chunk_delay_ms=5))
    with Caller(stand.gateway, limits={"max_output_tokens": 20}) as short, Caller(stand.gateway) as free:
        leader = await Client(short, CHAT_STREAM, prompt).send()
        await leader.hear(b"word1 ")
        told = await asyncio.gather(
            ask(free, CHAT_STREAM, prompt), ask(free, CHAT, prompt), ask(short, CHAT_STREAM, prompt)
        )
        cut = CHAT_STREAM.read((await leader.listen()).text)
    forms = (CHAT_STREAM, CHAT, CHAT_STREAM)
    heard = [form.read(one.text) for form, one in zip(forms, told, strict=True)]
    assert (cut.tokens[1], cut.ends) == (20, "length")
    assert [one.tokens[1] for one in heard] == [100, 100, 20]


async def test_another_models_answer_is_shared_only_with_those_who_may_have_it(stand: Stand) -> None:
    prompt, spare = f"say it {uuid4()}", stand.provider.journal
    stand.provider.script(Script(output_tokens=WORDS, chunk_delay_ms=20, first_chunk_delay_ms=100), model="fake-local")
    with Caller(stand.gateway) as free, Caller(stand.gateway, models=["falling"]) as bound:
        leader = await Client(free, CHAT_STREAM, prompt, model="falling").send()
        async with asyncio.timeout(5):
            while not spare.for_model("fake-local"):  # noqa: ASYNC110 - it happens in another thread
                await asyncio.sleep(0.005)
        late = [ask(free, form, prompt, model="falling") for form in (CHAT_STREAM, CHAT)]
        never = [ask(bound, form, prompt, model="falling") for form in (CHAT_STREAM, CHAT)]
        wont = ask(free, CHAT, prompt, model="falling", headers=[("x-gateway-fallbacks", ",")])
        shared, refused, alone = await asyncio.gather(asyncio.gather(*late), asyncio.gather(*never), wont)
        await leader.listen()
    assert [(one.said.status, one.cache, one.said.headers["x-gateway-model"]) for one in shared] == [
        (200, "coalesced", "spare")
    ] * 2
    assert {one.said.status for one in (*refused, alone)} == {502}
    assert len(spare.for_model("fake-local")) == 1


# --- Pace and time


async def test_a_slow_leader_slows_nobody(stand: Stand, caller: Caller) -> None:
    # More than all the buffers between the gateway and a client that does not read.
    prompt = prompt_of(stand, Script(output_tokens=250, pad_bytes=20_000, chunk_delay_ms=2))
    leader = await Client(caller, CHAT_STREAM, prompt, window_bytes=4096).send()
    await leader.hear(b"word1 ")
    told = await asyncio.gather(*(ask(caller, CHAT_STREAM, prompt) for _ in range(3)))
    assert {CHAT_STREAM.read(one.text).tokens[1] for one in told} == {250}
    assert statuses(told) == {"coalesced": 3}
    assert CHAT_STREAM.read((await leader.listen()).text).tokens[1] == 250
    assert len(settled(stand, caller, 4)) == 4


@pytest.mark.parametrize("form", [CHAT, CHAT_STREAM], ids=str)
async def test_a_follower_has_its_own_deadline(stand: Stand, caller: Caller, form: Any) -> None:
    prompt = prompt_of(stand, Script(output_tokens=WORDS, head_delay_ms=3_000))
    leader = await Client(caller, CHAT_STREAM, prompt).send()
    await called(stand, prompt)
    began_s = time.monotonic()
    told = await ask(caller, form, prompt, headers=[("x-gateway-timeout-s", "0.2")])
    assert (told.said.status, told.last_s - began_s < 2) == (504, True)
    assert CHAT_STREAM.read((await leader.listen()).text).text == SAID
    assert len(settled(stand, caller, 1)) == 1


async def test_a_leaders_deadline_is_not_its_followers(stand: Stand, caller: Caller) -> None:
    prompt = prompt_of(stand, STEADY)
    leader = await Client(caller, CHAT_STREAM, prompt, headers=[("x-gateway-timeout-s", "0.2")]).send()
    await leader.hear(b"word2 ")
    told = await asyncio.gather(*(ask(caller, form, prompt) for form in (CHAT_STREAM, CHAT)))
    assert {SAID} == {CHAT_STREAM.read(told[0].text).text, CHAT.read(told[1].text).text}
    cut = await leader.listen()
    assert "[DONE]" not in cut.text
    assert calls_of(stand, prompt) == 1


# --- Chaos


async def test_random_leaving_leaves_nothing_behind(stand: Stand, caller: Caller) -> None:
    dice = random.Random(6)
    prompts = [prompt_of(stand, Script(output_tokens=20, chunk_delay_ms=5, first_chunk_delay_ms=20)) for _ in range(8)]

    async def one() -> None:
        await asyncio.sleep(dice.random() * 0.6)
        client = await Client(caller, dice.choice(FORMS), dice.choice(prompts)).send()
        if dice.random() < 0.5:
            await asyncio.sleep(dice.random() * 0.15)
            client.leave()
        else:
            told = await client.listen()
            assert client.form.read(told.text).text == "".join(f"word{at} " for at in range(20))

    await asyncio.gather(*(one() for _ in range(300)))
    deadline = time.monotonic() + 5
    while not is_at_rest(stand, caller):
        assert time.monotonic() < deadline, "something is held or in flight for good"
        await asyncio.sleep(0.05)
    assert (await ask(caller, CHAT, prompts[0])).said.status == 200
