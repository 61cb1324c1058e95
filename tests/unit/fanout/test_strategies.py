"""What each strategy does with legs that are fast, slow, broken, empty, unwilling or silent: move by move.

`100 stream 1` is said 100 ms after the start; `wait+0@1000` starts leg 0 and looks again at 1000 ms; the deadline is at
10 s. What the behaviours are is in `scripted_legs`.
"""

import pytest
from scripted_legs import BEHAVIOURS, Script, answer, run, told

from app.fanout.judgement import Judgement
from app.fanout.moves import Give, Stream
from app.fanout.states import LegState

SCHEMA = {"json_schema": {"type": "object", "required": ["n"]}}

RACE = {"strategy": "race"}
HEDGE = {"strategy": "hedge"}
FIRST_VALID = {"strategy": "first_valid", "check": SCHEMA}
QUORUM = {"strategy": "quorum", "quorum": 2, "normalize": "json"}
BEST_OF = {"strategy": "best_of", "judge": "j"}
MIXTURE = {"strategy": "mixture", "fuser": "f"}
CASCADE = {"strategy": "cascade"}
CASCADE_CHECKED = {"strategy": "cascade", "check": SCHEMA}
CASCADE_SURE = {"strategy": "cascade", "min_logprob": -1.0}
COMPARE = {"strategy": "compare"}

