"""Cohere's wire: recorded cases, what it refuses, rerank, and what goes wrong on it."""

import json
from pathlib import Path

import pytest

from providers.catalog import load_catalog
from providers.cohere.answers import read_completion, read_embeddings, read_models
from providers.cohere.errors import decode_error
from providers.cohere.inspect import RerankInspector
from providers.cohere.plugin import CohereDialect, cohere_plugin
from providers.cohere.stream import EventDecoder
from providers.cohere.wire import read_usage
from providers.errors import (
    BadAnswer,
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
    StreamInterrupted,
)
from providers.testing.cases import load_cases
from providers.testing.contract import HttpAdapterContract
from providers.types import (
    AudioPart,
    ChatRequest,
    Edits,
    EmbeddingRequest,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    RelayRequest,
    Sampling,
    Secret,
    Target,
    TextDelta,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolChoice,
    ToolResultPart,
    Usage,
)

CASES = load_cases(*sorted((Path(__file__).parent / "cases").glob("*.json")))
TARGET = Target(provider="p", model="m", base_url="https://cohere.invalid", credential=Secret("key"))
START = b'data: {"type":"message-start","id":"1"}\n\n'
END = b'data: {"type":"message-end","delta":{"finish_reason":"COMPLETE"}}\n\n'


class TestCohere(HttpAdapterContract):
    plugin, cases = cohere_plugin("cohere", load_catalog().vendors["cohere"]), CASES


def _request(**fields):
    message = Message(role="user", content=fields.pop("content", [TextPart(text="x")]))
    return ChatRequest(model="public", messages=fields.pop("messages", [message]), dialect="openai", **fields)


def _sent(request):
    return json.loads(CohereDialect().encode_chat(request, TARGET).body)


def _text(said):
    event = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": said}}}}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


# --- requests


@pytest.mark.parametrize(
    "message",
    [
        Message(role="user", content=[FilePart(data="JVBERi0=", media_type="application/pdf")]),
        Message(role="user", content=[FilePart(url="https://example.com/a.pdf")]),
        Message(role="user", content=[AudioPart(data="UklGRg==", format="wav")]),
        Message(role="user", content=[OpaquePart(dialect="openai", value={"type": "video_url"})]),
        Message(role="assistant", content=[ImagePart(url="https://example.com/a.png")]),
        Message(
            role="tool", content=[ToolResultPart(id="1", content=[ImagePart(data="iVBO", media_type="image/png")])]
        ),
    ],
)
def test_what_it_has_no_words_for_is_refused_by_name(message):
    with pytest.raises(RequestRefused) as caught:
        _sent(_request(messages=[message]))
    assert (caught.value.status, caught.value.param) == (400, "messages")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"sampling": Sampling(logit_bias={"1": 1.0})}, "logit_bias"),
        ({"sampling": Sampling(logprobs=True, top_logprobs=2)}, "top_logprobs"),
        ({"extras": {"modalities": ["audio"]}}, "modalities"),
        ({"tools": [Tool(name="web_search", kind="web_search")]}, "tools"),
        ({"tools": [Tool(name="f")], "tool_choice": ToolChoice(mode="named", name="g")}, "tool_choice"),
    ],
)
def test_what_may_not_be_lost_is_refused(fields, param):
    with pytest.raises(RequestRefused) as caught:
        _sent(_request(**fields))
    assert caught.value.param == param


def test_thinking_in_coheres_words_goes_on_and_in_anthropics_does_not():
    assert _sent(_request(extras={"thinking": {"type": "enabled", "token_budget": 9}}))["thinking"] == {
        "type": "enabled",
        "token_budget": 9,
    }
    asked = CohereDialect().encode_chat(
        _request(extras={"thinking": {"type": "enabled", "budget_tokens": 9}, "safety_mode": None}), TARGET
    )
    assert "thinking" not in json.loads(asked.body)
    assert asked.dropped == ("thinking",)


