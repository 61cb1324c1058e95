"""Embeddings and lists of models, of the Gemini API and of Vertex AI."""

import json

import msgspec
import pytest
from google.genai import types

from providers.errors import BadAnswer, RequestRefused
from providers.gemini.embeddings import read_embeddings, read_models
from providers.gemini.plugin import GeminiDialect
from providers.gemini.vertex import VertexDialect
from providers.types import EmbeddingRequest, Target, Usage

BASE = "https://aiplatform.googleapis.com/v1"
GOOGLE = f"{BASE}/projects/p1/locations/global/publishers/google/models"
VERTEX = VertexDialect(project="p1")


def _target(model: str) -> Target:
    return Target(provider="p", model=model, base_url=BASE)


def _request(*texts: str, **fields) -> EmbeddingRequest:
    return EmbeddingRequest(model="public", input=list(texts), dialect="openai", **fields)


def _content(text: str) -> dict:
    return {"parts": [{"text": text}]}


def test_a_batch_of_texts():
    request = _request("a", "b", dimensions=64, user="u", extras={"task_type": "RETRIEVAL_QUERY"})
    asked = GeminiDialect().encode_embeddings(request, _target("gemini-embedding-001"))
    assert asked.url == f"{BASE}/models/gemini-embedding-001:batchEmbedContents"
    assert asked.dropped == ("user",)
    options = {"taskType": "RETRIEVAL_QUERY", "outputDimensionality": 64}
    assert msgspec.json.decode(asked.body) == {
        "requests": [
            {"model": "models/gemini-embedding-001", "content": _content(text), **options} for text in ("a", "b")
        ]
    }


@pytest.mark.parametrize(
    ("texts", "url", "body"),
    [
        (
            ["a"],
            f"{GOOGLE}/gemini-embedding-001:embedContent",
            {"content": _content("a"), "embedContentConfig": {"title": "t"}},
        ),
        (
            ["a", "b"],
            f"{GOOGLE}/gemini-embedding-001:batchEmbedContents",
            {"requests": [{"content": _content(text), "embedContentConfig": {"title": "t"}} for text in ("a", "b")]},
        ),
    ],
)
def test_vertex_has_methods_of_its_own(texts, url, body):
    asked = VERTEX.encode_embeddings(_request(*texts, extras={"title": "t"}), _target("gemini-embedding-001"))
    assert asked.url == url
    assert msgspec.json.decode(asked.body) == body


def test_older_models_of_vertex_predict():
    request = _request("a", dimensions=8, extras={"taskType": "CLUSTERING"})
    asked = VERTEX.encode_embeddings(request, _target("text-embedding-005"))
    assert asked.url == f"{GOOGLE}/text-embedding-005:predict"
    assert msgspec.json.decode(asked.body) == {
        "instances": [{"content": "a", "task_type": "CLUSTERING"}],
        "parameters": {"outputDimensionality": 8},
    }


@pytest.mark.parametrize("dialect", [GeminiDialect(), VERTEX])
@pytest.mark.parametrize("model", ["gemini-embedding-001", "text-embedding-005"])
def test_what_may_not_be_lost_is_refused(dialect, model):
    with pytest.raises(RequestRefused) as caught:
        dialect.encode_embeddings(_request("a", extras={"novel": 1}), _target(model))
    assert caught.value.param == "novel"
    tokens = EmbeddingRequest(model="public", input=[[1, 2]], dialect="openai")
    with pytest.raises(RequestRefused) as caught:
        dialect.encode_embeddings(tokens, _target(model))
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("body", "vectors", "usage"),
    [
        (
            {"embeddings": [{"values": [1, 0.5]}, {"values": [2.0]}], "usageMetadata": {"promptTokenCount": 3}},
            [[1.0, 0.5], [2.0]],
            Usage(input_tokens=3),
        ),
        ({"embedding": {"values": [1.0]}}, [[1.0]], None),
        (
            {"predictions": [{"embeddings": {"values": [1.0], "statistics": {"token_count": 4.0}}}]},
            [[1.0]],
            Usage(input_tokens=4),
        ),
        ({"predictions": [{"embeddings": {"values": [1.0]}}]}, [[1.0]], None),
    ],
)
def test_embeddings_are_read(body, vectors, usage):
    read = read_embeddings(json.dumps(body).encode())
    assert read.vectors == vectors
    assert read.usage == usage


@pytest.mark.parametrize(
    "body", [{}, {"embeddings": 7}, {"embeddings": [{"values": ["x"]}]}, {"embedding": []}, {"predictions": [{}]}]
)
def test_what_holds_no_embeddings_is_a_bad_answer(body):
    with pytest.raises(BadAnswer):
        read_embeddings(json.dumps(body).encode())


def test_models_are_listed_on_one_page():
    assert GeminiDialect().encode_models(_target("")).url == f"{BASE}/models?pageSize=1000"
    root = "https://aiplatform.googleapis.com/v1beta1/publishers/google/models?pageSize=300"
    assert VERTEX.encode_models(_target("")).url == root


def test_the_names_of_models_are_bare():
    listed = {
        "models": [
            {"name": "models/gemini-3.8-flash", "supportedGenerationMethods": ["generateContent", "countTokens"]},
            {"name": "models/gemini-embedding-2", "supportedGenerationMethods": ["embedContent"]},
            {"name": "models/imagen-4", "supportedGenerationMethods": ["predict"]},
            {"name": "tunedModels/mine"},
            {},
            7,
        ],
        "nextPageToken": "x",
    }
    assert all(types.Model.model_validate({"name": item["name"]}) for item in listed["models"][:4])
    assert read_models(json.dumps(listed).encode()) == ["gemini-3.8-flash", "gemini-embedding-2", "tunedModels/mine"]
    vertex = {"publisherModels": [{"name": "publishers/google/models/gemini-3.8-flash"}]}
    assert read_models(json.dumps(vertex).encode()) == ["gemini-3.8-flash"]
