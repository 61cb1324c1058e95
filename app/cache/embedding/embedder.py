"""What makes vectors of texts. Law: vectors of two embedders are never compared, so its id is part of a partition."""

from typing import Protocol

from app.cache.embedding.vector import Vector


class NotEmbedded(Exception):
    """There is no vector of this text now."""


class Embedder(Protocol):
    """Makes a vector of a text; texts that mean nearly the same get nearly the same direction."""

    @property
    def id(self) -> str:
        """The weights and their version: another id means that kept vectors are of no use."""
        ...

    @property
    def threshold(self) -> float:
        """The cosine from which two texts may mean the same, calibrated for these weights."""
        ...

    async def embed(self, text: str) -> Vector:
        """Return the text's vector; the caller bounds the text's length. Raises `NotEmbedded`."""
        ...
