"""Vectors of any numbers: their direction, their bits, their cosine."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache.embedding.vector import MOST, cosine, packed_vector, vector_of

values = st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8)


@given(values)
def test_the_largest_dimension_fills_its_byte_and_bits_are_signs(numbers):
    vector = vector_of(numbers)
    packed = list(memoryview(vector.packed).cast("b"))
    assert max(map(abs, packed)) in {0, MOST}
    assert f"{vector.code:08b}" == "".join("1" if each >= 0 else "0" for each in packed)
    assert vector.norm == pytest.approx(sqrt(sum(each * each for each in packed)))


@given(values, values)
def test_the_cosine_is_symmetric_and_bounded(one, other):
    a, b = vector_of(one), vector_of(other)
    assert cosine(a, b) == cosine(b, a)
    assert -1.000001 <= cosine(a, b) <= 1.000001


@given(values, st.floats(0.001, 1000))
def test_length_means_nothing(numbers, scale):
    a, b = vector_of(numbers), vector_of([each * scale for each in numbers])
    assert all(abs(x - y) <= 1 for x, y in zip(*(memoryview(v.packed).cast("b") for v in (a, b)), strict=True))


def test_cosines_of_known_angles():
    east, north, west = (packed_vector(bytes(pair)) for pair in ((100, 0), (0, 100), (156, 0)))
    assert [cosine(east, each) for each in (east, north, west)] == pytest.approx([1, 0, -1])


def test_what_means_nothing_is_like_nothing():
    nothing = vector_of([0.0, 0.0])
    assert cosine(nothing, nothing) == 0
    assert cosine(nothing, vector_of([1.0, 2.0])) == 0
