"""Mistral, a row of quirks: recorded cases, the words that are its own, and what is relayed as it came."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog import load_catalog
from providers.errors import RequestRefused
from providers.openai.mistral import call_id
from providers.openai.plugin import OpenAIDialect, openai_plugin
from providers.testing.cases import load_cases
from providers.testing.contract import HttpAdapterContract
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    Message,
    ReasoningOptions,
    RelayRequest,
    Sampling,
    Target,
    TextPart,
    ThinkingPart,
)

ROW = load_catalog().vendors["mistral"]
CASES = load_cases(*sorted((Path(__file__).parent / "cases").glob("*.json")))


class TestMistral(HttpAdapterContract):
    plugin, cases = openai_plugin("mistral", ROW), CASES


def _target(model="mistral-small-latest"):
    return Target(provider="p", model=model, base_url=ROW.base_url)


def _asked(model="mistral-small-latest", **fields):
    message = Message(role="user", content=[TextPart(text="x")])
    request = ChatRequest(
        model="public", messages=fields.pop("messages", [message]), dialect=fields.pop("dialect", "anthropic"), **fields
    )
    return OpenAIDialect(ROW.quirks, home=ROW.base_url).encode_chat(request, _target(model))


@given(st.text())
def test_any_id_of_a_call_becomes_one_that_is_taken(given_id):
    made = call_id(given_id)
    assert len(made) == 9
    assert made.isascii()
    assert made.isalnum()
    assert call_id(given_id) == made
    assert call_id(made) == made


def test_different_ids_stay_different():
    assert len({call_id(f"toolu_{at}") for at in range(10_000)}) == 10_000


@pytest.mark.parametrize("effort", ["low", "none"])
def test_models_that_always_think_are_not_told_how_long(effort):
    asked = _asked("magistral-medium-latest", reasoning=ReasoningOptions(effort=effort))
    assert "reasoning_effort" not in json.loads(asked.body)
    assert asked.dropped == ("reasoning_effort",)
    other = _asked(reasoning=ReasoningOptions(effort=effort), dialect="openai")
    assert json.loads(other.body)["reasoning_effort"] == effort


@pytest.mark.parametrize(
    ("model", "effort", "kept"),
    [
        ("mistral-large-latest", None, False),
        ("mistral-small-latest", "none", False),
        ("mistral-small-latest", "high", True),
        ("magistral-small-latest", None, True),
    ],
)
def test_thoughts_go_back_only_to_models_that_think(model, effort, kept):
    said = Message(role="assistant", content=[ThinkingPart(text="Hm."), TextPart(text="Ho")])
    asked_again = Message(role="user", content=[TextPart(text="x")])
    reasoning = ReasoningOptions(effort=effort) if effort else None
    sent = json.loads(_asked(model, messages=[said, asked_again], reasoning=reasoning).body)
    assert (b"Hm." in _asked(model, messages=[said, asked_again], reasoning=reasoning).body) is kept
    assert isinstance(sent["messages"][0]["content"], list) is kept


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampling": Sampling(logit_bias={"1": 1.0})}, "logit_bias"),
        ({"extras": {"modalities": ["audio"]}, "dialect": "openai"}, "modalities"),
    ],
)
def test_what_may_not_be_lost_is_refused(fields, param):
    with pytest.raises(RequestRefused) as caught:
        _asked(**fields)
    assert caught.value.param == param


def test_what_is_relayed_keeps_its_words():
    body = (
        b'{"model": "mistral-small-latest", "seed": 7, "tool_choice": "required", "safe_prompt": true,'
        b' "messages": [{"role": "tool", "tool_call_id": "call_1", "content": "x"}, {"role": "user", "content": "y"}]}'
    )
    request = RelayRequest(operation="openai.chat", body=body, document=json.loads(body))
    assert OpenAIDialect(ROW.quirks, home=ROW.base_url).encode_relay(request, _target()).body == body


def test_embeddings_are_asked_for_in_its_words():
    request = EmbeddingRequest(model="public", input=["a"], dialect="gemini", dimensions=256, user="ada")
    asked = OpenAIDialect(ROW.quirks, home=ROW.base_url).encode_embeddings(request, _target("mistral-embed"))
    assert json.loads(asked.body) == {
        "model": "mistral-embed",
        "input": ["a"],
        "encoding_format": "float",
        "output_dimension": 256,
    }
    assert asked.dropped == ("user",)
