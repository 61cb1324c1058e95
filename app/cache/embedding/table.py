"""The file of vectors for word pieces. Law: mapped, not read, so that all processes share its pages.

Little-endian: `gwstatic`, the number of rows, of dimensions and of the vocabulary's bytes (three unsigned 32-bit ints),
the first 8 bytes of the SHA-256 of all that follows, the vocabulary (UTF-8, one piece a line), and the rows: one byte a
dimension, its value plus 128.
"""

from collections.abc import Sequence
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct
from typing import Final

TABLE_PATH: Final = Path(__file__).with_name("table.bin")
_MAGIC: Final = b"gwstatic"
_HEADER: Final = Struct("<8sIII8s")


class BrokenTable(Exception):
    """The embedding table is not whole."""


class Table:
    """One row of biased bytes for each piece of the vocabulary. Opening it takes about 10 ms."""

    __slots__ = ("_first", "_mapped", "digest", "dimensions", "vocabulary")

    def __init__(self, path: Path = TABLE_PATH) -> None:
        with path.open("rb") as file:
            self._mapped = mmap(file.fileno(), 0, access=ACCESS_READ)
        magic, rows, self.dimensions, vocabulary_bytes, digest = _HEADER.unpack_from(self._mapped)
        self._first = _HEADER.size + vocabulary_bytes
        if magic != _MAGIC or len(self._mapped) != self._first + rows * self.dimensions:
            raise BrokenTable(f"{path} is not a whole embedding table.")
        self.digest: str = digest.hex()
        self.vocabulary = self._mapped[_HEADER.size : self._first].decode().split("\n")

    def row(self, number: int) -> bytes:
        """Return a piece's row, each byte 128 more than its value."""
        at = self._first + number * self.dimensions
        return self._mapped[at : at + self.dimensions]


def written(vocabulary: Sequence[str], rows: bytes, *, dimensions: int) -> bytes:
    """Return the bytes of a table's file."""
    words = "\n".join(vocabulary).encode()
    digest = sha256(words + rows).digest()[:8]
    return _HEADER.pack(_MAGIC, len(vocabulary), dimensions, len(words), digest) + words + rows
