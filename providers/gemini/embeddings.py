"""Embeddings and lists of models, of the Gemini API and of Vertex AI.

Source: https://ai.google.dev/api/embeddings, read 2026-11; google-genai 3.6: types.EmbedContentConfig.
"""

from typing import Any

from providers.answers import count, fields, objects, read_object, vector
from providers.carry import refuse
from providers.errors import BadAnswer
from providers.gemini.wire import camel, usage_of
from providers.types import EmbeddingRequest, Embeddings, Usage

_OPTIONS = frozenset({"taskType", "title"})
_MODEL_NAMES = ("models/", "publishers/google/models/")
_METHODS = frozenset({"generateContent", "embedContent"})


def write_batch(request: EmbeddingRequest, *, model: str) -> dict[str, Any]:
    """Return the body of `:batchEmbedContents`; `model` is the name as the path has it."""
    options = _options(request)
    return {"requests": [{"model": model, "content": _content(text), **options} for text in _texts(request)]}


def write_single(request: EmbeddingRequest) -> dict[str, Any]:
    """Return the body of Vertex AI's `:embedContent`, or of its batches, which hold their options in a config."""
    options = _options(request)
    config = {"embedContentConfig": options} if options else {}
    requests = [{"content": _content(text), **config} for text in _texts(request)]
    return requests[0] if len(requests) == 1 else {"requests": requests}


def write_predict(request: EmbeddingRequest) -> dict[str, Any]:
    """Return the body of Vertex AI's `:predict`, which older embedding models have.

    Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api, read 2026-11.
    """
    options = _options(request)
    size = options.pop("outputDimensionality", None)
    each = {"task_type" if name == "taskType" else name: value for name, value in options.items()}
    body: dict[str, Any] = {"instances": [{"content": text, **each} for text in _texts(request)]}
    return body | ({"parameters": {"outputDimensionality": size}} if size is not None else {})


def dropped(request: EmbeddingRequest) -> tuple[str, ...]:
    """Return the names of what the provider is not told."""
    return ("user",) if request.user is not None else ()


def _texts(request: EmbeddingRequest) -> list[str]:
    texts = [text for text in request.input if isinstance(text, str)]
    if len(texts) < len(request.input):
        raise refuse("input", what="token ids")
    return texts


def _content(text: str) -> dict[str, Any]:
    return {"parts": [{"text": text}]}


def _options(request: EmbeddingRequest) -> dict[str, Any]:
    """Return the options; those that only Google knows have its names, in either case."""
    options: dict[str, Any] = {}
    for name, value in request.extras.items():
        if camel(name) not in _OPTIONS:
            raise refuse(name)
        options[camel(name)] = value
    return options | ({} if request.dimensions is None else {"outputDimensionality": request.dimensions})


def read_embeddings(body: bytes) -> Embeddings:
    """Read embeddings: a batch, a single one, or predictions. Raises `BadAnswer`."""
    answer = read_object(body)
    if isinstance(answer.get("predictions"), list):
        return _read_predictions(objects(answer["predictions"]))
    single = answer.get("embedding")
    found = answer.get("embeddings") if single is None else [single]
    if not isinstance(found, list) or not found:
        raise BadAnswer("the provider's answer holds no embeddings")
    vectors = [vector(fields(item).get("values")) for item in found]
    return Embeddings(model="", vectors=vectors, usage=usage_of(answer))


def _read_predictions(predictions: list[dict[str, Any]]) -> Embeddings:
    found = [fields(prediction.get("embeddings")) for prediction in predictions]
    counts = [count(fields(item.get("statistics")).get("token_count")) for item in found]
    known = [tokens for tokens in counts if tokens is not None]
    usage = Usage(input_tokens=sum(known)) if found and len(known) == len(found) else None
    return Embeddings(model="", vectors=[vector(item.get("values")) for item in found], usage=usage)


def read_models(body: bytes) -> list[str]:
    """Read the names in a list of models that answer or embed. Raises `BadAnswer`."""
    answer = read_object(body)
    items = answer.get("models", answer.get("publisherModels"))
    if not isinstance(items, list):
        raise BadAnswer("the provider's answer is no list of models")
    return [_bare(str(item.get("name"))) for item in objects(items) if item.get("name") and _serves(item)]


def _serves(item: dict[str, Any]) -> bool:
    methods = item.get("supportedGenerationMethods")
    return not isinstance(methods, list) or any(method in _METHODS for method in methods)


def _bare(name: str) -> str:
    for beginning in _MODEL_NAMES:
        name = name.removeprefix(beginning)
    return name


__all__ = ["dropped", "read_embeddings", "read_models", "write_batch", "write_predict", "write_single"]
