"""Laws of the guards over any text: total, the same in both directions, bounded."""

import time
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.cache.guards import differ
from app.cache.guards.features import features_of

SAID = """
how do i sort a list in python the of to from is was not what why , . ? convert table into board without my your
5 km five by written stored and or me us US Paris `x` "a" 3.11 today please can't it's turn off
"""
WORDS = SAID.split()
PROMPTS = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)
BOUND_NS = 3_000_000_000
"""Far above what any of these takes: it tells a bounded search from one that explodes."""


@given(PROMPTS, PROMPTS)
@settings(max_examples=150, deadline=None)
def test_it_is_the_same_in_both_directions(a, b):
    assert differ(a, b) == differ(b, a)


@given(st.text(max_size=300), st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_text_makes_it_raise(a, b):
    assert differ(a, b) is None or isinstance(differ(a, b), str)


@given(PROMPTS)
@example("US us")
@settings(max_examples=100, deadline=None)
def test_a_text_differs_from_itself_only_in_what_no_answer_may_be_kept_for(text):
    assert differ(text, text) in {None, "language", "time"}


@pytest.mark.parametrize(
    "text",
    [
        "a " * 1000, "(" * 1000 + ")" * 1000, "a , " * 500, "\"'" * 1000, "explain in a " * 150, "zzqxwvk " * 250,
        "what do " * 250, "and how " * 250, "SELECT " * 280, "a.b." * 500, "= " * 1000, "turn the " * 220, "- " * 1000,
        "one hundred and " * 120, "x , how " * 240, "from #1 to " * 180, "\ue000" * 2000, "9" * 2000, "`" * 2000,
    ],
)  # fmt: skip
def test_hostile_text_takes_bounded_time(text):
    started_ns = time.process_time_ns()
    differ(text[:2000], text[1:2000] + "b")
    assert time.process_time_ns() - started_ns < BOUND_NS


@pytest.mark.parametrize(
    "text", ["\u0301", "मधुमेह के रोगी", "a\u0301 \u0345", "½ ² ①", "\ud800", "İ ß ﬀ", "१२ ३", "#", "~", "#5 ~kg", "."]
)
def test_no_sign_makes_it_raise(text):
    assert differ(text, text) in {"language", "time", None}
    assert differ(f"What is {text} in a list?", "What is it in a list?") != "length"


def test_what_is_known_of_a_text_is_found_out_once():
    assert features_of("How do I sort a list?") is features_of("How do I sort a list?")


def test_no_two_countries_share_an_answer():
    asked = [
        f"What is the capital of {country}?" for country in ("France", "Spain", "Chad", "Niger", "Nigeria", "Mali")
    ]
    assert all((differ(a, b) is None) == (a == b) for a, b in product(asked, asked))
