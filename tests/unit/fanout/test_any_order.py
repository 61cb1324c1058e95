"""Under any order of events every strategy ends, picks what it may, and does the same again."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_legs import Run, Script, answer, refusal

from app.fanout.answers import is_refusal
from app.fanout.judgement import Judgement
from app.fanout.moves import Fail, Give, Join, Stream
from app.fanout.spec import read_fanout
from app.fanout.states import LegState
from app.fanout.strategies import strategy_of
from app.settings.policy import COUNTING_STRATEGIES

FIELDS = {
    "race": {"strategy": "race"},
    "hedge": {"strategy": "hedge"},
    "first_valid": {"strategy": "first_valid", "check": {"regex": "^[ab]$"}},
    "quorum": {"strategy": "quorum", "quorum": 1},
    "best_of": {"strategy": "best_of", "judge": "j"},
    "mixture": {"strategy": "mixture", "fuser": "f"},
    "cascade": {"strategy": "cascade"},
    "cascade_checked": {"strategy": "cascade", "check": {"regex": "a"}, "min_logprob": -1},
    "compare": {"strategy": "compare"},
}
TIMES = st.sampled_from([0, 1, 1, 2, 3, 999, 1_000, 1_001, 5_000])
ANSWERS = st.sampled_from(
    [None, answer("a"), answer("b"), answer("!"), answer(""), refusal(), answer("a", logprobs=[-3.0])]
)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    begins_ms, lasts_ms = draw(st.none() | TIMES), draw(st.none() | TIMES)
    completion = draw(ANSWERS)
    is_silent = completion is not None and (is_refusal(completion) or completion == answer(""))
    begins_ms = None if is_silent else begins_ms
    ends_ms = None if lasts_ms is None else (begins_ms or 0) + lasts_ms
    return Script(begins_ms, ends_ms, completion, is_refused=draw(st.booleans()))


LEGS = st.lists(scripts(), min_size=1, max_size=8)


def made(name: str, legs: Sequence[Script], *, quorum: int | None, min_success: int, **kwargs) -> Run:
    fields = {"quorum": quorum, **FIELDS[name], "models": ["m"] * len(legs), "min_success": min_success}
    if name not in COUNTING_STRATEGIES:
        del fields["min_success"]
    fields["quorum"] = quorum or fields["quorum"]
    run = Run(strategy_of(read_fanout(fields), patience_ns=()), legs, **kwargs)
    run()
    return run


@pytest.mark.parametrize("name", FIELDS)
@settings(max_examples=60, derandomize=True, deadline=None)
@given(data=st.data())
def test_every_order_comes_to_an_end_that_may_be(name, data):
    legs = data.draw(LEGS)
    how = {
        "quorum": data.draw(st.none() | st.integers(1, len(legs))),
        "min_success": data.draw(st.integers(1, len(legs))),
        "ties": data.draw(st.lists(st.integers(0, 9), max_size=6)),
        "streams": data.draw(st.booleans()),
        "judgement": data.draw(st.none() | st.just(Judgement(ranking=tuple(range(len(legs) - 1, -1, -1))))),
        "deadline_ms": data.draw(st.sampled_from([0, 2, 1_000, 6_000, 100_000])),
    }
    run = made(name, legs, **how)
    last = run.moves[-1]
    states = run.legs
    if isinstance(last, Stream):
        assert states[last.index].status == "begun" or states[last.index].completion is not None
    if isinstance(last, Stream | Give):
        assert states[last.index].status in {"begun", "done"}
        assert states[last.index].completion != answer("")
        chosen = states[last.index].completion
        others = [leg.completion for leg in states if leg.completion is not None]
        if chosen is not None and is_refusal(chosen):
            assert all(is_refusal(other) or other == answer("") for other in others)
    if isinstance(last, Join):
        assert all(states[at].status == "done" for at in last.indexes)
    if isinstance(last, Fail) and last.code == "all_legs_failed":
        assert all(leg.status == "failed" or leg.completion == answer("") for leg in states)
    assert made(name, legs, **how).moves == run.moves


@pytest.mark.parametrize("name", FIELDS)
@settings(max_examples=40, derandomize=True, deadline=None)
@given(legs=LEGS, cut=st.sets(st.integers(0, 7)))
def test_cut_legs_count_as_ended(name, legs, cut):
    """A leg that was cut before or after it started never answers, and nobody waits for it."""
    spec = read_fanout({**FIELDS[name], "models": ["m"] * len(legs)})
    strategy = strategy_of(spec, patience_ns=())
    states = [
        LegState(index=at, model="m", status="cut" if at in cut or script.completion is None else "done",
                 completion=None if at in cut else script.completion, ended_ns=at)
        for at, script in enumerate(legs)
    ]  # fmt: skip
    move = strategy.next(states, now_ns=10, is_overdue=False)
    if isinstance(move, Stream | Give):
        assert move.index not in cut
    else:
        assert type(move).__name__ != "Wait"
