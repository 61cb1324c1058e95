"""The embedder that needs nothing: a text's vector is the sum of its word pieces' rows. Law: no dependency, no thread.

A word's row is one big int of 32-bit lanes, one lane a dimension, so that adding a word to a text is one addition.
Lanes may be negative: an int borrows from the next lane and the sum is right all the same. A sum's lanes are read by
adding 2³¹ to each, after which none borrows.
"""

import asyncio
from hashlib import shake_256
from struct import Struct
from typing import Final

from app.cache.embedding.bounded import Remembered
from app.cache.embedding.table import Table
from app.cache.embedding.vector import MOST, Vector, packed_vector
from app.cache.embedding.wordpiece import WordPiece, spaced, words_of

THRESHOLD: Final = 0.70
WORDS_KEPT: Final = 4_096
"""Words whose sums are kept, at 1.2 KB each."""

_LANE_BYTES: Final = 4
_TOP_BIT: Final = 24
"""Where a lane's highest byte begins."""
_BIAS: Final = 0x80
_COLD_LETTERS: Final = 128
"""After so many letters of words that were not kept, others have their turn: 0.05 ms, or 0.4 ms where all are odd."""
_LETTERS_A_WORD: Final = 8
"""What a word costs whatever its length, in letters."""
_LETTERS_AT_ONCE: Final = 256
"""Letters of a text that is not ASCII before others have their turn: 0.02 ms, or 0.4 ms where all are new."""
_WORDS_AT_ONCE: Final = 1_024
_QUARTER: Final = bytes(byte // 4 + _BIAS - _BIAS // 4 for byte in range(256))


class StaticEmbedder:
    """Makes vectors from the table that ships with the gateway.

    Opening the table takes about 10 ms and 5 MB beside the mapped file, so make one when the worker starts; words that
    were met take another 5 MB at most. A text costs about 25 µs and 0.4 µs for each word, 3 µs for one that is new.
    """

    __slots__ = ("_all_lanes", "_bytes", "_half", "_lanes", "_middle", "_pieces", "_sums", "_table", "id", "threshold")

    def __init__(self, table: Table | None = None) -> None:
        self._table = table or Table()
        self._bytes = self._table.dimensions * _LANE_BYTES
        self._all_lanes = int.from_bytes(b"\x01\x00\x00\x00" * self._table.dimensions, "little")
        self._middle = self._all_lanes << 31
        self._half = self._all_lanes << (_TOP_BIT - 1)
        self._lanes = Struct(f"<{self._table.dimensions}i")
        self._pieces = WordPiece(self._table.vocabulary)
        self._sums: Remembered[str, int] = Remembered(self._sum_of, most=WORDS_KEPT)
        self.id = f"static-{self._table.dimensions}-{self._table.digest}"
        self.threshold = THRESHOLD

    async def embed(self, text: str) -> Vector:
        """Return the text's vector, giving way to others while it meets many new words."""
        words = await _words(text)
        await self._meet(words)
        total = 0
        for at in range(0, len(words), _WORDS_AT_ONCE):
            if at:
                await asyncio.sleep(0)
            total = sum(map(self._sums.__getitem__, words[at : at + _WORDS_AT_ONCE]), total)
        return self._vector(total)

    def embed_words(self, words: list[str]) -> Vector:
        """Return the vector of a few words, as `words_of` has them, at once: the caller bounds their number."""
        return self._vector(sum(map(self._sums.__getitem__, words)))

    async def _meet(self, words: list[str]) -> None:
        letters = 0
        for word in words:
            if word not in self._sums:
                self._sums[word]
                letters += len(word) + _LETTERS_A_WORD
                if letters > _COLD_LETTERS:
                    letters = 0
                    await asyncio.sleep(0)

    def _sum_of(self, word: str) -> int:
        pieces = self._pieces.pieces(word)
        if not pieces:
            return self._spread(shake_256(word.encode()).digest(self._table.dimensions).translate(_QUARTER))
        return sum(self._spread(self._table.row(piece)) for piece in pieces)

    def _spread(self, row: bytes) -> int:
        """Return a row of biased bytes as lanes of their values."""
        lanes = bytearray(self._bytes)
        lanes[::_LANE_BYTES] = row
        return int.from_bytes(lanes, "little") - self._all_lanes * _BIAS

    def _vector(self, total: int) -> Vector:
        """Return the vector of a sum: each lane is stretched until the largest reaches 127 in its highest byte."""
        values = self._lanes.unpack(((total + self._middle) ^ self._middle).to_bytes(self._bytes, "little"))
        peak = max(map(abs, values))
        if peak:
            total *= (MOST << _TOP_BIT) // peak
        lanes = (total + self._half + self._middle) ^ self._middle
        return packed_vector(lanes.to_bytes(self._bytes, "little")[_LANE_BYTES - 1 :: _LANE_BYTES])


async def _words(text: str) -> list[str]:
    if text.isascii():
        return words_of(text)
    parts: list[str] = []
    for at in range(0, len(text), _LETTERS_AT_ONCE):
        if at:
            await asyncio.sleep(0)
        parts.append(spaced(text[at : at + _LETTERS_AT_ONCE]))
    return "".join(parts).split()
