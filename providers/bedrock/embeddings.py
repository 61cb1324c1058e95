"""Embeddings by InvokeModel, each model in its maker's own words: Cohere's take many texts at once, Amazon's one.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html, read 2026-11.
"""

from typing import Any

from providers.answers import count, fields, read_object, vector
from providers.bedrock.families import family_of
from providers.carry import refuse
from providers.errors import BadAnswer, RequestRefused
from providers.types import EmbeddingRequest, Embeddings, Usage

_COHERES_OWN = frozenset({"input_type", "truncate", "max_tokens"})
_TITANS_OWN = frozenset({"normalize"})
_DOCUMENT = "search_document"


def write_embeddings(request: EmbeddingRequest, *, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body for an embedding model, and the fields that are left out.

    Raises `RequestRefused` for a model of another maker, several inputs where only one fits a call, and token ids.
    """
    texts = [item for item in request.input if isinstance(item, str)]
    if len(texts) != len(request.input):
        raise refuse("input", what="an input of token ids")
    family = family_of(model)
    if family == "cohere-embed":
        body, own = _for_cohere(request, texts, model=model), _COHERES_OWN
    elif family == "titan-embed":
        body, own = _for_titan(request, texts, model=model), _TITANS_OWN
    else:
        raise RequestRefused(f"{model} is no embedding model that the gateway knows", status=400, param="model")
    unknown = next((name for name in request.extras if name not in own), None)
    if unknown is not None:
        raise refuse(unknown)
    given = {name: request.extras[name] for name in sorted(own) if name in request.extras}
    return body | given, () if request.user is None else ("user",)


def _for_cohere(request: EmbeddingRequest, texts: list[str], *, model: str) -> dict[str, Any]:
    """Return the body for Cohere's models, which must know what a vector is for: to be found, unless it is said."""
    body = {"texts": texts, "input_type": _DOCUMENT, "embedding_types": ["float"]}
    if request.dimensions is None:
        return body
    if "embed-v4" not in model:
        raise refuse("dimensions")
    return body | {"output_dimension": request.dimensions}


def _for_titan(request: EmbeddingRequest, texts: list[str], *, model: str) -> dict[str, Any]:
    if len(texts) != 1:
        raise refuse("input", what="more than one input at a time")
    body: dict[str, Any] = {"inputText": texts[0]}
    if request.dimensions is None:
        return body
    if "text-v2" not in model:
        raise refuse("dimensions")
    return body | {"dimensions": request.dimensions}


def read_embeddings(body: bytes) -> Embeddings:
    """Read the answer of either maker. Raises `BadAnswer`.

    Cohere's has its vectors by type, or bare where none was named, and counts no tokens.
    """
    answer = read_object(body)
    if "embedding" in answer:
        tokens = count(answer.get("inputTextTokenCount"))
        usage = None if tokens is None else Usage(input_tokens=tokens)
        return Embeddings(model="", vectors=[vector(answer["embedding"])], usage=usage)
    found = answer.get("embeddings")
    vectors = fields(found).get("float") if isinstance(found, dict) else found
    if not isinstance(vectors, list) or not vectors:
        raise BadAnswer("the provider's answer holds no embeddings")
    return Embeddings(model="", vectors=[vector(each) for each in vectors])


__all__ = ["read_embeddings", "write_embeddings"]
