"""Amazon's event stream: frames come whole in any cut of the bytes, and what was changed on its way is found out."""

import struct
import uuid
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.framing import eventstream
from providers.framing.eventstream import BrokenFrame, Frame, FrameSplitter, FrameTooLarge, decode, encode

# AWS's own vectors: an empty message, one with a payload only, one with a text header, one with an integer header.
# Source: https://smithy.io/2.0/aws/amazon-eventstream.html, read 2026-11.
KNOWN = [
    ("000000100000000005c248eb7d98c8ff", Frame({}, b"")),
    ("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936", Frame({}, b"{'foo':'bar'}")),
    (
        "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1",
        Frame({"content-type": "application/json"}, b"{'foo':'bar'}"),
    ),
    (
        "0000002d0000001041c424b80a6576656e742d74797065040000a00c7b27666f6f273a27626172277d36f480a0",
        Frame({"event-type": 40972}, b"{'foo':'bar'}"),
    ),
]
values = (
    st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=40) | st.text(max_size=20) | st.uuids()
)
frames = st.builds(Frame, st.dictionaries(st.text(min_size=1, max_size=20), values, max_size=4), st.binary(max_size=80))


@pytest.mark.parametrize(("encoded", "frame"), KNOWN)
def test_known_frames_are_read_and_written(encoded, frame):
    data = bytes.fromhex(encoded)
    assert decode(data) == frame
    assert encode(frame.headers, frame.payload) == data


@given(st.lists(frames, max_size=4), st.lists(st.integers(1, 200), max_size=20))
def test_the_cut_of_the_bytes_does_not_matter(sent, sizes):
    data = b"".join(encode(frame.headers, frame.payload) for frame in sent)
    splitter, found, at = FrameSplitter(), [], 0
    for size in (*sizes, len(data)):
        found += splitter.split(data[at : at + size])
        at += size
    assert found == sent
    assert splitter.rest == b""


@given(frames, st.data())
def test_any_changed_bit_is_found(frame, data):
    encoded = bytearray(encode(frame.headers, frame.payload))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BrokenFrame):
        decode(bytes(encoded))


def test_every_type_of_header_is_read():
    identity = uuid.UUID("01020304-0506-0708-090a-0b0c0d0e0f10")
    headers = (
        b"\x01a\x00" + b"\x01b\x01" + b"\x01c\x02\xff" + b"\x01d\x03\xff\xfe" + b"\x01e\x04\x00\x00\x00\x07"
        b"\x01f\x05\x00\x00\x00\x00\x00\x00\x00\x08" + b"\x01g\x06\x00\x02\x00\xff" + b"\x01h\x07\x00\x02\xc3\xa9"
        b"\x01i\x08\x00\x00\x00\x00\x00\x7d\x2b\x75" + b"\x01j\x09" + identity.bytes
    )
    read = decode(_raw(headers, b"x"))
    assert read.payload == b"x"
    assert read.headers == {
        "a": True,
        "b": False,
        "c": -1,
        "d": -2,
        "e": 7,
        "f": 8,
        "g": b"\x00\xff",
        "h": "é",
        "i": 8203125,
        "j": identity,
    }


@pytest.mark.parametrize(
    "headers",
    [
        b"\x01a\x0a",
        b"\x05a",
        b"\x01a",
        b"\x01a\x07\x00\x09x",
        b"\x01a\x06\x00",
        b"\x01a\x04\x00",
        b"\x01a\x09\x00",
        b"\x01\xff\x00",
        b"\x01a\x07\x00\x01\xff",
    ],
)
def test_headers_that_make_no_sense_are_a_broken_frame(headers):
    with pytest.raises(BrokenFrame):
        decode(_raw(headers, b""))


@pytest.mark.parametrize("data", [b"", b"\x00" * 15, b"data: {}\n\ndata: {}\n\n", b"\x00\x00\x00\x10 not frames"])
def test_what_is_no_frame_is_broken(data):
    with pytest.raises(BrokenFrame):
        decode(data)
    splitter = FrameSplitter()
    if len(data) >= 12:
        with pytest.raises(BrokenFrame):
            splitter.split(data)
    else:
        assert splitter.split(data) == []
        assert splitter.rest == data


def test_a_length_that_cannot_hold_its_headers_is_broken():
    prelude = struct.pack(">II", 20, 5)
    with pytest.raises(BrokenFrame):
        FrameSplitter().split(prelude + struct.pack(">I", zlib.crc32(prelude)))


def test_a_frame_may_have_one_mebibyte_and_not_a_byte_more():
    room = eventstream.MAX_FRAME_BYTES - 16
    largest = encode({}, b"x" * room)
    assert len(FrameSplitter().split(largest)[0].payload) == room
    with pytest.raises(FrameTooLarge):
        FrameSplitter().split(encode({}, b"x" * (room + 1))[:12])


def test_frames_before_a_broken_one_are_not_lost():
    whole = encode({":event-type": "messageStart"}, b"{}")
    splitter = FrameSplitter()
    assert splitter.split(whole) == [Frame({":event-type": "messageStart"}, b"{}")]
    with pytest.raises(BrokenFrame):
        splitter.split(whole[:-1] + bytes([whole[-1] ^ 1]))


def _raw(headers: bytes, payload: bytes) -> bytes:
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    frame = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return frame + struct.pack(">I", zlib.crc32(frame))
