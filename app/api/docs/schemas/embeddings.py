"""Embeddings in OpenAI's dialect. Source: OpenAI's API reference, embeddings, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.chat import ModelName, UserName
from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions
from app.api.docs.schemas.references import TEXT_OR_TOKENS


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    """Texts to embed."""

    model: ModelName
    input: Annotated[
        Any,
        Meta(
            description="A text, up to 2,048 texts, or token ids in their place.",
            examples=["hello"],
            extra_json_schema={"anyOf": TEXT_OR_TOKENS},
        ),
    ]
    dimensions: int | None = None
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Meta(description="`base64`: little-endian 32-bit floats.")
    ] = None
    user: UserName | None = None
    gateway: GatewayOptions | None = None


class Embedding(msgspec.Struct, kw_only=True):
    """The vector of one input."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct, kw_only=True):
    """Token counts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, kw_only=True):
    """One vector for each input, in order."""

    object: Literal["list"]
    data: list[Embedding]
    model: Annotated[str, Meta(description="As the provider calls it.")]
    usage: EmbeddingUsage | None = None
    gateway: GatewayNote | UnsetType = UNSET


MODELS = (EmbeddingRequest, EmbeddingList)
