"""Decompression with a bound on every step.

Law: no call produces more than 256 KiB, whatever the ratio; what is not yet inflated stays compressed.
"""

import zlib

from providers.errors import BadAnswer, StreamInterrupted

_PIECE_BYTES = 262_144
_AUTOMATIC = 32 + zlib.MAX_WBITS
"""zlib's code for "gzip or zlib, as the header says"."""

_BARE = -zlib.MAX_WBITS
_ZLIB_HEADER_BYTES = 2
_METHOD_DEFLATE = 8

ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})


def _is_zlib(start: bytes) -> bool:
    """Return whether `start` opens a zlib stream (RFC 1950); some servers send bare deflate under the same name."""
    return start[0] & 0x0F == _METHOD_DEFLATE and int.from_bytes(start[:_ZLIB_HEADER_BYTES], "big") % 31 == 0


class Inflater:
    """Inflates one body: feed it compressed bytes, then take pieces until there is none."""

    __slots__ = ("_engine", "_has_begun", "_input", "_is_finished", "_is_gzip", "_may_hold_output")

    def __init__(self, encoding: str) -> None:
        """Make an inflater for `encoding`, one of `ENCODINGS`."""
        self._is_gzip = encoding != "deflate"
        self._engine = zlib.decompressobj(_AUTOMATIC) if self._is_gzip else None
        self._input = b""
        self._has_begun = False
        self._is_finished = False
        self._may_hold_output = False

    @property
    def is_done(self) -> bool:
        """Whether the compressed stream has ended and all of it has been taken."""
        return self._is_finished or (self._engine is not None and self._engine.eof and not self._input)

    def feed(self, data: bytes) -> None:
        """Add compressed bytes."""
        self._input += data
        self._has_begun = True

    def take(self) -> bytes:
        """Return the next inflated bytes; empty when more input is needed.

        Raises `BadAnswer` for bytes that are not in the encoding.
        """
        while self._input or self._may_hold_output:
            if self._engine is None and len(self._input) < _ZLIB_HEADER_BYTES:
                break
            try:
                piece = self._step()
            except zlib.error:
                raise BadAnswer("The provider's compressed answer is damaged.") from None
            if piece:
                return piece
        return b""

    def finish(self) -> None:
        """Accept the end of the body; raises `StreamInterrupted` if the compressed stream was cut.

        A body without a byte is whole: its head may describe what it does not carry.
        """
        if self._has_begun and not self.is_done:
            raise StreamInterrupted("The provider's compressed answer was cut before its end.")
        self._is_finished = True

    def _step(self) -> bytes:
        engine = self._engine
        if engine is None:
            engine = self._engine = zlib.decompressobj(_AUTOMATIC if _is_zlib(self._input) else _BARE)
        elif engine.eof:  # another member of the same gzip body (RFC 1952, section 2.2)
            engine = self._engine = zlib.decompressobj(_AUTOMATIC)
        piece = engine.decompress(self._input, _PIECE_BYTES)
        self._input = engine.unused_data if engine.eof else engine.unconsumed_tail
        self._may_hold_output = len(piece) == _PIECE_BYTES and not engine.eof
        return piece
