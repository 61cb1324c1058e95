"""What several models have answered is kept, shared and given again as one answer; what is no one answer is not."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from faults.fanout.panel import LAST, LEGS, LLM, VERDICT, Panel, Told, panel
from outside.caller import CHAT
from prometheus_client.parser import text_string_to_metric_families
from servers.promtool import promtool

from providers.testing import Script

SAID = tuple(Script(text=f"the answer of {name}", head_delay_ms=150) for name in LEGS)
JUDGE = Script(text=VERDICT % "B")
ENSEMBLES = {
    "racing": {"strategy": "race", "members": list(LEGS)},
    "judged": {"strategy": "best_of", "members": list(LEGS), "judge": LAST},
    "fused": {"strategy": "mixture", "members": list(LEGS), "fuser": LAST},
    "stepping": {"strategy": "cascade", "members": list(LEGS), "check": {"regex": "of b"}},
    "comparing": {"strategy": "compare", "members": list(LEGS)},
}
CALLS = {"racing": 3, "judged": 4, "fused": 4, "stepping": 2, "comparing": 3}


@pytest.fixture(scope="module")
def found() -> Iterator[Panel]:
    with panel(ensembles=ENSEMBLES, cache={"mode": "exact"}) as made:
        yield made


def calls_of(found: Panel, script: str) -> int:
    return sum(len(found.calls(name, script)) for name in (*LEGS, LAST))


def said(told: Told) -> str:
    """Return what was said, in either dialect, whole or streamed."""
    if told.headers["content-type"].startswith("text/event-stream"):
        chunks = [choice for frame in told.frames for choice in frame.get("choices", [])]
        if chunks:
            return "".join(choice["delta"].get("content") or "" for choice in chunks)
    elif "choices" in told.answer:
        return str(told.answer["choices"][0]["message"]["content"])
    return told.content


@pytest.mark.parametrize("name", ["racing", "judged", "fused", "stepping"])
@pytest.mark.parametrize(("path", "stream"), [(CHAT, False), (CHAT, True), (LLM, False), (LLM, True)])
async def test_an_answer_is_kept_and_given_again_in_every_form(found: Panel, name: str, path: str, stream: bool):
    script = found.tell(*SAID, last=JUDGE)
    first = await found.ask(None, script, model=name, path=path, stream=stream)
    assert (first.status, first.headers["x-gateway-cache"]) == (200, "miss"), first.text
    assert calls_of(found, script) == CALLS[name]
    for other in ((path, stream), (CHAT, False), (CHAT, True), (LLM, True)):
        again = await found.ask(None, script, model=name, path=other[0], stream=other[1])
        assert again.headers["x-gateway-cache"] == "exact", again.text
        assert (said(again), again.headers["x-gateway-model"]) == (said(first), first.headers["x-gateway-model"])
    assert calls_of(found, script) == CALLS[name]


async def test_the_answer_of_one_fan_out_is_not_that_of_another(found: Panel):
    script = found.tell(*SAID, last=JUDGE)
    fan_outs: list[Any] = [
        None,
        {"strategy": "cascade", "models": ["a"]},
        {"strategy": "cascade", "models": ["a", "b"]},
        {"strategy": "cascade", "models": ["a", "b"], "check": {"regex": "b$"}},
    ]
    told = [await found.ask(fanout, script, model="a") for fanout in fan_outs]
    assert [one.headers["x-gateway-cache"] for one in told] == ["miss"] * 4
    assert [one.content[-1] for one in told] == ["a", "a", "a", "b"]


async def test_all_answers_are_asked_for_anew(found: Panel):
    script = found.tell(*SAID, last=JUDGE)
    for fanout, model, path in (
        (None, "comparing", CHAT),
        ({"strategy": "compare", "models": list(LEGS)}, "a", LLM),
        ({"strategy": "best_of", "models": list(LEGS), "judge": LAST, "return_candidates": True}, "a", LLM),
    ):
        told = await asyncio.gather(*(found.ask(fanout, script, model=model, path=path) for _ in range(3)))
        assert {one.headers["x-gateway-cache"] for one in told} == {"bypass"}
        if fanout is not None:
            assert {len(one.answer["candidates"]) for one in told} == {3}
    assert calls_of(found, script) == 9 + 9 + 12


async def test_what_is_not_as_it_was_wanted_is_not_kept(found: Panel):
    script = found.tell(*SAID, last=Script(status=500))
    told = [await found.ask(None, script, model="judged") for _ in range(2)]
    assert [(one.headers["x-gateway-cache"], one.fanout) for one in told] == [
        ("miss", "best_of; legs=3; reason=judge_failed")
    ] * 2
    assert calls_of(found, script) == 8


@pytest.mark.parametrize("name", ["racing", "judged", "fused"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_identical_fan_outs_share_one_set_of_calls(found: Panel, name: str, stream: bool):
    script = found.tell(*SAID, last=JUDGE)
    forms = [(CHAT, stream), (LLM, stream)] * 5
    told = await asyncio.gather(
        *(found.ask(None, script, model=name, path=path, stream=streamed) for path, streamed in forms)
    )
    assert {one.status for one in told} == {200}, [one.text for one in told]
    assert Counter(one.headers["x-gateway-cache"] for one in told) == {"miss": 1, "coalesced": 9}
    assert len({said(one) for one in told}) == len({one.headers["x-gateway-model"] for one in told}) == 1
    assert calls_of(found, script) == CALLS[name]
    await found.rest()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_refusal_is_shared_while_it_is_asked_for_and_not_kept(found: Panel, stream: bool):
    refusal = Script(refusal="no, thank you", head_delay_ms=600)
    script = found.tell(refusal, refusal, Script(text=" "))
    forms = [CHAT, LLM] * 3
    told = await asyncio.gather(*(found.ask(None, script, model="racing", path=path, stream=stream) for path in forms))
    assert {one.status for one in told} == {200}, [one.text for one in told]
    assert Counter(one.headers["x-gateway-cache"] for one in told) == {"miss": 1, "coalesced": 5}
    for one in told:
        assert all(word in one.text for word in ("no", "thank", "you")), one.text
    assert calls_of(found, script) == 3
    again = await found.ask(None, script, model="racing", path=CHAT, stream=stream)
    assert again.headers["x-gateway-cache"] == "miss"
    await found.rest()


@pytest.mark.parametrize("name", ["racing", "judged"])
async def test_whoever_follows_is_answered_though_the_leader_leaves(found: Panel, name: str):
    script = found.tell(*SAID, last=JUDGE)
    leader = await found.client(None, script, model=name, path=CHAT, stream=True).send()
    await found.called("a", script)
    others = [asyncio.create_task(found.ask(None, script, model=name, path=CHAT, stream=True)) for _ in range(3)]
    await asyncio.sleep(0.13)
    leader.leave()
    told = await asyncio.gather(*others)
    assert {one.status for one in told} == {200}
    assert len({said(one) for one in told}) == 1
    await found.rest()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_repeated_request_is_answered_by_the_same_calls(found: Panel, stream: bool):
    fanout = {"strategy": "best_of", "models": list(LEGS), "judge": LAST, "return_candidates": True}
    script = found.tell(*SAID, last=JUDGE)
    headers = {"idempotency_key": script}
    told = [await found.ask(fanout, script, stream=stream, headers=headers) for _ in range(2)]
    assert told[0].said.body == told[1].said.body
    assert told[1].headers["idempotent-replayed"] == "true"
    assert [one.fanout for one in told] == ["best_of; legs=3"] * 2
    other = await found.ask({**fanout, "strategy": "race"}, script, stream=stream, headers=headers)
    assert other.status == 409
    assert calls_of(found, script) == 4


async def test_a_client_that_leaves_may_come_back_for_its_answer(found: Panel):
    fanout = {"strategy": "compare", "models": list(LEGS)}
    script = found.tell(*SAID)
    client = await found.client(fanout, script, headers={"idempotency_key": script}).send()
    await found.called("c", script)
    client.leave()
    told = await found.ask(fanout, script, headers={"idempotency_key": script})
    assert (told.status, len(told.answer["candidates"])) == (200, 3)
    assert calls_of(found, script) == 3
    await found.rest()


def test_the_metrics_count_every_leg(found: Panel):
    text = httpx.get(f"{found.gateway.base_url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("gateway_fanout_legs_total{")]
    assert any('strategy="best_of"' in line and 'model="b"' in line and 'outcome="won"' in line for line in lines)
    done = promtool(["check", "metrics"], stdin=text.encode())
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_metrics_tell_the_time_and_the_cost_of_every_leg(stream: bool):
    with panel(ensembles=ENSEMBLES) as made:
        script = made.tell(SAID[0], SAID[1], Script(fault="stall"), last=JUDGE)
        told = [
            await made.ask({"strategy": "race", "models": list(LEGS)}, script, stream=stream),
            await made.ask({"strategy": "best_of", "models": ["a", "b"], "judge": LAST}, script, stream=stream),
        ]
        rows = [row for each in told for found in made.rows(each, 3).values() for row in found]
        scrape = await asyncio.to_thread(httpx.get, f"{made.gateway.base_url}/metrics")
        counted = _legs_counted(scrape.text)
    costs = {labels: value for (name, labels), value in counted.items() if name == "cost_usd_total"}
    assert round(sum(costs.values()) * 10**9) == sum(row["cost_nusd"] for row in rows) > 0
    parts = {(strategy, model, outcome) for strategy, model, outcome in costs}
    assert {("best_of", LAST, "judge"), ("race", "c", "lost")} <= parts
    firsts = {labels: value for (name, labels), value in counted.items() if name == "first_token_seconds_sum"}
    assert ("race", "c", "lost") not in firsts, "it never had any content"
    waited = [value for (strategy, _, outcome), value in firsts.items() if (strategy, outcome) == ("race", "won")]
    assert len(waited) == 1
    assert waited[0] > 0.14


def _legs_counted(text: str) -> dict[tuple[str, tuple[str, str, str]], float]:
    """Return what is told of legs: by the name of the series, and strategy, model and outcome."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (
            sample.name.removeprefix("gateway_fanout_leg_"),
            (sample.labels["strategy"], sample.labels["model"], sample.labels["outcome"]),
        ): sample.value
        for sample in samples
        if sample.name.startswith("gateway_fanout_leg_") and "le" not in sample.labels
    }
