"""Legacy completions: read as chats where they are not served, and relayed where they are."""

import json
from pathlib import Path

import msgspec
import pytest
from openai.types import completion_create_params
from pydantic import TypeAdapter

from providers.catalog import Quirks, load_catalog
from providers.errors import RequestRefused
from providers.openai.completions import parse_completion
from providers.openai.plugin import OpenAIDialect
from providers.testing.cases import SOURCE
from providers.types import ChatRequest, Edits, RelayRequest, Secret, Target

CASES = json.loads((Path(__file__).parent / "cases" / "requests.json").read_text(encoding="utf-8"))
SERVES = Quirks(serves=frozenset({"completions"}), auth="optional")
TARGET = Target(provider="p", model="real", base_url="https://api.example.com/v1", credential=Secret("sk-1"))


def _named(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


def test_the_cases_name_their_source():
    assert SOURCE.search(CASES["source"])


@pytest.mark.parametrize("case", _named(CASES["cases"] + CASES["beyond"]))
def test_a_completion_is_read_as_a_chat(case):
    expected = {"model": "public", "dialect": "completions", **case["request"]}
    assert parse_completion({"model": "public", **case["body"]}) == msgspec.convert(expected, ChatRequest)


@pytest.mark.parametrize("case", _named(CASES["cases"]))
def test_the_sdk_could_have_asked_so(case):
    stream = bool(case["body"].get("stream"))
    kind = "CompletionCreateParamsStreaming" if stream else "CompletionCreateParamsNonStreaming"
    params = {"model": "public", "prompt": None, **case["body"]}
    if params.get("stream", 0) is None:
        del params["stream"]
    TypeAdapter(getattr(completion_create_params, kind)).validate_python(
        {name: value for name, value in params.items() if name != "top_k"}
    )


@pytest.mark.parametrize("case", _named(CASES["refused"]))
def test_what_no_chat_can_do_is_refused_by_name(case):
    with pytest.raises(RequestRefused, match=case["says"]) as caught:
        parse_completion({"model": "public", **case["body"]})
    assert (caught.value.param, caught.value.status) == (case["param"], 400)


def test_a_chat_provider_is_asked_for_a_chat():
    request = parse_completion({"model": "public", "prompt": "Say this", "max_tokens": 5, "stop": "\n", "logprobs": 2})
    assert msgspec.json.decode(OpenAIDialect(Quirks()).encode_chat(request, TARGET).body) == {
        "model": "real",
        "messages": [{"role": "user", "content": "Say this"}],
        "max_tokens": 5,
        "stop": ["\n"],
        "logprobs": True,
        "top_logprobs": 2,
    }


def _relay(document, quirks=SERVES, **fields):
    body = json.dumps(document).encode()
    request = RelayRequest(operation="openai.completions", body=body, document=document, **fields)
    return OpenAIDialect(quirks).encode_relay(request, TARGET)


def test_it_is_relayed_with_the_model_alone_changed():
    document = {"model": "public", "prompt": ["a", "b"], "suffix": "c", "best_of": 3, "unknown": [1]}
    asked = _relay(document)
    assert asked.url == "https://api.example.com/v1/completions"
    assert asked.body == json.dumps(document).encode().replace(b'"public"', b'"real"')
    assert dict(asked.headers)["content-type"] == "application/json"
    assert not asked.answer_types


def test_a_relayed_stream_is_asked_for_its_usage():
    document = {"model": "real", "prompt": "a", "stream": True, "gateway": {}}
    asked = _relay(document, stream=True, edits=Edits(drop=frozenset({"gateway"})))
    assert json.loads(asked.body) == {
        "model": "real",
        "prompt": "a",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(("given", "sent"), [(None, 7), (9, 7), (5, 5), (0, 7)])
def test_the_cap_goes_where_completions_have_it(given, sent):
    quirks = Quirks(max_tokens_field="max_completion_tokens", serves=SERVES.serves)
    document = {"model": "real", "prompt": "a", **({} if given is None else {"max_tokens": given})}
    body = json.loads(_relay(document, quirks, output_cap=7).body)
    assert body == {"model": "real", "prompt": "a", "max_tokens": sent}


@pytest.mark.parametrize(
    ("quirks", "serves", "home", "relayed"),
    [
        (Quirks(serves=SERVES.serves), None, "https://api.example.com/v1", True),
        (Quirks(serves=SERVES.serves), None, "https://elsewhere.example.com/v1", False),
        (Quirks(serves=SERVES.serves), frozenset(), "https://api.example.com/v1", False),
        (Quirks(), frozenset({"completions"}), "https://elsewhere.example.com/v1", True),
        (SERVES, None, "https://elsewhere.example.com/v1", True),
        (Quirks(), None, "https://api.example.com/v1", False),
    ],
)
def test_it_is_relayed_to_those_that_serve_it(quirks, serves, home, relayed):
    dialect = OpenAIDialect(quirks, home=home, serves=serves)
    assert ("openai.completions" in dialect.relays(TARGET)) is relayed


def test_openai_itself_is_asked_for_chats():
    vendors = load_catalog().vendors
    serving = {name for name, row in vendors.items() if "completions" in row.quirks.serves}
    assert "openai" not in serving
    assert {"vllm", "sglang", "llamacpp", "lmstudio", "fireworks", "together"} <= serving
