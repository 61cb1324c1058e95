"""A text's vector, its semantic hash and how alike two are. Law: pure, and in ints but for the norm and the cosine."""

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from operator import mul
from struct import Struct

import msgspec

MOST = 127
"""The largest magnitude of a packed dimension."""

_SIGNS = b"1" * 128 + b"0" * 128
"""What a signed byte's bit is: those of 128 and more stand for negative values."""


class Vector(msgspec.Struct, frozen=True, gc=False):
    """A direction: only the ratios of its dimensions mean anything.

    `code` is the semantic hash, one bit a dimension, set where that is not negative; the first dimension is the highest
    bit. `packed` is one signed byte a dimension, the largest of them 127 or -127. `norm` is the Euclidean length of
    `packed`, 0 for a text without meaning, which is like nothing.
    """

    code: int
    packed: bytes
    norm: float


def cosine(a: Vector, b: Vector) -> float:
    """Return how alike two vectors of one embedder are, -1 to 1; 0 if either means nothing."""
    norms = a.norm * b.norm
    if not norms:
        return 0.0
    unpack = signed(len(a.packed)).unpack
    product: int = sum(map(mul, unpack(a.packed), unpack(b.packed)))
    return product / norms


def vector_of(values: Sequence[float]) -> Vector:
    """Return the vector in the direction of `values`: at least one of them, all finite, of any length together."""
    peak = max(map(abs, values)) or 1.0
    return packed_vector(signed(len(values)).pack(*(round(value / peak * MOST) for value in values)))


def packed_vector(packed: bytes) -> Vector:
    """Return the vector whose dimensions are given as signed bytes."""
    values = signed(len(packed)).unpack(packed)
    return Vector(int(packed.translate(_SIGNS), 2), packed, sqrt(sum(map(mul, values, values))))


@lru_cache(maxsize=16)
def signed(dimensions: int) -> Struct:
    """Return the form of packed dimensions."""
    return Struct(f"{dimensions}b")
