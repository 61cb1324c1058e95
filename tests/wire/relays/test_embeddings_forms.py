"""Embeddings as floats and as Base64, of texts and of tokens: relayed as they are, and said for other wires."""

import base64
import json
import math
import struct

import pytest
from openai.types import CreateEmbeddingResponse

from providers.catalog import Quirks
from providers.errors import BadAnswer
from providers.openai.downstream import parse_embeddings
from providers.openai.inspect import WholeInspector
from providers.openai.plugin import OpenAIDialect
from providers.openai.render import render_embeddings
from providers.openai.upstream import read_embeddings
from providers.types import Embeddings, RelayRequest, Target, Usage

TARGET = Target(provider="p", model="real", base_url="https://api.example.com/v1")
DIALECT = OpenAIDialect(Quirks())


@pytest.mark.parametrize("given", ["x", ["x", "y"], [1, 2], [[1, 2], [3]]])
@pytest.mark.parametrize("encoding", ["base64", "float", None])
def test_a_relayed_request_keeps_its_inputs_its_form_and_its_dimensions(given, encoding):
    document = {"model": "public", "input": given, "encoding_format": encoding, "dimensions": 8, "input_type": "query"}
    body = json.dumps(document).encode()
    asked = DIALECT.encode_relay(RelayRequest(operation="openai.embeddings", body=body, document=document), TARGET)
    assert json.loads(asked.body) == {**document, "model": "real"}


@pytest.mark.parametrize(
    ("given", "asked"), [("x", ["x"]), (["x", "y"], ["x", "y"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]])]
)
def test_a_translated_request_asks_for_floats_of_the_same(given, asked):
    request = parse_embeddings(
        {"model": "public", "input": given, "encoding_format": "base64", "dimensions": 8, "user": "u", "extra": 1}
    )
    assert request.encoding == "base64"
    sent = DIALECT.encode_embeddings(request, TARGET)
    assert json.loads(sent.body) == {
        "model": "real",
        "input": asked,
        "encoding_format": "float",
        "dimensions": 8,
        "user": "u",
        "extra": 1,
    }
    assert sent.dropped == ()


def test_a_relayed_answer_in_base64_is_counted_and_not_touched():
    packed = base64.b64encode(struct.pack("<2f", 0.5, -1.0)).decode()
    answer = {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": packed}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    body = json.dumps(answer).encode()
    inspector = WholeInspector()
    assert inspector.feed(body) is body
    assert inspector.usage == Usage(input_tokens=3)


def test_what_is_past_32_bits_is_infinite_in_base64():
    said = render_embeddings(Embeddings(model="m", vectors=[[1e300, -1e300, 1.0]]), model="m", encoding="base64")
    assert struct.unpack("<3f", base64.b64decode(said["data"][0]["embedding"])) == (math.inf, -math.inf, 1.0)


def test_floats_are_the_sdks():
    said = render_embeddings(Embeddings(model="m", vectors=[[1.0], [2.0]]), model="m", encoding="float")
    CreateEmbeddingResponse.model_validate(said, strict=True)


def test_a_number_that_no_float_holds_is_a_bad_answer():
    with pytest.raises(BadAnswer):
        read_embeddings(b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b"]}]}")
