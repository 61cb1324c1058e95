"""How a stream of several models begins: what may still be none is held back, and what is held back is not lost."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from faults.fanout.cases import FAST, HANG, LOST, OK, SLOW
from faults.fanout.panel import LEGS, LLM, Client, Panel, Told, panel
from outside.caller import CHAT
from outside.charges import check_failed
from outside.forms import FORMS, Form

from providers.testing import Script

MEMBERS = {"members": list(LEGS)}
ENSEMBLES = {
    "race": {"strategy": "race", **MEMBERS},
    "hedge": {"strategy": "hedge", "after_s": 10, **MEMBERS},
    "cascade": {"strategy": "cascade", **MEMBERS},
}
REFUSAL = Script(refusal="no, and again no")
SECOND = Script(text="good from the second", head_delay_ms=1_500)
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
PATHS = pytest.mark.parametrize("path", [CHAT, LLM], ids=["relayed", "translated"])
MIB = 1 << 20


@pytest.fixture(scope="module")
def found() -> Iterator[Panel]:
    with panel(ensembles=ENSEMBLES) as made:
        yield made


def frames(*deltas: dict[str, Any], ends: str = "stop") -> list[str]:
    """Return the pieces of a stream that says these, one after the other."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "up"}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": ends})
    return [*(f"data: {json.dumps({**head, 'choices': [choice]})}\n\n" for choice in choices), "data: [DONE]\n\n"]


def deltas(told: Told) -> list[str]:
    """Return what a client heard, piece by piece, in either dialect."""
    if '"delta"' not in told.text:
        return [frame["text"] for frame in told.frames if frame["type"] == "text"]
    said = [choice["delta"] for frame in told.frames for choice in frame["choices"]]
    return [text for delta in said if (text := delta.get("content") or delta.get("refusal"))]


async def ask(found: Panel, path: str, name: str, script: str, **more: Any) -> Told:
    return await found.ask(None, script, path=path, model=name, stream=True, **more)


@PATHS
async def test_what_was_held_back_comes_first_and_in_its_order(found: Panel, path: str):
    said = ["\n", " ", "no", "or ", "perhaps"]
    opening = [{"role": "assistant", "content": ""}, *({"content": text} for text in said[:2]), {"refusal": said[2]}]
    script = Script(frames=frames(*opening, *({"content": text} for text in said[3:])), chunk_delay_ms=30)
    told = await ask(found, path, "race", found.tell(script, HANG, HANG))
    assert deltas(told) == said
    if path == CHAT:
        assert told.text.count('"role"') == 1
        assert told.text.endswith("data: [DONE]\n\n")


@PATHS
@pytest.mark.parametrize("name", ENSEMBLES)
async def test_who_only_refuses_has_not_begun(found: Panel, path: str, name: str):
    script = found.tell(REFUSAL, SLOW, None if name == "hedge" else HANG)
    told = await ask(found, path, name, script)
    assert (told.status, "".join(deltas(told))) == (200, SLOW.text)
    assert told.headers["x-gateway-model"] == "b"
    rows = found.rows(told, 3 if name == "race" else 2)
    assert [(row["outcome"], row["error_code"]) for each in LEGS for row in rows.get(each, ())] == (
        [OK, OK, LOST] if name == "race" else [OK, OK]
    )


@PATHS
async def test_white_space_that_another_overtakes_is_cut_off_and_charged(found: Panel, path: str):
    blank = Script(frames=frames(*[{"content": " "}] * 400), chunk_delay_ms=50)
    script = found.tell(blank, SECOND, HANG)
    told = await ask(found, path, "race", script)
    assert "".join(deltas(told)) == SECOND.text
    [row] = found.rows(told, 3)["a"]
    assert (row["outcome"], row["error_code"]) == LOST
    assert 0 < row["output_tokens"] < 400, "what it had said is owed"
    await found.left("a", script, by_s=told.first_s)


@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_a_refusal_is_given_where_there_is_nothing_else(found: Panel, form: Form):
    script = found.tell(REFUSAL, Script(text=" "), REFUSAL)
    body = form.body("race", f"say it [[script {script}]]") | {"model": "race"}
    if form.name.startswith("gemini"):
        del body["model"]
    told = await (await Client(found.gateway, found.caller.key, body, path=form.path("race")).send()).listen()
    assert told.status == 200, told.text
    assert told.fanout == "race; legs=3; reason=only_refusals"
    words = [word for word in (REFUSAL.refusal or "").split() if word not in told.text]
    assert not words, told.text
    rows = found.rows(told, 3)
    assert [(rows[name][0]["outcome"], bool(rows[name][0]["is_final"])) for name in LEGS] == [
        ("ok", True),
        ("ok", False),
        ("ok", False),
    ]


async def test_a_refusal_of_the_same_dialect_passes_through(found: Panel):
    told = await ask(found, CHAT, "race", found.tell(REFUSAL, REFUSAL, REFUSAL))
    assert "".join(deltas(told)) == REFUSAL.refusal
    assert "fp_fake" in told.text, "the bytes are the provider's"
    assert told.text.endswith("data: [DONE]\n\n")
    assert not told.frames[-1].get("usage"), "nobody asked for it"


@PATHS
@pytest.mark.parametrize(
    ("script", "more"),
    [
        (Script(tool_calls=1, chunk_delay_ms=400), {"tools": TOOLS}),
        (Script(reasoning="well now", text="yes", chunk_delay_ms=700), {}),
    ],
    ids=["a call of a tool", "reasoning"],
)
async def test_what_is_no_text_counts_as_well(found: Panel, path: str, script: Script, more: dict[str, Any]):
    told = await ask(found, path, "race", found.tell(script, SECOND, HANG), **more)
    assert (told.status, told.headers["x-gateway-model"]) == (200, "a"), told.text


@PATHS
async def test_what_is_held_back_has_a_bound(found: Panel, path: str):
    blank = {"content": " " * 8_000}
    endless = Script(frames=frames(*[blank] * (MIB // 8_000 + 10)))
    told = await ask(found, path, "cascade", found.tell(endless, FAST))
    assert "".join(deltas(told)) == FAST.text
    [row] = found.rows(told, 2)["a"]
    assert (row["outcome"], row["error_code"]) == ("error", "upstream_too_large")


@PATHS
async def test_an_error_behind_white_space_leaves_the_others_their_chance(found: Panel, path: str):
    said = frames({"content": " "}, {"refusal": "no"}, {"content": "x"})
    breaks = Script(frames=said, fault="reset", fault_after_frames=2, chunk_delay_ms=50)
    told = await ask(found, path, "hedge", found.tell(breaks, FAST))
    assert "".join(deltas(told)) == FAST.text
    [row] = found.rows(told, 2)["a"]
    assert row["outcome"] == "interrupted"
    check_failed(row, breaks)
