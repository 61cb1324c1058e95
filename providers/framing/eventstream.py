"""Frames of `application/vnd.amazon.eventstream`, as bytes. Law: a frame is believed only if both checksums hold.

A frame is its length and that of its headers (big-endian, 32 bits each), the CRC-32 of those eight bytes, the headers,
the payload, and the CRC-32 of all before it.
Source: https://smithy.io/2.0/aws/amazon-eventstream.html, read 2026-11.
"""

import struct
import uuid
import zlib
from collections.abc import Mapping

import msgspec

MAX_FRAME_BYTES = 1 << 20
_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_SMALLEST = _PRELUDE.size + _CRC.size

HeaderValue = bool | int | bytes | str | uuid.UUID
"""A header's value; a timestamp is an integer of milliseconds since the Unix epoch."""

_TRUE, _FALSE, _BYTES, _STRING, _UUID = 0, 1, 6, 7, 9
_INTEGERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}
_TIMESTAMP = 8
_UUID_BYTES = 16


class BrokenFrame(ValueError):
    """The bytes are no frame, or were changed on their way."""


class FrameTooLarge(ValueError):
    """A frame is larger than 1 MiB."""


class Frame(msgspec.Struct, frozen=True):
    """A message: its headers by name, and its payload."""

    headers: dict[str, HeaderValue]
    payload: bytes


class FrameSplitter:
    """Cuts a stream of bytes into frames; the cuts do not depend on how the bytes came."""

    __slots__ = ("_tail", "_wanted")

    def __init__(self) -> None:
        self._tail = bytearray()
        self._wanted = _PRELUDE.size

    @property
    def rest(self) -> bytes:
        """The bytes of the frame that is not complete yet."""
        return bytes(self._tail)

    def split(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes. Raises `BrokenFrame` and `FrameTooLarge`."""
        tail = self._tail
        tail += data
        frames: list[Frame] = []
        while len(tail) >= self._wanted:
            length, _, _ = _read_prelude(tail)
            if len(tail) < length:
                self._wanted = length
                break
            frames.append(decode(bytes(tail[:length])))
            del tail[:length]
            self._wanted = _PRELUDE.size
        return frames


def _read_prelude(data: bytes | bytearray) -> tuple[int, int, int]:
    """Return the lengths of the frame and of its headers, in bytes, and their checksum, having checked all three."""
    length, headers_length, checksum = _PRELUDE.unpack_from(data)
    if zlib.crc32(data[:8]) != checksum or length < _SMALLEST + headers_length:
        raise BrokenFrame("the prelude of a frame is broken")
    if length > MAX_FRAME_BYTES:
        raise FrameTooLarge("a frame is larger than 1 MiB")
    return length, headers_length, checksum


def decode(data: bytes) -> Frame:
    """Return the one frame that `data` is. Raises `BrokenFrame` and `FrameTooLarge`."""
    if len(data) < _SMALLEST:
        raise BrokenFrame("a frame is too short")
    length, headers_length, _ = _read_prelude(data)
    end = length - _CRC.size
    if length != len(data) or zlib.crc32(data[:end]) != _CRC.unpack_from(data, end)[0]:
        raise BrokenFrame("a frame was changed on its way")
    begin = _PRELUDE.size + headers_length
    return Frame(headers=_read_headers(data[_PRELUDE.size : begin]), payload=data[begin:end])


def _read_headers(data: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(data):
            kind_at = at + 1 + data[at]
            name = data[at + 1 : kind_at].decode()
            headers[name], at = _read_value(data, data[kind_at], kind_at + 1)
    except (IndexError, UnicodeDecodeError, struct.error, ValueError):
        raise BrokenFrame("the headers of a frame are broken") from None
    return headers


def _read_value(data: bytes, kind: int, at: int) -> tuple[HeaderValue, int]:
    """Return the value of type `kind` at `at`, and where it ends."""
    if kind in {_TRUE, _FALSE}:
        return kind == _TRUE, at
    if kind in {_BYTES, _STRING}:
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        value = _slice(data, at + _LENGTH.size, end)
        return (value.decode() if kind == _STRING else value), end
    if kind == _UUID:
        return uuid.UUID(bytes=_slice(data, at, at + _UUID_BYTES)), at + _UUID_BYTES
    form = _INTEGERS[5] if kind == _TIMESTAMP else _INTEGERS.get(kind)
    if form is None:
        raise BrokenFrame("a header has an unknown type")
    return form.unpack_from(data, at)[0], at + form.size


def _slice(data: bytes, begin: int, end: int) -> bytes:
    if end > len(data):
        raise BrokenFrame("a header reaches beyond its frame")
    return data[begin:end]


def encode(headers: Mapping[str, HeaderValue], payload: bytes = b"") -> bytes:
    """Return a frame; an integer is written in 32 bits if it fits, else in 64."""
    written = b"".join(_write_header(name, value) for name, value in headers.items())
    lengths = struct.pack(">II", _SMALLEST + len(written) + len(payload), len(written))
    frame = lengths + _CRC.pack(zlib.crc32(lengths)) + written + payload
    return frame + _CRC.pack(zlib.crc32(frame))


def _write_header(name: str, value: HeaderValue) -> bytes:
    encoded = name.encode()
    return bytes([len(encoded)]) + encoded + _write_value(value)


def _write_value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return bytes([_TRUE if value else _FALSE])
        case int():
            kind = 4 if -(1 << 31) <= value < 1 << 31 else 5
            return bytes([kind]) + _INTEGERS[kind].pack(value)
        case uuid.UUID():
            return bytes([_UUID]) + value.bytes
        case str():
            encoded = value.encode()
            return bytes([_STRING]) + _LENGTH.pack(len(encoded)) + encoded
        case _:
            return bytes([_BYTES]) + _LENGTH.pack(len(value)) + value


__all__ = [
    "MAX_FRAME_BYTES",
    "BrokenFrame",
    "Frame",
    "FrameSplitter",
    "FrameTooLarge",
    "HeaderValue",
    "decode",
    "encode",
]
