"""What cannot be proven the same: weighed by what it means and how it is worded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cache.embedding import StaticEmbedder
from app.cache.guards import GUARDS, Evidence, differ
from app.cache.guards.evidence import MOST_REST, MOST_WORDS, SIGNS, weights
from app.cache.guards.features import features_of
from app.cache.guards.verdict import OF_WORDING

SAME = [
    ("Which steps does a seed go through to become a plant?", "How does a plant grow from a seed?"),
    ("Give me some ideas for a cheap birthday party", "How can I celebrate a birthday on a low budget?"),
]
OTHER = [
    ("How do I boil an egg?", "How do I boil a potato?"),
    ("Who taught Plato?", "Whom did Plato teach?"),
    ("Is the cat chasing the dog?", "Is the dog chasing the cat?"),
    ("How do I export a table to a file?", "How do I import a table from a file?"),
    ("Why is my bread not rising?", "Why is my bread burnt?"),
    ("What is a good name for a dog?", "What is a good food for a dog?"),
    ("How long does it take to learn the piano?", "How long does it take to tune the piano?"),
    ("Explain how a bill becomes law", "Explain how to pay a bill"),
]


@pytest.fixture(scope="module")
def evidence():
    return Evidence(StaticEmbedder())


def signs_of(evidence, one, other):
    texts = (min(one, other), max(one, other))
    return evidence.signs(texts, (features_of(texts[0]), features_of(texts[1])))


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_a_word_in_another_place_is_never_the_same(evidence, one, other):
    assert differ(one, other, evidence=evidence) is not None


@pytest.mark.parametrize(("one", "other"), SAME)
def test_a_rewording_may_be(evidence, one, other):
    assert differ(one, other) in OF_WORDING
    signs = signs_of(evidence, one, other)
    assert signs is not None
    assert dict(zip(SIGNS, signs, strict=True))["wording"] < 0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password in 2 steps?", "In 3 steps, what must I do to have a new password?"),
        ("How do I not lose my password?", "What must I do to lose my password?"),
        ("What did the market do yesterday?", "What happened on the market on Monday?"),
    ],
)
def test_differences_of_fact_are_not_weighed(evidence, one, other):
    assert differ(one, other, evidence=evidence) not in {None, *OF_WORDING}


def test_the_same_content_in_another_order_is_not_weighed(evidence):
    assert signs_of(evidence, "Is the cat chasing the dog?", "Is the dog chasing the cat?") is None


def test_what_is_too_long_or_too_different_is_not_weighed(evidence):
    words = " ".join(f"thing{chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(MOST_WORDS + 1))
    assert signs_of(evidence, words, f"{words} more") is None
    few = " ".join(words.split()[: MOST_REST + 1])
    assert signs_of(evidence, f"explain {few}", "explain nothing") is None
    assert signs_of(evidence, "", "") is None


@settings(max_examples=150)
@given(one=st.text(max_size=80), other=st.text(max_size=80))
def test_it_is_the_same_in_both_directions_and_never_fails(evidence, one, other):
    assert signs_of(evidence, one, other) == signs_of(evidence, other, one)
    assert differ(one, other, evidence=evidence) == differ(other, one, evidence=evidence)


def test_there_is_a_weight_for_every_sign_and_sense_speaks_for_wording_against():
    found, bar = weights()
    by_name = dict(zip(SIGNS, found, strict=True))
    assert by_name["sense"] > 0 > by_name["wording"]
    assert bar > 0
    assert list(GUARDS)[-len(OF_WORDING) :] == [name for name in GUARDS if name in OF_WORDING], "facts come first"
