"""Documents ranked by what they have to do with a question, in the shape that Cohere and Jina share.

Source: https://docs.cohere.com/reference/rerank, https://jina.ai/reranker, read 2026-11.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.chat import ModelName
from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions

Document = str | dict[str, Any]


class RerankRequest(msgspec.Struct, kw_only=True):
    """A question, and the documents to rank."""

    model: ModelName
    query: Annotated[Document, Meta(description="The question: a text, or an object where the model reads those.")]
    documents: Annotated[
        list[Document], Meta(min_length=1, description="The documents: texts, or objects where the model reads those.")
    ]
    top_n: Annotated[int | None, Meta(description="How many of the best to return.")] = None
    return_documents: Annotated[bool | None, Meta(description="Whether to return the documents themselves.")] = None
    max_tokens_per_doc: Annotated[int | None, Meta(description="How much of each document to read.")] = None
    gateway: GatewayOptions | None = None


class Ranked(msgspec.Struct, kw_only=True):
    """One document's place."""

    index: Annotated[int, Meta(description="The document's place in the request, from 0.")]
    relevance_score: float
    document: Document | None = None


class RerankUsage(msgspec.Struct, kw_only=True):
    """Token counts, where the provider tells them here."""

    total_tokens: int | None = None
    prompt_tokens: int | None = None


class Ranking(msgspec.Struct, kw_only=True):
    """The documents, best first."""

    results: list[Ranked]
    id: str | None = None
    model: str | None = None
    usage: RerankUsage | None = None
    meta: Annotated[dict[str, Any] | None, Meta(description="What Cohere says of its bill.")] = None
    gateway: GatewayNote | UnsetType = UNSET


MODELS = (RerankRequest, Ranking)
