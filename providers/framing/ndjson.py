"""Lines of JSON, one value each, as bytes.

A line ends with LF, perhaps after a CR, and with nothing else (U+2028 is text). Blank lines are nothing.
Source: https://github.com/ndjson/ndjson-spec, read 2026-11.
"""

MAX_LINE_BYTES = 1 << 20


class LineTooLarge(ValueError):
    """A line is larger than the splitter takes."""


class LineSplitter:
    """Cuts a stream of bytes at its line ends; the cuts do not depend on how the bytes came."""

    __slots__ = ("_max_bytes", "_pieces", "_size_bytes")

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        """Make one that takes lines of up to `max_bytes`."""
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    @property
    def rest(self) -> bytes:
        """The bytes of the line that is not complete yet: a last line may lack its end."""
        return b"".join(self._pieces)

    def split(self, data: bytes) -> list[bytes]:
        """Return the complete lines that `data` brings, without their ends. Raises `LineTooLarge`."""
        if b"\n" not in data:
            self._keep(data)
            return []
        first, *lines = data.split(b"\n")
        lines.insert(0, b"".join((*self._pieces, first)))
        self._pieces, self._size_bytes = [], 0
        self._keep(lines.pop())
        if len(data) > self._max_bytes or len(lines[0]) > self._max_bytes:
            self._check(max(map(len, lines)))
        return [line for line in map(bytes.rstrip, lines) if line]

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._size_bytes += len(piece)
            self._check(self._size_bytes)

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise LineTooLarge(f"a line is larger than {self._max_bytes} bytes")


def encode(value: bytes) -> bytes:
    """Return a line for one encoded JSON value, in which no line end can stand."""
    return value + b"\n"


__all__ = ["MAX_LINE_BYTES", "LineSplitter", "LineTooLarge", "encode"]