def test_embeddings_are_asked_and_read():
    request = EmbeddingRequest(model="public", input=["a", "b"], dialect="openai", dimensions=256, user="ada")
    asked = CohereDialect().encode_embeddings(request, TARGET)
    assert asked.url == "https://cohere.invalid/v2/embed"
    assert json.loads(asked.body) == {
        "model": "m",
        "texts": ["a", "b"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": 256,
    }
    assert asked.dropped == ("user",)
    body = {
        "id": "da64",
        "embeddings": {"float": [[1, 0.5], [0, 1]]},
        "texts": ["a", "b"],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 2}},
    }
    found = read_embeddings(json.dumps(body).encode())
    assert (found.vectors, found.usage) == ([[1.0, 0.5], [0.0, 1.0]], Usage(input_tokens=2))


def test_the_client_may_say_what_its_vectors_are_for():
    extras = {"input_type": "search_query", "truncate": "END", "other": 1}
    request = EmbeddingRequest(model="public", input=["a"], dialect="openai", extras=extras)
    asked = CohereDialect().encode_embeddings(request, TARGET)
    sent = json.loads(asked.body)
    assert (sent["input_type"], sent["truncate"]) == ("search_query", "END")
    assert asked.dropped == ("other",)


def test_token_ids_cannot_be_embedded():
    with pytest.raises(RequestRefused) as caught:
        CohereDialect().encode_embeddings(EmbeddingRequest(model="m", input=[[1]], dialect="openai"), TARGET)
    assert caught.value.param == "input"


def test_models_are_listed_by_name():
    asked = CohereDialect().encode_models(TARGET)
    assert (asked.method, asked.url) == ("GET", "https://cohere.invalid/v1/models?page_size=1000")
    assert read_models(b'{"models": [{"name": "command-a-03-2025", "endpoints": ["chat"]}, {}, 7]}') == [
        "command-a-03-2025"
    ]


# --- rerank


def test_a_ranking_is_relayed_but_for_the_model():
    body = b'{"model": "public", "query": "q", "documents": ["a", "b"], "top_n": 1, "unknown": {"x": [1]}}'
    request = RelayRequest(operation="openai.rerank", body=body, document=json.loads(body))
    asked = CohereDialect().encode_relay(request, TARGET)
    assert asked.url == "https://cohere.invalid/v2/rerank"
    assert asked.body == body.replace(b'"public"', b'"m"')
    edited = RelayRequest(
        operation="openai.rerank", body=body, document=json.loads(body), edits=Edits(drop=frozenset({"unknown"}))
    )
    assert "unknown" not in json.loads(CohereDialect().encode_relay(edited, TARGET).body)


def test_nothing_else_is_relayed():
    with pytest.raises(RequestRefused):
        CohereDialect().encode_relay(RelayRequest(operation="openai.chat", body=b"{}", document={}), TARGET)


@pytest.mark.parametrize(
    ("meta", "usage"),
    [
        ({"billed_units": {"search_units": 1}}, Usage()),
        ({"billed_units": {"input_tokens": 12, "search_units": 1}}, Usage(input_tokens=12)),
        ({}, None),
        (7, None),
    ],
)
def test_a_ranking_is_charged_by_the_search_and_uses_no_tokens(meta, usage):
    body = json.dumps({"id": "1", "results": [{"index": 1, "relevance_score": 0.9}], "meta": meta}).encode()
    inspector = RerankInspector()
    assert inspector.feed(body) == body
    assert (inspector.usage, inspector.is_finished, inspector.has_content) == (usage, True, True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"results": 7}'])
def test_garbage_is_no_ranking(body):
    with pytest.raises(BadAnswer):
        RerankInspector().feed(body)
    with pytest.raises(StreamInterrupted):
        RerankInspector().end()


# --- answers


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        (
            {"billed_units": {"input_tokens": 5, "output_tokens": 7}, "tokens": {"input_tokens": 71}},
            Usage(input_tokens=5, output_tokens=7),
        ),
        (
            {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 3, "output_tokens": 4}},
            Usage(input_tokens=3, output_tokens=4),
        ),
        ({"billed_units": {"input_tokens": 5.0}, "cached_tokens": 2.0}, Usage(input_tokens=3, cache_read_tokens=2)),
        (
            {"billed_units": {"input_tokens": 5, "output_tokens": 1}, "cached_tokens": 70},
            Usage(output_tokens=1, cache_read_tokens=5),
        ),
        ({"billed_units": {"input_tokens": -5, "output_tokens": 1}}, None),
        ({"billed_units": {"input_tokens": 5, "output_tokens": 10**12}}, None),
        ({"tokens": {"input_tokens": "5"}}, None),
        (None, None),
        ([], None),
    ],
    ids=str,
)
def test_usage_is_what_is_billed(wire, usage):
    assert read_usage(wire) == usage


