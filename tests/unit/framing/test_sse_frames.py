"""Server-sent events: the frames are the same for every cut of the same bytes."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.framing import sse

ENDS = (b"\n", b"\r\n", b"\r")
PIECES = st.sampled_from(
    [
        b"data: x",
        b"data:x",
        b"data",
        b"data: \xe2\x80\xa8 \xc2\x85",
        b": note",
        b"event: delta",
        b"id: 7",
        b"\xef\xbb\xbf",
        b"\xef",
        b"",
        b"a",
        *ENDS,
        *ENDS,
    ]
)
STREAMS = st.lists(PIECES, max_size=24).map(b"".join)
CUTS = st.lists(st.integers(min_value=0, max_value=200), max_size=12)


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def _feed(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = sse.FrameSplitter()
    frames = [frame for piece in pieces for frame in splitter.split(piece)]
    return frames, splitter.rest


def _events(data: bytes) -> list[tuple[bytes, bytes]]:
    """Read a stream the slow way, line by line, as the specification words it."""
    text = data.removeprefix(b"\xef\xbb\xbf")
    lines = re.split(rb"\r\n|\n|\r", text)
    found, event, values = [], b"", []
    for line in lines[:-1]:
        name, _, value = line.partition(b":")
        if line == b"":
            found += [(event, b"\n".join(values))] if values else []
            event, values = b"", []
        elif name == b"data":
            values.append(value.removeprefix(b" "))
        elif name == b"event":
            event = value.removeprefix(b" ")
    return found


@given(STREAMS, CUTS)
def test_frames_are_the_same_for_every_cut(data, places):
    assert _feed(_cut(data, places)) == _feed([data])


@given(STREAMS)
def test_frames_are_the_same_byte_by_byte(data):
    assert _feed([data[at : at + 1] for at in range(len(data))]) == _feed([data])


@given(STREAMS, CUTS)
def test_frames_and_the_rest_are_the_bytes(data, places):
    frames, rest = _feed(_cut(data, places))
    whole = b"".join(frames) + rest
    assert whole == data.removeprefix(b"\xef\xbb\xbf")


@given(STREAMS)
def test_frames_say_what_the_specification_reads(data):
    frames, rest = _feed([data])
    said = [(sse.event_of(frame) or b"", sse.data_of(frame)) for frame in frames]
    read = _events(data)
    # A last CR may be half a CRLF: its frame waits, where the reader of the whole knows that nothing follows.
    late = [(sse.event_of(rest) or b"", sse.data_of(rest))] if len(read) > len(_events(b"".join(frames))) else []
    assert [pair for pair in said + late if pair[1] is not None] == read


@given(STREAMS)
def test_each_frame_ends_at_its_first_blank_line(data):
    for frame in _feed([data])[0]:
        assert re.search(rb"(\r\n|\n|\r)\Z", frame)
        assert sse.split_frames(frame) == [frame]


@pytest.mark.parametrize("end", ENDS)
def test_a_frame_is_complete_as_soon_as_its_blank_line_is(end):
    splitter = sse.FrameSplitter()
    frame = b"data: 1" + end + end
    assert splitter.split(b"data: 1") == []
    assert splitter.split(end + end) == [frame]
    assert splitter.rest == b""


@pytest.mark.parametrize("end", ENDS)
def test_lines_of_one_frame_stay_together(end):
    frame = b"event: delta" + end + b"data: a" + end + b"data: b" + end + end
    assert _feed([frame + frame]) == ([frame, frame], b"")
    assert sse.data_of(frame) == b"a\nb"
    assert sse.event_of(frame) == b"delta"


def test_half_a_crlf_ends_nothing():
    splitter = sse.FrameSplitter()
    assert splitter.split(b"data: 1\r\n\r") == []
    assert splitter.split(b"\ndata: 2\r\n") == [b"data: 1\r\n\r\n"]
    assert splitter.rest == b"data: 2\r\n"


def test_a_byte_order_mark_is_no_part_of_the_first_field():
    for pieces in ([b"\xef\xbb\xbfdata: 1\n\n"], [b"", b"\xef", b"\xbb", b"\xbfdata: 1\n\n"]):
        assert _feed(pieces) == ([b"data: 1\n\n"], b"")


def test_a_byte_order_mark_elsewhere_is_text():
    frames, _ = _feed([b"data: 1\n\n\xef\xbb\xbfdata: 2\n\n"])
    assert [sse.data_of(frame) for frame in frames] == [b"1", None]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\u000b", "\u000c", "\u001c"])
def test_only_line_feeds_and_carriage_returns_end_lines(separator):
    data = f'{{"content": "one{separator}two"}}'.encode()
    frames, rest = _feed([sse.encode(data)])
    assert [sse.data_of(frame) for frame in frames] == [data]
    assert rest == b""


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"data:  x\n\n", b" x"),
        (b"data\n\n", b""),
        (b"data:\n\n", b""),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\rdata: b\n\n", b"a\nb"),
        (b"data: a\r\ndata\r\ndata: b\r\n\r\n", b"a\n\nb"),
        (b"\ndata: x\n\n", b"x"),
        (b": data: x\n\n", None),
        (b"event: data\n\n", None),
        (b"database: x\n\n", None),
        (b"Data: x\n\n", None),
        (b" data: x\n\n", None),
        (b"\n\n", None),
    ],
)
def test_data_of(frame, data):
    assert sse.data_of(frame) == data


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (b"event: error\ndata: {}\n\n", b"error"),
        (b"data: {}\nevent:error\n\n", b"error"),
        (b"event: a\nevent: b\n\n", b"b"),
        (b"event\ndata: x\n\n", b""),
        (b"data: event: x\n\n", None),
        (b": event: x\n\n", None),
    ],
)
def test_event_of(frame, event):
    assert sse.event_of(frame) == event


@given(st.binary(max_size=64).filter(lambda data: b"\n" not in data and b"\r" not in data))
def test_what_is_encoded_is_read_back(data):
    assert sse.data_of(sse.encode(data)) == data
    assert sse.data_of(sse.encode(data, event=b"note")) == data
    assert sse.event_of(sse.encode(data, event=b"note")) == b"note"


@pytest.mark.parametrize("size", [1 << 14, 1 << 18, 1 << 21])
def test_a_frame_of_one_mebibyte_passes(size):
    frame = b"data: " + b"x" * (sse.MAX_FRAME_BYTES - 8) + b"\n\n"
    stream = frame + sse.encode(b"small")
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert _feed(pieces) == ([frame, sse.encode(b"small")], b"")


@pytest.mark.parametrize("size", [1 << 14, 1 << 18, 1 << 21])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b""])
def test_a_larger_frame_is_refused_however_it_comes(size, end):
    stream = sse.encode(b"small") + b"data: " + b"x" * (sse.MAX_FRAME_BYTES - 5) + end
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    with pytest.raises(sse.FrameTooLarge):
        _feed(pieces)


def test_many_small_frames_at_once_are_no_large_frame():
    stream = sse.encode(b"x" * 100) * 20_000
    assert len(_feed([stream])[0]) == 20_000


@pytest.mark.long
@settings(max_examples=20_000, deadline=None)
@given(STREAMS, CUTS)
def test_frames_are_the_same_for_every_cut_at_length(data, places):
    assert _feed(_cut(data, places)) == _feed([data])
