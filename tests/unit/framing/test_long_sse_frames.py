"""Large server-sent events: cut at the same places as small ones, by work that grows with the bytes alone."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.framing import sse

STREAMS = st.lists(st.sampled_from([b"data: x", b"a", b": note", b"\n", b"\r\n", b"\r", b"\n"]), max_size=24)
CUTS = st.lists(st.integers(min_value=0, max_value=120), max_size=12)


def _cut(data, places):
    return [data[start:end] for start, end in itertools.pairwise([0, *sorted(places), len(data)])]


@given(STREAMS, CUTS)
def test_frames_are_cut_where_small_ones_are(pieces, places):
    small, large = sse.FrameSplitter(), sse.LongFrameSplitter(1 << 20)
    for piece in _cut(b"".join(pieces), places):
        assert large.take(piece) == small.take(piece)
        assert large.rest == small.rest


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_byte_order_mark_is_no_part_of_a_frame(size):
    stream = b"\xef\xbb\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n"
    splitter = sse.LongFrameSplitter(100)
    passed = b"".join([splitter.take(stream[at : at + size]) for at in range(0, len(stream), size)])
    assert passed == stream[3:]


@pytest.mark.parametrize("size", [1 << 10, 1 << 14, 1 << 24])
def test_a_frame_of_the_bound_passes_and_a_larger_one_is_refused(size):
    frame = b"data: " + b"x" * (1 << 20)
    for more, is_refused in ((b"", False), (b"x", True)):
        splitter = sse.LongFrameSplitter(len(frame))
        stream = frame + more
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        if is_refused:
            with pytest.raises(sse.FrameTooLarge):
                list(map(splitter.take, pieces))
        else:
            assert b"".join(map(splitter.take, pieces)) == b""
            assert splitter.take(b"\n\n") == frame + b"\n\n"


def test_small_pieces_of_a_large_frame_cost_no_more():
    frame = b"data: " + b"x" * (16 << 20) + b"\n\n"
    splitter = sse.LongFrameSplitter(32 << 20)
    began = time.process_time()
    passed = [splitter.take(frame[at : at + 4096]) for at in range(0, len(frame), 4096)]
    assert passed[-1] == frame
    assert time.process_time() - began < 1
