"""Every strategy over what a model may do: who wins, what the ledger says of the others, and when they are cut off."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from faults.fanout.cases import (
    ANY,
    BREAKS,
    BROKEN,
    CHECK,
    EMPTY,
    ERROR,
    FAST,
    HANG,
    INVALID,
    LATE,
    LOST,
    OK,
    OVERDUE,
    REFUSAL,
    REFUSED,
    SLOW,
    Case,
)
from faults.fanout.derived import derived_cases
from faults.fanout.panel import LAST, LEGS, VERDICT, Panel, Told, panel
from outside.charges import check_failed

from providers.testing import Script

FOUR = Script(text="It is 4.0")
FOUR_LATER = Script(text="four: 4", head_delay_ms=200)
FIVE = Script(text="5")
FUSED = Script(text="both fused")
JUDGE = Script(text=VERDICT % "A")
AT_ONCE = 12
CASES = [
    # race: whoever has content first; a broken stream that has begun has won already.
    Case("fast and slow", "race", {}, (SLOW, FAST, LATE), "b", (LOST, OK, LOST)),
    Case("one fails first", "race", {}, (ERROR, SLOW, LATE), "b", (("error", ANY), OK, LOST)),
    Case("one is refused", "race", {}, (REFUSED, SLOW, LATE), "b", (("refused", ANY), OK, LOST)),
    Case("a hang", "race", {}, (HANG, SLOW, HANG), "b", (LOST, OK, LOST)),
    Case("breaks whole", "race", {}, (BROKEN, SLOW, HANG), "b", ((ANY, ANY), OK, LOST), streams=(False,)),
    Case("a refusal", "race", {}, (REFUSAL, SLOW, HANG), "b", (OK, OK, LOST)),
    Case("white space", "race", {}, (EMPTY, SLOW, HANG), "b", (OK, OK, LOST)),
    Case("only refusals", "race", {}, (REFUSAL, EMPTY, REFUSAL), "a", (OK,) * 3, reason="only_refusals"),
    Case("only white space", "race", {}, (EMPTY,) * 3, "all_legs_failed", (OK,) * 3),
    Case(
        "a refusal at the deadline",
        "race",
        {"deadline_s": 2.5},
        (HANG, REFUSAL, HANG),
        "b",
        (OVERDUE, OK, OVERDUE),
        reason="deadline",
    ),
    Case("all fail", "race", {}, (ERROR, ERROR, ERROR), "upstream_error", (("error", ANY),) * 3),
    Case("all are refused", "race", {}, (REFUSED,) * 3, "invalid_request_error", (("refused", ANY),) * 3),
    Case("too late", "race", {"deadline_s": 0.4}, (HANG, LATE, HANG), "deadline", (OVERDUE,) * 3),
    # hedge: the next starts when the one before has failed or is slow.
    Case("the first is quick", "hedge", {"after_s": 3}, (FAST, FAST, FAST), "a", (OK, None, None)),
    Case("the first hangs", "hedge", {"after_s": 0.1}, (HANG, SLOW, LATE), "b", (LOST, OK, LOST)),
    Case("the first fails", "hedge", {"after_s": 5}, (ERROR, FAST, FAST), "b", (("error", ANY), OK, None)),
    Case("white space", "hedge", {"after_s": 5}, (EMPTY, FAST, FAST), "b", (OK, OK, None)),
    Case("only refusals", "hedge", {"after_s": 5}, (REFUSAL,) * 3, "a", (OK,) * 3, reason="only_refusals"),
    Case("all hang", "hedge", {"after_s": 0.1, "deadline_s": 2.5}, (HANG,) * 3, "deadline", (OVERDUE,) * 3),
    # first_valid
    Case("the quick is wrong", "first_valid", CHECK, (INVALID, SLOW, LATE), "b", (OK, OK, LOST)),
    Case("broken and refusing", "first_valid", CHECK, (BROKEN, REFUSAL, SLOW), "c", ((ANY, ANY), OK, OK)),
    Case("a hang", "first_valid", CHECK, (HANG, ERROR, SLOW), "c", (LOST, ("error", ANY), OK)),
    Case("none is valid", "first_valid", CHECK, (INVALID,) * 3, "no_valid_answer", (OK,) * 3),
    Case(
        "too late", "first_valid", CHECK | {"deadline_s": 2.5}, (INVALID, HANG, HANG), "deadline", (OK, *(OVERDUE,) * 2)
    ),
    # quorum
    Case("two agree", "quorum", {"quorum": 2, "normalize": "number"}, (FOUR, FOUR_LATER, LATE), "a", (OK, OK, LOST)),
    Case("one errs", "quorum", {"quorum": 2, "normalize": "number"}, (FIVE, FOUR, FOUR_LATER), "b", (OK, OK, OK)),
    Case(
        "none can any more",
        "quorum",
        {"quorum": 3, "normalize": "number"},
        (FIVE, FOUR, HANG),
        "quorum_not_reached",
        (OK, OK, LOST),
    ),
    Case(
        "too late",
        "quorum",
        {"quorum": 2, "deadline_s": 2.5},
        (FIVE, HANG, ERROR),
        "deadline",
        (OK, OVERDUE, ("error", ANY)),
    ),
    # best_of: the judge sees whoever has answered by the deadline.
    Case(
        "judged",
        "best_of",
        {"judge": LAST, "min_success": 2, "deadline_s": 2.5},
        (FAST, HANG, FAST),
        "a or c",
        (OK, OVERDUE, OK, OK),
        last=JUDGE,
    ),
    Case(
        "one survives", "best_of", {"judge": LAST}, (ERROR, BROKEN, FAST), "c", (("error", ANY), (ANY, ANY), OK, None)
    ),
    Case("refusals do not count", "best_of", {"judge": LAST}, (REFUSAL, EMPTY, FAST), "c", (OK, OK, OK, None)),
    Case(
        "too few",
        "best_of",
        {"judge": LAST, "min_success": 2},
        (ERROR, ERROR, FAST),
        "too_few_answers",
        (("error", ANY), ("error", ANY), OK, None),
    ),
    Case("all fail", "best_of", {"judge": LAST}, (ERROR,) * 3, "upstream_error", (*(("error", ANY),) * 3, None)),
    Case(
        "enough", "best_of", {"judge": LAST, "quorum": 2}, (FAST, FAST, HANG), "a or b", (OK, OK, LOST, OK), last=JUDGE
    ),
    # mixture
    Case("fused", "mixture", {"fuser": LAST}, (FAST, SLOW, ERROR), LAST, (OK, OK, ("error", ANY), OK), last=FUSED),
    Case(
        "one survives",
        "mixture",
        {"fuser": LAST},
        (ERROR, FAST, ERROR),
        "b",
        (("error", ANY), OK, ("error", ANY), None),
    ),
    Case(
        "the fuser fails",
        "mixture",
        {"fuser": LAST},
        (FAST, SLOW, INVALID),
        "a",
        (OK, OK, OK, ("error", ANY)),
        last=ERROR,
        reason="fuser_failed",
    ),
    Case(
        "the fuser says nothing",
        "mixture",
        {"fuser": LAST},
        (FAST, SLOW, ERROR),
        "a",
        (OK, OK, ("error", ANY), OK),
        last=EMPTY,
        reason="fuser_failed",
    ),
    Case(
        "at the deadline",
        "mixture",
        {"fuser": LAST, "deadline_s": 2.5},
        (FAST, FAST, HANG),
        LAST,
        (OK, OK, OVERDUE, OK),
        last=FUSED,
    ),
    # cascade
    Case("the first does", "cascade", CHECK, (SLOW, FAST, FAST), "a", (OK, None, None)),
    Case("it escalates", "cascade", CHECK, (INVALID, REFUSAL, SLOW), "c", (OK, OK, OK)),
    Case("errors escalate", "cascade", {}, (ERROR, SLOW, FAST), "b", (("error", ANY), OK, None)),
    Case("white space escalates", "cascade", {}, (EMPTY, REFUSAL, SLOW), "c", (OK, OK, OK)),
    Case("only refusals", "cascade", {}, (REFUSAL,) * 3, "a", (OK,) * 3, reason="only_refusals"),
    Case("the last refuses", "cascade", CHECK, (INVALID, INVALID, REFUSAL), "b", (OK,) * 3, reason="escalation_failed"),
    Case("unsure", "cascade", {"min_logprob": -0.1}, (FAST, FAST, FAST), "c", (OK, OK, OK)),
    Case(
        "the last breaks",
        "cascade",
        CHECK,
        (INVALID, INVALID, ERROR),
        "b",
        (OK, OK, ("error", ANY)),
        reason="escalation_failed",
    ),
    Case(
        "a hang",
        "cascade",
        CHECK | {"deadline_s": 2.5},
        (INVALID, HANG, FAST),
        "a",
        (OK, OVERDUE, None),
        reason="deadline",
    ),
    # compare
    Case("all", "compare", {}, (FAST, SLOW, INVALID), "a", (OK, OK, OK)),
    Case(
        "by the deadline",
        "compare",
        {"deadline_s": 2.5, "min_success": 2},
        (FAST, HANG, INVALID),
        "a",
        (OK, OVERDUE, OK),
    ),
    Case(
        "too few",
        "compare",
        {"deadline_s": 2.5, "min_success": 2},
        (FAST, HANG, ERROR),
        "too_few_answers",
        (OK, OVERDUE, ("error", ANY)),
    ),
]
TABLE = [*CASES, *derived_cases()]


@pytest.fixture(scope="module")
def found() -> Iterator[Panel]:
    with panel() as made:
        yield made


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_who_wins_and_what_becomes_of_the_others(found: Panel, stream: bool):
    gate, failures = asyncio.Semaphore(AT_ONCE), {}

    async def one(case: Case) -> None:
        async with gate:
            try:
                await _check(found, case, stream=stream)
            except (AssertionError, TimeoutError, LookupError) as error:
                failures[str(case)] = f"{type(error).__name__}: {error}"[:1500]

    await asyncio.gather(*(one(case) for case in TABLE if stream in case.streams))
    assert not failures, "\n\n".join(f"{name}\n{text}" for name, text in failures.items())
    await found.rest()


async def _check(found: Panel, case: Case, *, stream: bool) -> None:
    script = found.tell(*case.does, last=case.last)
    fields = {"strategy": case.strategy, "models": list(LEGS), **case.fields}
    logprobs = {"logprobs": True} if "min_logprob" in case.fields else {}
    told = await found.ask(fields, script, stream=stream, **logprobs)
    _check_answer(case, told)
    await _check_ledger(found, case, told, script)


def _check_answer(case: Case, told: Told) -> None:
    legs = len([each for each, _ in zip(case.rows, LEGS, strict=False) if each is not None])
    reason = "" if case.reason is None else f"; reason={case.reason}"
    assert told.fanout == f"{case.strategy}; legs={legs}{reason}", told.text
    names = case.won.split(" or ")
    if case.won == BREAKS:
        assert (told.status, told.frames[-1]["type"], "[DONE]" in told.text) == (200, "error", False)
        return
    if not {*names} <= {*LEGS, LAST}:
        assert (told.error["code"], told.status >= 400) == (case.won, True)
        return
    assert told.status == 200, told.text
    answer = told.answer
    assert answer["model"] in names
    assert told.headers["x-gateway-model"] == answer["model"]
    assert answer["provider"] == told.headers["x-gateway-provider"] == answer["model"]
    script = (*case.does, case.last)[(*LEGS, LAST).index(answer["model"])]
    assert script is not None
    assert told.content == script.text
    if told.frames:
        text = "".join(frame["text"] for frame in told.frames if frame["type"] == "text")
        assert text == (script.refusal or script.text)
        outcomes = {frame["model"]: frame["outcome"] for frame in told.frames if frame["type"] == "leg"}
        assert len(outcomes) == legs
        won = [name for name, outcome in outcomes.items() if outcome == "won"]
        assert case.strategy == "compare" or won == [answer["model"]] or answer["model"] == LAST
    compared = [each["model"] for each in answer["candidates"]]
    wanted = (
        [name for name, row in zip(LEGS, case.rows, strict=False) if row == OK] if case.strategy == "compare" else []
    )
    assert compared == wanted


async def _check_ledger(found: Panel, case: Case, told: Told, script: str) -> None:
    expected = {name: row for name, row in zip((*LEGS, LAST), case.rows, strict=False) if row is not None}
    rows = found.rows(told, len(expected))
    assert set(rows) == set(expected)
    finals = [name for name, [row] in rows.items() if row["is_final"]]
    if told.status == 200:
        assert finals == ["a" if case.won == BREAKS else told.answer["model"]]
    for name, (outcome, code) in expected.items():
        [row] = rows[name]
        assert outcome is ANY or row["outcome"] == outcome, (name, row["outcome"], row["error_code"])
        assert code is ANY or row["error_code"] == code, (name, row["outcome"], row["error_code"])
        assert row["cost_nusd"] is not None
        if row["outcome"] not in {"ok", "cancelled"}:
            check_failed(row, dict(zip((*LEGS, LAST), (*case.does, case.last), strict=True))[name])
        if row["outcome"] == "cancelled":
            assert (row["input_tokens"] > 0, row["usage_source"]) == (True, "estimated")
            await found.left(name, script, by_s=told.first_s or told.ended_s)


async def test_a_stream_that_breaks_after_it_has_won_is_said_to_break(found: Panel):
    script = found.tell(BROKEN, LATE, HANG)
    told = await found.ask({"strategy": "race", "models": list(LEGS)}, script, stream=True)
    assert told.frames[-1]["type"] == "error"
    assert "[DONE]" not in told.text
    rows = found.rows(told, 3)
    assert [(rows[name][0]["outcome"], bool(rows[name][0]["is_final"])) for name in LEGS] == [
        ("interrupted", True),
        ("cancelled", False),
        ("cancelled", False),
    ]
    assert rows["a"][0]["output_tokens"] > 0


@pytest.mark.parametrize(
    ("fields", "last"),
    [
        ({"strategy": "race"}, None),
        ({"strategy": "hedge", "after_s": 3}, None),
        ({"strategy": "cascade"}, None),
        ({"strategy": "mixture", "fuser": LAST}, Script(output_tokens=40, chunk_delay_ms=60)),
    ],
    ids=["race", "hedge", "cascade", "mixture"],
)
async def test_answers_are_live(found: Panel, fields: dict[str, Any], last: Script | None):
    live = Script(output_tokens=40, chunk_delay_ms=60)
    script = found.tell(live if last is None else FAST, LATE if last is None else FAST, None, last=last)
    told = await found.ask({"models": ["a", "b"], **fields}, script, stream=True)
    assert told.ended_s - told.first_s > 1
    assert told.content == "".join(f"word{at} " for at in range(40))
    assert told.first_s - told.began_s < 1.8