@pytest.mark.parametrize("reason", ["ERROR", "TIMEOUT"])
def test_an_answer_that_failed_is_none(reason):
    body = {"id": "1", "finish_reason": reason, "message": {"role": "assistant", "content": []}}
    with pytest.raises(ProviderOverloaded) as caught:
        read_completion(json.dumps(body).encode())
    assert caught.value.vendor_code == reason


def test_a_blocked_answer_says_so():
    body = {"id": "1", "finish_reason": "ERROR_TOXIC", "message": {"role": "assistant", "content": "no"}}
    choice = read_completion(json.dumps(body).encode()).choices[0]
    assert (choice.finish_reason, choice.content) == ("content_filter", [TextPart(text="no")])


# --- faults


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (b'data: {"type":"message-end","delta":{"finish_reason":"ERROR","error":"broke"}}\n\n', ProviderOverloaded),
        (b'data: {"type":"message-end","delta":{"finish_reason":"TIMEOUT"}}\n\n', ProviderOverloaded),
        (b'data: {"type":"error","message":"too many tokens: 9 over"}\n\n', ContextTooLong),
        (b'event: error\ndata: {"message":"internal server error"}\n\n', ProviderOverloaded),
    ],
)
def test_an_error_in_the_stream_comes_after_what_was_said(end, kind):
    decoder = EventDecoder()
    events = decoder.feed(START + _text("a") + end)
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a"]
    assert decoder.is_finished
    with pytest.raises(kind):
        decoder.finish()


def test_a_cut_stream_is_interrupted():
    decoder = EventDecoder()
    decoder.feed(START + _text("a") + END[:-1])
    with pytest.raises(StreamInterrupted):
        decoder.finish()


@pytest.mark.parametrize("frame", [b"data: {\n\n", b"data: [1]\n\n", b"data: {}\n\n", b'data: {"choices": []}\n\n'])
def test_garbage_events_are_a_bad_answer(frame):
    with pytest.raises(BadAnswer):
        EventDecoder().feed(frame)


def test_an_event_over_the_bound_is_refused():
    with pytest.raises(BadAnswer) as caught:
        EventDecoder().feed(b"data: " + b"a" * (1 << 20))
    assert caught.value.code == "upstream_too_large"


def test_odd_pieces_of_events_give_way():
    decoder = EventDecoder()
    frames = [
        {"type": "content-delta", "delta": 7},
        {"type": "content-delta", "delta": {"message": {"content": {"text": 7, "thinking": []}}}},
        {"type": "tool-call-delta", "index": 3, "delta": {"message": {"tool_calls": {"function": {"arguments": "x"}}}}},
        {"type": "tool-call-end", "index": "x"},
        {"type": "citation-start", "delta": {"message": {"citations": [7]}}},
        {"type": "debug", "prompt": "p"},
        {"type": "of-tomorrow"},
    ]
    events = decoder.feed(START + b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames) + END)
    assert not [event for event in events if isinstance(event, TextDelta | ToolCallDelta)]
    assert decoder.finish() == []


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"message": "invalid request: query must not be empty"}', RequestRefused),
        (400, b'{"id": "1", "message": "too many tokens: size limit exceeded by 11326 tokens."}', ContextTooLong),
        (401, b'{"message": "invalid api token"}', CredentialRefused),
        (402, b'{"message": "Please add or update your payment method"}', CredentialRefused),
        (422, b'{"message": "unprocessable entity"}', RequestRefused),
        (429, b'{"message": "You are using a Trial key"}', ProviderRateLimited),
        (498, b'{"message": "deny-listed token"}', ContentBlocked),
        (499, b'{"message": "request cancelled"}', ProviderOverloaded),
        (503, b"upstream", ProviderOverloaded),
    ],
)
def test_refusals_are_told_apart(status, body, kind):
    error = decode_error(status, {"retry-after": "3"}, body)
    assert type(error) is kind
    assert error.status == status
    if kind in {RequestRefused, ContextTooLong}:
        assert error.message == json.loads(body)["message"]
