"""Embeddings."""

from typing import Any, Literal

import msgspec

from providers.types.usage import Usage


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Texts, or arrays of token ids, to embed."""

    model: str
    input: list[str] | list[list[int]]
    dialect: str
    dimensions: int | None = None
    encoding: Literal["float", "base64"] = "float"
    user: str | None = None
    extras: dict[str, Any] = {}


class Embeddings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One vector for each input, in order. `dropped` names fields of the request that the provider was not told."""

    model: str
    vectors: list[list[float]]
    usage: Usage | None = None
    extras: dict[str, Any] = {}
    dropped: tuple[str, ...] = ()
