"""A text's meaning as a vector and a semantic hash. Law: the event loop is never held for more than 1 ms."""

from app.cache.embedding.embedder import Embedder, NotEmbedded
from app.cache.embedding.static import StaticEmbedder
from app.cache.embedding.vector import Vector, cosine, vector_of

__all__ = ["Embedder", "NotEmbedded", "StaticEmbedder", "Vector", "cosine", "vector_of"]