TABLE = [
    # race
    (RACE, "fast slow", "0 wait+0+1; 100 stream 0"),
    (RACE, "slow fast", "0 wait+0+1; 100 stream 1"),
    (RACE, "early_error slow", "0 wait+0+1; 50 wait; 1500 stream 1"),
    (RACE, "early_error early_error", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (RACE, "refused refused", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (RACE, "late_error fast", "0 wait+0+1; 100 stream 0"),
    (RACE, "refusal slow", "0 wait+0+1; 200 wait; 1500 stream 1"),
    (RACE, "refusal refusal", "0 wait+0+1; 200 wait; 200 give 0 (only_refusals)"),
    (RACE, "filtered fast", "0 wait+0+1; 100 stream 1"),
    (RACE, "empty slow", "0 wait+0+1; 200 wait; 1500 stream 1"),
    (RACE, "empty empty", "0 wait+0+1; 200 wait; 200 fail all_legs_failed"),
    (RACE, "invalid slow", "0 wait+0+1; 100 stream 0"),
    (RACE, "invalid invalid", "0 wait+0+1; 100 stream 0"),
    (RACE, "hang fast", "0 wait+0+1; 100 stream 1"),
    (RACE, "hang hang", "0 wait+0+1; 10000 fail deadline"),
    (RACE, "hang refusal", "0 wait+0+1; 200 wait; 10000 give 1 (deadline)"),
    # hedge
    (HEDGE, "fast slow", "0 wait+0@1000; 100 stream 0"),
    (HEDGE, "slow fast", "0 wait+0@1000; 1000 wait+1; 1100 stream 1"),
    (HEDGE, "early_error slow", "0 wait+0@1000; 50 wait+1; 1000 wait; 1550 stream 1"),
    (HEDGE, "early_error early_error", "0 wait+0@1000; 50 wait+1; 100 fail all_legs_failed"),
    (HEDGE, "refused refused", "0 wait+0@1000; 50 wait+1; 100 fail all_legs_failed"),
    (HEDGE, "late_error fast", "0 wait+0@1000; 100 stream 0"),
    (HEDGE, "refusal slow", "0 wait+0@1000; 200 wait+1; 1000 wait; 1700 stream 1"),
    (HEDGE, "refusal refusal", "0 wait+0@1000; 200 wait+1; 400 give 0 (only_refusals)"),
    (HEDGE, "filtered fast", "0 wait+0@1000; 200 wait+1; 300 stream 1"),
    (HEDGE, "empty slow", "0 wait+0@1000; 200 wait+1; 1000 wait; 1700 stream 1"),
    (HEDGE, "empty empty", "0 wait+0@1000; 200 wait+1; 400 fail all_legs_failed"),
    (HEDGE, "invalid slow", "0 wait+0@1000; 100 stream 0"),
    (HEDGE, "invalid invalid", "0 wait+0@1000; 100 stream 0"),
    (HEDGE, "hang fast", "0 wait+0@1000; 1000 wait+1; 1100 stream 1"),
    (HEDGE, "hang hang", "0 wait+0@1000; 1000 wait+1; 10000 fail deadline"),
    (HEDGE, "hang refusal", "0 wait+0@1000; 1000 wait+1; 1200 wait; 10000 give 1 (deadline)"),
    (HEDGE, "slow slow slow", "0 wait+0@1000; 1000 wait+1@2000; 1500 stream 0"),
    (HEDGE, "hang hang fast", "0 wait+0@1000; 1000 wait+1@2000; 2000 wait+2; 2100 stream 2"),
    (
        HEDGE,
        "early_error hang fast",
        "0 wait+0@1000; 50 wait+1@1050; 1000 wait@1050; 1050 wait+2; 1050 wait; 1150 stream 2",
    ),
    # first_valid
    (FIRST_VALID, "fast slow", "0 wait+0+1; 200 give 0"),
    (FIRST_VALID, "slow fast", "0 wait+0+1; 200 give 1"),
    (FIRST_VALID, "early_error slow", "0 wait+0+1; 50 wait; 3000 give 1"),
    (FIRST_VALID, "early_error early_error", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (FIRST_VALID, "refused refused", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (FIRST_VALID, "late_error fast", "0 wait+0+1; 150 wait; 200 give 1"),
    (FIRST_VALID, "refusal slow", "0 wait+0+1; 200 wait; 3000 give 1"),
    (FIRST_VALID, "refusal refusal", "0 wait+0+1; 200 wait; 200 fail no_valid_answer"),
    (FIRST_VALID, "filtered fast", "0 wait+0+1; 200 wait; 200 give 1"),
    (FIRST_VALID, "empty slow", "0 wait+0+1; 200 wait; 3000 give 1"),
    (FIRST_VALID, "empty empty", "0 wait+0+1; 200 wait; 200 fail all_legs_failed"),
    (FIRST_VALID, "invalid slow", "0 wait+0+1; 200 wait; 3000 give 1"),
    (FIRST_VALID, "invalid invalid", "0 wait+0+1; 200 wait; 200 fail no_valid_answer"),
    (FIRST_VALID, "hang fast", "0 wait+0+1; 200 give 1"),
    (FIRST_VALID, "hang hang", "0 wait+0+1; 10000 fail deadline"),
    (FIRST_VALID, "hang refusal", "0 wait+0+1; 200 wait; 10000 fail deadline"),
    # quorum
    (QUORUM, "fast slow", "0 wait+0+1; 200 wait; 3000 give 0"),
    (QUORUM, "slow fast", "0 wait+0+1; 200 wait; 3000 give 0"),
    (QUORUM, "early_error slow", "0 wait+0+1; 50 fail quorum_not_reached"),
    (QUORUM, "early_error early_error", "0 wait+0+1; 50 fail quorum_not_reached"),
    (QUORUM, "refused refused", "0 wait+0+1; 50 fail quorum_not_reached"),
    (QUORUM, "late_error fast", "0 wait+0+1; 150 fail quorum_not_reached"),
    (QUORUM, "refusal slow", "0 wait+0+1; 200 fail quorum_not_reached"),
    (QUORUM, "refusal refusal", "0 wait+0+1; 200 fail quorum_not_reached"),
    (QUORUM, "filtered fast", "0 wait+0+1; 200 fail quorum_not_reached"),
    (QUORUM, "empty slow", "0 wait+0+1; 200 fail quorum_not_reached"),
    (QUORUM, "empty empty", "0 wait+0+1; 200 fail quorum_not_reached"),
    (QUORUM, "invalid slow", "0 wait+0+1; 200 fail quorum_not_reached"),
    (QUORUM, "invalid invalid", "0 wait+0+1; 200 fail quorum_not_reached"),
    (QUORUM, "hang fast", "0 wait+0+1; 200 wait; 10000 fail deadline"),
    (QUORUM, "hang hang", "0 wait+0+1; 10000 fail deadline"),
    (QUORUM, "hang refusal", "0 wait+0+1; 200 fail quorum_not_reached"),
    (QUORUM, "fast other slow", "0 wait+0+1+2; 200 wait; 3000 give 0"),
    (QUORUM, "fast other hang", "0 wait+0+1+2; 200 wait; 10000 fail deadline"),
    (QUORUM, "fast fast hang", "0 wait+0+1+2; 200 wait; 200 give 0"),
    (QUORUM, "fast other invalid", "0 wait+0+1+2; 200 wait; 250 fail quorum_not_reached"),
    (QUORUM, "slow slow slow", "0 wait+0+1+2; 3000 wait; 3000 give 0"),
    # best_of
    (BEST_OF, "fast slow", "0 wait+0+1; 200 wait; 3000 judge 0,1; 3000 give 0 (judge_failed)"),
    (BEST_OF, "slow fast", "0 wait+0+1; 200 wait; 3000 judge 0,1; 3000 give 0 (judge_failed)"),
    (BEST_OF, "early_error slow", "0 wait+0+1; 50 wait; 3000 give 1"),
    (BEST_OF, "early_error early_error", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (BEST_OF, "refused refused", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (BEST_OF, "late_error fast", "0 wait+0+1; 150 wait; 200 give 1"),
    (BEST_OF, "refusal slow", "0 wait+0+1; 200 wait; 3000 give 1"),
    (BEST_OF, "refusal refusal", "0 wait+0+1; 200 wait; 200 give 0 (only_refusals)"),
    (BEST_OF, "filtered fast", "0 wait+0+1; 200 wait; 200 give 1"),
    (BEST_OF, "empty slow", "0 wait+0+1; 200 wait; 3000 give 1"),
    (BEST_OF, "empty empty", "0 wait+0+1; 200 wait; 200 fail all_legs_failed"),
    (BEST_OF, "invalid slow", "0 wait+0+1; 200 wait; 3000 judge 0,1; 3000 give 0 (judge_failed)"),
    (BEST_OF, "invalid invalid", "0 wait+0+1; 200 wait; 200 judge 0,1; 200 give 0 (judge_failed)"),
    (BEST_OF, "hang fast", "0 wait+0+1; 200 wait; 10000 give 1"),
    (BEST_OF, "hang hang", "0 wait+0+1; 10000 fail deadline"),
    (BEST_OF, "hang refusal", "0 wait+0+1; 200 wait; 10000 give 1 (deadline)"),
    (BEST_OF, "fast other slow", "0 wait+0+1+2; 200 wait; 3000 judge 0,1,2; 3000 give 0 (judge_failed)"),
    (BEST_OF, "fast other hang", "0 wait+0+1+2; 200 wait; 10000 judge 0,1; 10000 give 0 (judge_failed)"),
    (BEST_OF, "fast fast hang", "0 wait+0+1+2; 200 wait; 10000 judge 0,1; 10000 give 0 (judge_failed)"),
    (BEST_OF, "fast other invalid", "0 wait+0+1+2; 200 wait; 250 judge 0,1,2; 250 give 0 (judge_failed)"),
    (BEST_OF, "slow slow slow", "0 wait+0+1+2; 3000 wait; 3000 judge 0,1,2; 3000 give 0 (judge_failed)"),
    # mixture
    (MIXTURE, "fast slow", "0 wait+0+1; 200 wait; 3000 fuse 0,1; 3000 give 0 (fuser_failed)"),
    (MIXTURE, "slow fast", "0 wait+0+1; 200 wait; 3000 fuse 0,1; 3000 give 0 (fuser_failed)"),
    (MIXTURE, "early_error slow", "0 wait+0+1; 50 wait; 3000 give 1"),
    (MIXTURE, "early_error early_error", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (MIXTURE, "refused refused", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (MIXTURE, "late_error fast", "0 wait+0+1; 150 wait; 200 give 1"),
    (MIXTURE, "refusal slow", "0 wait+0+1; 200 wait; 3000 give 1"),
    (MIXTURE, "refusal refusal", "0 wait+0+1; 200 wait; 200 give 0 (only_refusals)"),
    (MIXTURE, "filtered fast", "0 wait+0+1; 200 wait; 200 give 1"),
    (MIXTURE, "empty slow", "0 wait+0+1; 200 wait; 3000 give 1"),
    (MIXTURE, "empty empty", "0 wait+0+1; 200 wait; 200 fail all_legs_failed"),
    (MIXTURE, "invalid slow", "0 wait+0+1; 200 wait; 3000 fuse 0,1; 3000 give 0 (fuser_failed)"),
    (MIXTURE, "invalid invalid", "0 wait+0+1; 200 wait; 200 fuse 0,1; 200 give 0 (fuser_failed)"),
    (MIXTURE, "hang fast", "0 wait+0+1; 200 wait; 10000 give 1"),
    (MIXTURE, "hang hang", "0 wait+0+1; 10000 fail deadline"),
    (MIXTURE, "hang refusal", "0 wait+0+1; 200 wait; 10000 give 1 (deadline)"),
    (MIXTURE, "fast other slow", "0 wait+0+1+2; 200 wait; 3000 fuse 0,1,2; 3000 give 0 (fuser_failed)"),
    (MIXTURE, "fast other hang", "0 wait+0+1+2; 200 wait; 10000 fuse 0,1; 10000 give 0 (fuser_failed)"),
    (MIXTURE, "fast fast hang", "0 wait+0+1+2; 200 wait; 10000 fuse 0,1; 10000 give 0 (fuser_failed)"),
    (MIXTURE, "fast other invalid", "0 wait+0+1+2; 200 wait; 250 fuse 0,1,2; 250 give 0 (fuser_failed)"),
    (MIXTURE, "slow slow slow", "0 wait+0+1+2; 3000 wait; 3000 fuse 0,1,2; 3000 give 0 (fuser_failed)"),
    # cascade
    (CASCADE, "fast slow", "0 wait+0; 100 stream 0"),
    (CASCADE, "slow fast", "0 wait+0; 1500 stream 0"),
    (CASCADE, "early_error slow", "0 wait+0; 50 wait+1; 1550 stream 1"),
    (CASCADE, "early_error early_error", "0 wait+0; 50 wait+1; 100 fail all_legs_failed"),
    (CASCADE, "refused refused", "0 wait+0; 50 wait+1; 100 fail all_legs_failed"),
    (CASCADE, "late_error fast", "0 wait+0; 100 stream 0"),
    (CASCADE, "refusal slow", "0 wait+0; 200 wait+1; 1700 stream 1"),
    (CASCADE, "refusal refusal", "0 wait+0; 200 wait+1; 400 give 0 (only_refusals)"),
    (CASCADE, "filtered fast", "0 wait+0; 200 wait+1; 300 stream 1"),
    (CASCADE, "empty slow", "0 wait+0; 200 wait+1; 1700 stream 1"),
    (CASCADE, "empty empty", "0 wait+0; 200 wait+1; 400 fail all_legs_failed"),
    (CASCADE, "invalid slow", "0 wait+0; 100 stream 0"),
    (CASCADE, "invalid invalid", "0 wait+0; 100 stream 0"),
    (CASCADE, "hang fast", "0 wait+0; 10000 fail deadline"),
    (CASCADE, "hang hang", "0 wait+0; 10000 fail deadline"),
    (CASCADE, "hang refusal", "0 wait+0; 10000 fail deadline"),
    # cascade_checked
    (CASCADE_CHECKED, "fast slow", "0 wait+0; 200 give 0"),
    (CASCADE_CHECKED, "slow fast", "0 wait+0; 3000 give 0"),
    (CASCADE_CHECKED, "early_error slow", "0 wait+0; 50 wait+1; 1550 stream 1"),
    (CASCADE_CHECKED, "early_error early_error", "0 wait+0; 50 wait+1; 100 fail all_legs_failed"),
    (CASCADE_CHECKED, "refused refused", "0 wait+0; 50 wait+1; 100 fail all_legs_failed"),
    (CASCADE_CHECKED, "late_error fast", "0 wait+0; 150 wait+1; 250 stream 1"),
    (CASCADE_CHECKED, "refusal slow", "0 wait+0; 200 wait+1; 1700 stream 1"),
    (CASCADE_CHECKED, "refusal refusal", "0 wait+0; 200 wait+1; 400 give 0 (only_refusals)"),
    (CASCADE_CHECKED, "filtered fast", "0 wait+0; 200 wait+1; 300 stream 1"),
    (CASCADE_CHECKED, "empty slow", "0 wait+0; 200 wait+1; 1700 stream 1"),
    (CASCADE_CHECKED, "empty empty", "0 wait+0; 200 wait+1; 400 fail all_legs_failed"),
    (CASCADE_CHECKED, "invalid slow", "0 wait+0; 200 wait+1; 1700 stream 1"),
    (CASCADE_CHECKED, "invalid invalid", "0 wait+0; 200 wait+1; 300 stream 1"),
    (CASCADE_CHECKED, "hang fast", "0 wait+0; 10000 fail deadline"),
    (CASCADE_CHECKED, "hang hang", "0 wait+0; 10000 fail deadline"),
    (CASCADE_CHECKED, "hang refusal", "0 wait+0; 10000 fail deadline"),
    # cascade_sure
    (CASCADE_SURE, "sure slow", "0 wait+0; 200 give 0"),
    (CASCADE_SURE, "unsure sure", "0 wait+0; 200 wait+1; 300 stream 1"),
    (CASCADE_SURE, "unsure early_error", "0 wait+0; 200 wait+1; 250 give 0 (escalation_failed)"),
    (CASCADE_SURE, "unsure hang", "0 wait+0; 200 wait+1; 10000 give 0 (deadline)"),
    (CASCADE_SURE, "unsure refusal", "0 wait+0; 200 wait+1; 400 give 0 (escalation_failed)"),
    (CASCADE_SURE, "fast slow", "0 wait+0; 200 give 0"),
    (CASCADE_SURE, "hang fast", "0 wait+0; 10000 fail deadline"),
    # compare
    (COMPARE, "fast slow", "0 wait+0+1; 200 wait; 3000 join 0,1"),
    (COMPARE, "slow fast", "0 wait+0+1; 200 wait; 3000 join 0,1"),
    (COMPARE, "early_error slow", "0 wait+0+1; 50 wait; 3000 join 1"),
    (COMPARE, "early_error early_error", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (COMPARE, "refused refused", "0 wait+0+1; 50 wait; 50 fail all_legs_failed"),
    (COMPARE, "late_error fast", "0 wait+0+1; 150 wait; 200 join 1"),
    (COMPARE, "refusal slow", "0 wait+0+1; 200 wait; 3000 join 0,1"),
    (COMPARE, "refusal refusal", "0 wait+0+1; 200 wait; 200 join 0,1"),
    (COMPARE, "filtered fast", "0 wait+0+1; 200 wait; 200 join 0,1"),
    (COMPARE, "empty slow", "0 wait+0+1; 200 wait; 3000 join 1"),
    (COMPARE, "empty empty", "0 wait+0+1; 200 wait; 200 fail all_legs_failed"),
    (COMPARE, "invalid slow", "0 wait+0+1; 200 wait; 3000 join 0,1"),
    (COMPARE, "invalid invalid", "0 wait+0+1; 200 wait; 200 join 0,1"),
    (COMPARE, "hang fast", "0 wait+0+1; 200 wait; 10000 join 1"),
    (COMPARE, "hang hang", "0 wait+0+1; 10000 fail deadline"),
    (COMPARE, "hang refusal", "0 wait+0+1; 200 wait; 10000 join 1"),
    (COMPARE, "fast other slow", "0 wait+0+1+2; 200 wait; 3000 join 0,1,2"),
    (COMPARE, "fast other hang", "0 wait+0+1+2; 200 wait; 10000 join 0,1"),
    (COMPARE, "fast fast hang", "0 wait+0+1+2; 200 wait; 10000 join 0,1"),
    (COMPARE, "fast other invalid", "0 wait+0+1+2; 200 wait; 250 join 0,1,2"),
    (COMPARE, "slow slow slow", "0 wait+0+1+2; 3000 wait; 3000 join 0,1,2"),
]


@pytest.mark.parametrize(("fields", "legs", "moves"), TABLE)
def test_what_a_strategy_does(fields, legs, moves):
    assert told(fields, legs) == moves


@pytest.mark.parametrize(
    ("fields", "legs", "moves"),
    [
        (RACE, "late_error fast", "0 wait+0+1; 150 wait; 200 stream 1"),
        (RACE, "slow fast", "0 wait+0+1; 200 stream 1"),
        (RACE, "late_error late_error", "0 wait+0+1; 150 wait; 150 fail all_legs_failed"),
        (HEDGE, "late_error fast", "0 wait+0@1000; 150 wait+1; 350 stream 1"),
        (CASCADE, "late_error fast", "0 wait+0; 150 wait+1; 350 give 1"),
        (CASCADE_CHECKED, "invalid invalid", "0 wait+0; 200 wait+1; 400 give 1"),
    ],
)
def test_an_answer_that_breaks_loses_where_nothing_was_streamed(fields, legs, moves):
    assert told(fields, legs, streams=False) == moves


def test_a_hedge_is_as_patient_as_each_leg_usually_is_slow():
    patience_ns = (300_000_000, None, 100_000_000)
    expected = "0 wait+0@300; 300 wait+1@1300; 1300 wait+2@1400; 1400 wait+3; 1500 stream 3"
    assert told(HEDGE, "hang hang hang fast", patience_ns=patience_ns) == expected


def test_a_hedge_is_as_patient_as_the_caller_says():
    expected = "0 wait+0@50; 50 wait+1; 100 stream 0"
    assert told({**HEDGE, "after_s": 0.05}, "fast fast", patience_ns=(9_000_000_000, None)) == expected


def test_a_leg_that_fails_behind_another_starts_no_third_one():
    """Leg 1 runs already: what comes next is its patience's to say."""
    expected = "0 wait+0@1000; 1000 wait+1@2000; 2000 wait+2; 2100 stream 2"
    assert told(HEDGE, "hang hang fast") == expected


@pytest.mark.parametrize(
    ("fields", "moves"),
    [
        (BEST_OF, "0 wait+0+1+2; 200 wait; 10000 judge 0,1; 10000 give 0 (judge_failed)"),
        ({**BEST_OF, "quorum": 2}, "0 wait+0+1+2; 200 wait; 250 judge 0,1; 250 give 0 (judge_failed)"),
        ({**MIXTURE, "quorum": 2}, "0 wait+0+1+2; 200 wait; 250 fuse 0,1; 250 give 0 (fuser_failed)"),
        ({**BEST_OF, "quorum": 1}, "0 wait+0+1+2; 200 give 0"),
        (
            {**BEST_OF, "quorum": 1, "min_success": 2},
            "0 wait+0+1+2; 200 wait; 250 judge 0,1; 250 give 0 (judge_failed)",
        ),
        ({**BEST_OF, "min_success": 3}, "0 wait+0+1+2; 200 wait; 10000 fail too_few_answers"),
        ({**COMPARE, "min_success": 3}, "0 wait+0+1+2; 200 wait; 10000 fail too_few_answers"),
    ],
)
def test_how_many_answers_are_enough(fields, moves):
    assert told(fields, "fast other hang") == moves


def test_the_judge_decides_and_its_scores_stand_at_their_legs():
    judgement = Judgement(ranking=(2, 0), scores={2: 0.9, 0: 0.4})
    ended = run(BEST_OF, "fast early_error other", judgement=judgement)
    assert ended.moves[-1] == Give(index=2, scores=(0.4, None, 0.9), ranking=(2, 0))


@pytest.mark.parametrize("ranking", [(), (1,), (0, 1), (7,), (-1,)])
def test_a_judgement_of_legs_that_were_not_judged_is_none(ranking):
    ended = run(BEST_OF, "fast early_error other", judgement=Judgement(ranking=ranking))
    assert ended.moves[-1] == Give(index=0, reason="judge_failed")


def test_a_single_survivor_needs_no_judge():
    assert told(BEST_OF, "early_error fast refusal").endswith("200 give 1")


def test_equal_answers_decide_and_the_first_of_them_is_given():
    legs = "other early_error fast slow"
    assert told(QUORUM, legs) == "0 wait+0+1+2+3; 50 wait; 3000 give 2"


def test_why_nobody_answered_is_said():
    assert "upstream_error" in run(RACE, "early_error early_error").moves[-1].message
    assert "invalid" in run(RACE, "refused refused").moves[-1].message


def test_strategies_that_need_no_whole_answers():
    named = {"race": RACE, "hedge": HEDGE, "cascade": CASCADE, "checked": CASCADE_CHECKED, "best": BEST_OF}
    kinds = {name: run(fields, "fast fast").strategy for name, fields in named.items()}
    assert [kinds[name].needs_whole for name in kinds] == [False, False, False, True, True]
    assert set(kinds["checked"].live_legs) == {1}
    assert set(kinds["best"].live_legs) == set()


def test_a_check_is_made_once_for_each_answer(monkeypatch):
    seen = []
    monkeypatch.setattr("app.fanout.checks.Check.passes", lambda check, completion: seen.append(completion))
    run({**FIRST_VALID}, "fast other slow")
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("logprobs", "moves"),
    [
        ([-1.0], "0 wait+0; 200 give 0"),
        ([-1.0, -1.01], "0 wait+0; 200 wait+1; 300 stream 1"),
        ([], "0 wait+0; 200 give 0"),
        (["low"], "0 wait+0; 200 give 0"),
    ],
)
def test_how_sure_a_cascade_must_be(logprobs, moves, monkeypatch):
    monkeypatch.setitem(BEHAVIOURS, "sure", Script(100, 200, answer("yes", logprobs=logprobs)))
    assert told(CASCADE_SURE, "sure fast") == moves


def test_of_two_that_are_there_at_once_the_earlier_wins_and_among_equals_the_first():
    race = run(RACE, "fast fast").strategy
    begun = [LegState(index=at, model="m", status="begun", first_ns=first_ns) for at, first_ns in enumerate((7, 5, 5))]
    assert race.next(begun, now_ns=9, is_overdue=False) == Stream(index=1)


def test_a_cascade_that_fails_at_its_end_gives_the_answer_that_got_furthest():
    moves = "0 wait+0; 200 wait+1; 400 wait+2; 450 give 1 (escalation_failed)"
    assert told(CASCADE_SURE, "unsure unsure early_error") == moves
