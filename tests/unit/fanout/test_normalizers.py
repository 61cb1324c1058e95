"""Which answers are the same."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_legs import answer

from app.fanout.confidence import mean_logprob
from app.fanout.documents import canonical_number, frozen, read
from app.fanout.normalizers import as_choice, as_json, as_number, as_text, key_of


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (as_json, '{"a": 1, "b": [true, null]}', '```json\n{"b": [true, null], "a": 1.0}\n```'),
        (as_json, "100", "1e2"),
        (as_json, "0", "-0.0"),
        (as_json, '"\\u0041"', '"A"'),
        (as_json, "0.1", "1e-1"),
        (as_number, "The total is 1,234.50 USD.", "$1234.5"),
        (as_number, "First 3, then 7, so: **42**", "42."),
        (as_number, "50 %", "50%"),
        (as_number, "\u22125", "-5.0"),
        (as_number, "-$5", "$-5"),
        (as_number, "0.5", ".50"),
        (as_number, "1e3", "1 000"),
        (as_number, "1'000'000", "1,000,000"),
        (as_number, "It takes 5km", "5"),
        (as_number, "- 5", "5"),
        (as_number, "10-5", "5"),
        (as_number, "0.1", "1e-1"),
        (as_choice, "B", "(b)"),
        (as_choice, "Answer: B.", "**B**"),
        (as_choice, "The answer is (B) because A is wrong.", "B) Paris"),
        (as_choice, "The correct option is B, since", "\\boxed{B}"),
        (as_choice, "Yes, it is.", "yes"),
        (as_choice, "Answer: no", "No."),
        (as_choice, "Answer: A. No, wait. Answer: C", "c"),
        (as_text, " Hello  World!\n", "hello world"),
        (as_text, "Stra\u00dfe.", "STRASSE"),
        (as_text, "\uff21\uff22\uff01", "ab"),
        (as_text, "caf\u00e9", "cafe\u0301"),
    ],
)
def test_what_is_the_same(kind, one, other):
    assert kind(one) is not None
    assert kind(one) == kind(other)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (as_json, "1", "true"),
        (as_json, "0", "false"),
        (as_json, '"1"', "1"),
        (as_json, "null", "false"),
        (as_json, "[1, 2]", "[2, 1]"),
        (as_json, "[]", "{}"),
        (as_json, '{"number": "1e0"}', "1"),
        (as_json, '["number", "1e0"]', "1"),
        (as_json, '["list"]', "[[]]"),
        (as_json, "100000000000000000000000000000001", "100000000000000000000000000000002"),
        (as_json, "0.1", "0.1000000000000000000000000000001"),
        (as_number, "5", "-5"),
        (as_number, "1,234", "1.234"),
        (as_number, "0.30000000000000004", "0.3"),
        (as_number, "1" + "0" * 40, "1" + "0" * 39 + "1"),
        (as_choice, "B", "C"),
        (as_choice, "yes", "Y"),
        (as_text, "yes", "no"),
        (as_text, "?", "!"),
    ],
)
def test_what_is_not_the_same(kind, one, other):
    assert kind(one) is not None
    assert kind(other) is not None
    assert kind(one) != kind(other)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (as_json, "it is one"),
        (as_json, '{"a": 1, "a": 2}'),
        (as_json, "NaN"),
        (as_json, "1e999999999999"),
        (as_json, "[" * 10_000),
        (as_number, "no number"),
        (as_number, "1,2,3"),
        (as_number, "v1.2.3"),
        (as_number, "3,14"),
        (as_number, "9" * 3_000),
        (as_number, "1e99999"),
        (as_choice, "The answer is a dog."),
        (as_choice, "Answer: A dog"),
        (as_choice, "I think so"),
        (as_choice, "Nothing"),
        (as_choice, ""),
        (as_text, " \n"),
    ],
)
def test_what_has_no_form_of_its_kind(kind, text):
    assert kind(text) is None


@pytest.mark.parametrize(
    "unit", ["1,", "1", "1,111", "-", "$ ", "answer ", "answer is ", "[", " ", "```json\n", "{", '{"a":', "\ufdfa"]
)
def test_every_kind_is_linear(unit):
    text = (unit * 60_000)[:120_000]
    for kind in (as_json, as_number, as_choice, as_text):
        began_s = time.thread_time()
        kind(text)
        assert time.thread_time() - began_s < 0.5, kind


def test_calls_are_compared_by_their_values():
    one = answer("", calls=[("find", '{"a": 1, "b": 2}')])
    assert key_of(one, kind="number") == key_of(answer("", calls=[("find", '{"b": 2.0, "a": 1}')]), kind="number")
    assert key_of(one, kind="text") != key_of(answer("", calls=[("seek", '{"a": 1, "b": 2}')]), kind="text")
    assert key_of(answer("yes", calls=[("find", "{")]), kind="text") != key_of(answer("yes"), kind="text")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(one=JSON, other=JSON)
def test_keys_are_equal_where_values_are(one, other):
    def equal(a, b):
        if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
            return a is b
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(map(equal, a, b))
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
        return type(a) is not bool and isinstance(a, str) == isinstance(b, str) and a == b

    assert (frozen(one) == frozen(other)) is equal(one, other)
    assert frozen(one) == frozen(one)
    hash(frozen(one))


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_a_number_has_one_form(number):
    forms = {canonical_number(number), canonical_number(read(f"{number:f}")), canonical_number(read(f"{number:e}"))}
    assert len(forms) == 1


@pytest.mark.parametrize(
    ("told", "mean"),
    [
        ([-1.0, -3.0], -2.0),
        ([0, -1], -0.5),
        ([0.001], 0.0),
        ([-99999.0], -9_999.0),
        ([-(10**400)], -9_999.0),
        ([], None),
        (None, None),
        ([float("nan")], None),
        ([float("-inf")], None),
        ([1.0], None),
        ([True], None),
        ([-1.0, "x"], None),
    ],
)
def test_how_sure_an_answer_is(told, mean):
    assert mean_logprob(answer("x", logprobs=told)) == mean
