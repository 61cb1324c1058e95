"""What is held back of a live answer: all of it, in its order, up to a bound."""

import pytest

from app.pipeline.opening import MOST_BYTES, Opening
from providers.errors import BadAnswer, StreamInterrupted
from providers.types import Finished, RefusalPart, Started, TextDelta

BEGIN = Started(id="1", model="m", created=1)


def test_it_is_over_with_the_first_that_may_win():
    opening = Opening()
    opening.take(b"a", [BEGIN, TextDelta(text=" ")])
    opening.take(b"b", [TextDelta(text="no", refusal=True)])
    assert not opening.is_over
    opening.take(b"c", [TextDelta(text="yes")])
    assert (opening.is_over, opening.data) == (True, b"abc")


def test_one_that_ends_without_it_is_there_whole():
    opening = Opening()
    opening.take(b"a", [BEGIN, TextDelta(text="no", refusal=True)])
    with pytest.raises(StreamInterrupted):
        opening.completion()
    opening.take(b"b", [Finished(reason="stop")])
    assert not opening.is_over
    assert opening.completion().choices[0].content == [RefusalPart(text="no")]


def test_what_cannot_be_read_is_content():
    opening = Opening()
    opening.take(b"a", None)
    assert opening.is_over


def test_there_is_a_bound_to_what_may_not_win():
    opening = Opening()
    opening.take(b" " * MOST_BYTES, [])
    with pytest.raises(BadAnswer) as raised:
        opening.take(b" ", [])
    assert raised.value.code == "upstream_too_large"


def test_content_has_no_bound():
    opening = Opening()
    opening.take(b" " * (MOST_BYTES + 1), [TextDelta(text="yes")])
    assert opening.is_over
