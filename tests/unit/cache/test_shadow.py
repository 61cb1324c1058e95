"""What comparisons of would-be hits amount to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache.embedding import vector_of
from app.cache.shadow import LEAST, Report, Step, agree, count_of, report_of, step_of, text_of, threshold_for
from providers.types import Choice, Completion, RefusalPart, TextPart, ThinkingPart

NORTH, NEARLY, EAST = vector_of([1.0, 0.0]), vector_of([1.0, 0.3]), vector_of([0.0, 1.0])


def counts_of(steps):
    """Return the counts of `{similarity: (agreed, differed)}`."""
    counts = {}
    for similarity, (agreed, differed) in steps.items():
        counts[count_of(similarity, agrees=True)] = agreed
        counts[count_of(similarity, agrees=False)] = differed
    return counts


@pytest.mark.parametrize(
    ("one", "other", "vectors", "agrees"),
    [
        ("Paris.", " Paris.\n", (NORTH, EAST), True),
        ("The capital is Paris.", "It is Paris.", (NORTH, NEARLY), True),
        ("The capital is Paris.", "Bread needs yeast.", (NORTH, EAST), False),
        ("It has 2 legs.", "It has 4 legs.", (NORTH, NEARLY), False),
        ("Wait 3 days, then 3 more.", "Wait 3 days.", (NORTH, NEARLY), True),
        ("Yes, it is.", "No, it is not.", (NORTH, NEARLY), False),
        ("Yes.", "It does.", (NORTH, NEARLY), False),
        ("yes, gladly", "**Yes**, gladly", (NORTH, NEARLY), True),
    ],
)
def test_answers_agree_when_they_mean_the_same_and_hold_the_same_numbers(one, other, vectors, agrees):
    assert agree(one, other, vectors=vectors) == agrees
    assert agree(other, one, vectors=vectors[::-1]) == agrees


def test_what_is_compared_of_an_answer_is_its_text():
    content = [ThinkingPart(text="hm"), TextPart(text="one"), RefusalPart(text="no"), TextPart(text="two")]
    choice = Choice(index=0, content=content, finish_reason="stop")
    assert text_of(Completion(id="1", model="m", created=1, choices=[choice])) == "one\ntwo"


@given(similarity=st.floats(0, 1), agrees=st.booleans())
def test_every_comparison_is_in_the_report(similarity, agrees):
    report = report_of({count_of(similarity, agrees=agrees): 3, "other": 7, "shadow:x:agree": 1})
    (step,) = report.steps
    assert step == Step(step_of(similarity) / 100, 3, 3 if agrees else 0)
    assert (report.compared, report.false) == (3, 0 if agrees else 3)
    assert step.similarity <= similarity + 1e-9


def test_a_report_above_a_threshold_leaves_out_what_is_below():
    report = report_of(counts_of({0.8: (1, 9), 0.9: (10, 0), 0.95: (5, 1)}))
    assert report.above(0.9) == Report(steps=(Step(0.9, 10, 10), Step(0.95, 6, 5)))
    assert (report.compared, report.false) == (26, 10)


@pytest.mark.parametrize(
    ("steps", "threshold"),
    [
        ({}, 0.8),
        ({0.8: (0, 5)}, 0.8),  # too few to conclude anything
        ({0.8: (50, 50), 0.9: (100, 0)}, 0.81),
        ({0.8: (50, 50), 0.85: (50, 50), 0.9: (100, 0)}, 0.86),
        ({0.8: (199, 1)}, 0.8),
        ({0.7: (0, 100), 0.9: (100, 0)}, 0.8),
        ({1.0: (0, 100)}, 1.0),
    ],
)
def test_a_threshold_is_raised_to_keep_the_share_of_wrong_hits(steps, threshold):
    assert threshold_for(report_of(counts_of(steps)), least=0.8, target=0.005) == pytest.approx(threshold)


@given(
    steps=st.dictionaries(st.sampled_from([n / 100 for n in range(70, 101)]), st.tuples(*[st.integers(0, 200)] * 2)),
    target=st.floats(0.001, 0.2),
)
def test_above_a_threshold_no_more_is_wrong_than_is_allowed_as_far_as_is_known(steps, target):
    report = report_of(counts_of(steps))
    threshold = threshold_for(report, least=0.8, target=target)
    assert 0.8 <= threshold <= 1.0
    above = report.above(threshold)
    assert above.compared < LEAST or above.false <= target * above.compared or threshold == 1.0
