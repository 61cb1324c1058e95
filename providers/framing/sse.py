"""Server-sent events, as bytes.

A frame ends at a blank line; lines end with LF, CRLF or CR, and with nothing else (U+2028 is text).
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, read 2026-11.
"""

import re

MAX_FRAME_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_WIDEST_BOUNDARY = 4
# The end of a line and of the blank line behind it. The groups are atomic, or a single CRLF would be read as two ends.
# Two bare CRs come first, so that a stream of them need not wait for an LF that never comes.
_BOUNDARY = re.compile(rb"\r\r|(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")
_CRLF_END = b"\r\n\r\n"
"""The end of a frame as Google writes it, known here without the expressions above."""


class FrameTooLarge(ValueError):
    """A frame is larger than 1 MiB."""


class FrameSplitter:
    """Cuts a stream of bytes at its blank lines; the cuts do not depend on how the bytes came.

    Frames joined in order, and the rest, are the input's bytes without the byte order mark that may lead them.
    """

    __slots__ = ("_started", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._started = False

    @property
    def rest(self) -> bytes:
        """The bytes of the frame that is not complete yet."""
        return self._tail

    def take(self, data: bytes) -> bytes:
        """Return all complete frames that `data` brings, joined; raises `FrameTooLarge`."""
        if self._tail:
            data = self._tail + data
        if not self._started:
            data = self._start(data)
        cut = _last_boundary(data)
        self._tail = data[cut:]
        if len(data) > MAX_FRAME_BYTES and _has_too_large(data[:cut], self._tail):
            raise FrameTooLarge("a server-sent event is larger than 1 MiB")
        return data[:cut]

    def _start(self, data: bytes) -> bytes:
        """Return the first bytes without a byte order mark, which may itself have come in pieces."""
        self._started = len(data) >= len(_BOM) or not _BOM.startswith(data)
        return data.removeprefix(_BOM)

    def split(self, data: bytes) -> list[bytes]:
        """Return the complete frames that `data` brings, each with the blank line that ends it."""
        return split_frames(self.take(data))


class LongFrameSplitter:
    """Cuts a stream of events that are large by nature, such as pictures, at its blank lines.

    Its work grows with the bytes alone, however small the pieces are that a frame comes in.
    """

    __slots__ = ("_edge", "_limit_bytes", "_pieces", "_size_bytes", "_started")

    def __init__(self, limit_bytes: int) -> None:
        """Make a splitter for frames of at most `limit_bytes`."""
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._edge = b""
        self._started = False

    def take(self, data: bytes) -> bytes:
        """Return all complete frames that `data` brings, joined; raises `FrameTooLarge`."""
        window = self._edge + data  # the blank line may have begun in the bytes before
        end = _last_boundary(window)
        if not end:
            self._hold(data)
            return b""
        cut = end - len(self._edge)
        complete = b"".join((*self._pieces, data[:cut]))
        self._pieces, self._size_bytes, self._edge = [], 0, b""
        self._hold(data[cut:])
        if self._started:
            return complete
        self._started = True
        return complete.removeprefix(_BOM)

    @property
    def rest(self) -> bytes:
        """The bytes of the frame that is not complete yet."""
        return b"".join(self._pieces)

    def _hold(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size_bytes += len(data)
        self._edge = (self._edge + data[-_WIDEST_BOUNDARY:])[1 - _WIDEST_BOUNDARY :]
        if self._size_bytes > self._limit_bytes:
            raise FrameTooLarge(f"a server-sent event is larger than {self._limit_bytes} bytes")


def _last_boundary(data: bytes) -> int:
    """Return where the last complete frame ends."""
    if b"\r" not in data:
        cut = data.rfind(b"\n\n") + 2
        if not data.endswith(b"\n\n\n", 0, cut):
            return cut if cut > 1 else 0
    elif data.endswith(_CRLF_END) and data[-5:-4] not in {b"\r", b"\n"}:
        return len(data)
    end = 0
    for match in _BOUNDARY.finditer(data):
        if match.end() == len(data) and data.endswith(b"\r") and match.group() != b"\r\r":
            break  # half a CRLF, perhaps
        end = match.end()
    return end


def _has_too_large(complete: bytes, rest: bytes) -> bool:
    return len(rest) > MAX_FRAME_BYTES or any(len(frame) > MAX_FRAME_BYTES for frame in split_frames(complete))


def split_frames(complete: bytes) -> list[bytes]:
    """Return the frames of bytes that end at a frame's end."""
    if not complete:
        return []
    if b"\r" not in complete:
        parts = complete.split(b"\n\n")
        return [part + b"\n\n" for part in parts[:-1]]
    if complete.endswith(_CRLF_END) and complete.count(b"\r") == complete.count(b"\n") == complete.count(b"\r\n"):
        return [part + _CRLF_END for part in complete.split(_CRLF_END)[:-1]]
    frames = []
    start = 0
    for match in _BOUNDARY.finditer(complete):
        frames.append(complete[start : match.end()])
        start = match.end()
    return frames


def end_in_objects(frames: bytes) -> bool:
    """Whether every frame that ends in LF ends as a JSON object does: a cheap look for what is cut or no JSON."""
    return frames.count(b"}\n\n") == frames.count(b"\n\n")


def data_of(frame: bytes) -> bytes | None:
    """Return the data of a frame, its lines joined by LF; `None` if it has none (a comment, say)."""
    if frame.startswith(b"data: ") and frame.find(b"\n") == len(frame) - 2 and b"\r" not in frame:
        return frame[6:-2]
    if frame.startswith(b"data: ") and frame.endswith(_CRLF_END) and frame.find(b"\r") == len(frame) - 4:
        data = frame[6:-4]
        if b"\n" not in data:
            return data
    lines = [_field_value(line, b"data") for line in _LINE.split(frame)]
    values = [value for value in lines if value is not None]
    return b"\n".join(values) if values else None


def event_of(frame: bytes) -> bytes | None:
    """Return the name of a frame's event; `None` if it has none."""
    found = None
    for line in _LINE.split(frame):
        value = _field_value(line, b"event")
        found = found if value is None else value
    return found


def _field_value(line: bytes, name: bytes) -> bytes | None:
    if line == name:
        return b""
    if not line.startswith(name + b":"):
        return None
    value = line[len(name) + 1 :]
    return value[1:] if value.startswith(b" ") else value


def encode(data: bytes, *, event: bytes | None = None) -> bytes:
    """Return a frame for one line of data."""
    return b"data: " + data + b"\n\n" if event is None else b"event: " + event + b"\ndata: " + data + b"\n\n"
