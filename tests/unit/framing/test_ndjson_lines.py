import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.framing.ndjson import LineSplitter, LineTooLarge, encode

LINES = st.lists(st.binary(max_size=20).filter(lambda text: b"\n" not in text and text.rstrip() == text), max_size=6)


@given(lines=LINES, end=st.sampled_from([b"\n", b"\r\n"]), cuts=st.lists(st.integers(0, 140), max_size=6))
def test_lines_do_not_depend_on_the_cuts(lines, end, cuts):
    data = b"".join(line + end for line in lines) + b"rest"
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    splitter = LineSplitter()
    found = [line for start, stop in itertools.pairwise(bounds) for line in splitter.split(data[start:stop])]
    assert found == [line for line in lines if line]
    assert splitter.rest == b"rest"


def test_only_a_line_feed_ends_a_line():
    text = '{"text": "a\u2028b\u0085c"}'.encode()
    assert LineSplitter().split(text + b"\r\n\n\r\n" + encode(b"7")) == [text, b"7"]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_line_over_the_limit_is_refused_as_soon_as_it_is_known_however_it_comes(size):
    splitter = LineSplitter(10)
    assert splitter.split(b"0123456789\n0123456789") == [b"0123456789"]
    data = b"0123\n" + b"x" * 28
    splitter = LineSplitter(10)
    with pytest.raises(LineTooLarge):
        [splitter.split(data[at : at + size]) for at in range(0, len(data), size)]
    with pytest.raises(LineTooLarge):
        LineSplitter(10).split(b"01234567890\n")
