"""Ollama's own wire: recorded cases, what it refuses, and what goes wrong on it."""

import json
from pathlib import Path

import pytest

from providers.catalog import load_catalog
from providers.errors import (
    BadAnswer,
    ContextTooLong,
    CredentialRefused,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
    StreamInterrupted,
)
from providers.ollama.answers import LineDecoder, read_completion, read_embeddings, read_models
from providers.ollama.errors import decode_error
from providers.ollama.plugin import OllamaDialect, ollama_plugin
from providers.ollama.upstream import OllamaOptions
from providers.stream import collect
from providers.testing.cases import load_cases
from providers.testing.contract import HttpAdapterContract
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Target,
    TextDelta,
    TextPart,
    Tool,
    ToolCallStarted,
    ToolChoice,
    Usage,
)

CASES = load_cases(*sorted((Path(__file__).parent / "cases").glob("*.json")), stream_type="application/x-ndjson")
TARGET = Target(provider="p", model="m", base_url="http://ollama.invalid")
WHOLE = {
    "model": "m",
    "created_at": "2025-10-26T17:15:24Z",
    "message": {"role": "assistant", "content": "x"},
    "done": True,
}


class TestOllama(HttpAdapterContract):
    plugin, cases = ollama_plugin("ollama", load_catalog().vendors["ollama"]), CASES
    refuses = frozenset({"relay"})


def _request(**fields):
    message = Message(role="user", content=fields.pop("content", [TextPart(text="x")]))
    return ChatRequest(model="public", messages=[message], dialect="openai", **fields)


def _sent(request, options=None):
    return json.loads(OllamaDialect(options or OllamaOptions()).encode_chat(request, TARGET).body)


def _line(**fields):
    return json.dumps({"model": "m", "created_at": "2025-10-26T17:15:24Z", **fields}).encode() + b"\n"


def _said(text, **fields):
    return _line(message={"role": "assistant", "content": text}, done=False, **fields)


# --- requests


def test_a_server_without_a_key_is_sent_none():
    headers = OllamaDialect(OllamaOptions()).encode_chat(_request(), TARGET).headers
    assert headers == (("content-type", "application/json"),)


def test_the_provider_sets_a_context_and_the_client_another():
    options = OllamaOptions(num_ctx=4096, keep_alive=-1)
    sent = _sent(_request(), options)
    assert (sent["options"], sent["keep_alive"]) == ({"num_ctx": 4096}, -1)
    sent = _sent(_request(extras={"options": {"num_ctx": 8192}, "keep_alive": "1m"}), options)
    assert (sent["options"], sent["keep_alive"]) == ({"num_ctx": 8192}, "1m")


@pytest.mark.parametrize(("named", "cap", "sent"), [(-1, 50, 50), (10, 50, 10), (90, 50, 50), ("x", 50, 50)])
def test_no_option_lifts_the_output_cap(named, cap, sent):
    body = _sent(_request(max_output_tokens=cap, extras={"options": {"num_predict": named}}))
    assert body["options"] == {"num_predict": sent}


@pytest.mark.parametrize(
    "part",
    [
        ImagePart(url="https://example.com/a.png"),
        FilePart(data="JVBERi0=", media_type="application/pdf"),
        FilePart(file_id="file-1"),
        OpaquePart(dialect="openai", value={"type": "video_url"}),
    ],
)
def test_what_it_has_no_words_for_is_refused_by_name(part):
    with pytest.raises(RequestRefused) as caught:
        _sent(_request(content=[part]))
    assert (caught.value.status, caught.value.param) == (400, "messages")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"tool_choice": ToolChoice(mode="required")}, "tool_choice"),
        ({"tool_choice": ToolChoice(mode="named", name="f")}, "tool_choice"),
        ({"extras": {"modalities": ["audio"]}}, "modalities"),
        ({"tools": [Tool(name="web_search", kind="web_search")]}, "tools"),
    ],
)
def test_what_may_not_be_lost_is_refused(fields, param):
    with pytest.raises(RequestRefused) as caught:
        _sent(_request(**fields))
    assert caught.value.param == param


def test_embeddings_are_asked_and_read():
    request = EmbeddingRequest(
        model="public", input=["a", "b"], dialect="openai", dimensions=2, user="ada", extras={"truncate": False, "x": 1}
    )
    asked = OllamaDialect(OllamaOptions(num_ctx=64)).encode_embeddings(request, TARGET)
    assert asked.url == "http://ollama.invalid/api/embed"
    assert json.loads(asked.body) == {
        "model": "m",
        "input": ["a", "b"],
        "dimensions": 2,
        "truncate": False,
        "options": {"num_ctx": 64},
    }
    assert set(asked.dropped) == {"user", "x"}
    found = read_embeddings(b'{"model": "e", "embeddings": [[1, 0.5], [0, 1]], "prompt_eval_count": 8}')
    assert (found.vectors, found.usage) == ([[1.0, 0.5], [0.0, 1.0]], Usage(input_tokens=8))
    assert read_embeddings(b'{"embeddings": []}').usage is None


def test_token_ids_cannot_be_embedded():
    with pytest.raises(RequestRefused) as caught:
        OllamaDialect(OllamaOptions()).encode_embeddings(
            EmbeddingRequest(model="public", input=[[1, 2]], dialect="openai"), TARGET
        )
    assert caught.value.param == "input"


def test_models_are_those_that_are_installed():
    assert read_models(b'{"models": [{"name": "gemma3:latest", "model": "gemma3:latest"}, {"name": "b"}, 7]}') == [
        "gemma3:latest",
        "b",
    ]


# --- answers


def test_ids_that_the_server_does_not_give_differ_from_turn_to_turn_and_call_to_call():
    def ids(created_at):
        call = {"function": {"name": "f", "arguments": {}}}
        answer = {**WHOLE, "created_at": created_at, "message": {"role": "assistant", "tool_calls": [call, call]}}
        return [part.id for part in read_completion(json.dumps(answer).encode()).choices[0].content]

    first, second = ids("2025-10-26T17:15:24Z"), ids("2025-10-26T17:15:25Z")
    assert len({*first, *second}) == 4
    assert first == ids("2025-10-26T17:15:24Z")


def test_a_stream_and_a_whole_answer_are_the_same():
    decoder = LineDecoder()
    events = decoder.feed(json.dumps(WHOLE).encode() + b"\n")
    assert collect([*events, *decoder.finish()]) == read_completion(json.dumps(WHOLE).encode())


@pytest.mark.parametrize("wrong", [-1, 1.5, "11", True, 10**12, None])
def test_a_count_that_cannot_be_is_no_usage(wrong):
    assert read_completion(json.dumps({**WHOLE, "prompt_eval_count": wrong, "eval_count": 1}).encode()).usage is None


# --- faults


def test_an_error_line_comes_after_what_was_said():
    decoder = LineDecoder()
    events = decoder.feed(_said("a") + b'{"error":"an error was encountered while running the model"}\n' + _said("b"))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a"]
    assert decoder.is_finished
    with pytest.raises(ProviderOverloaded):
        decoder.feed(b"")
    with pytest.raises(ProviderOverloaded):
        decoder.finish()


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("the input length exceeds the context length", ContextTooLong),
        ("you have reached your hourly usage limit", ProviderRateLimited),
        ("unauthorized", CredentialRefused),
        ({"message": "too many requests"}, ProviderRateLimited),
        (7, ProviderOverloaded),
    ],
)
def test_the_words_of_an_error_line_tell_its_kind(message, kind):
    with pytest.raises(kind):
        LineDecoder().feed(json.dumps({"error": message}).encode() + b"\n")


def test_a_cut_stream_is_interrupted():
    decoder = LineDecoder()
    decoder.feed(_said("a") + _line(message={"role": "assistant", "content": ""}, done=True).rstrip(b"\n"))
    with pytest.raises(StreamInterrupted):
        decoder.finish()


def test_what_comes_after_the_end_is_not_read():
    decoder = LineDecoder()
    decoder.feed(_said("a") + _line(message={"content": ""}, done=True) + b"garbage\n")
    assert decoder.finish() == []
    assert decoder.feed(b"more garbage\n") == []


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b"data: {}\n", b"{}\n", b'{"done":false}\n'])
def test_garbage_lines_are_a_bad_answer(line):
    with pytest.raises(BadAnswer):
        LineDecoder().feed(line)


def test_a_line_over_the_bound_is_refused():
    with pytest.raises(BadAnswer) as caught:
        LineDecoder().feed(b'{"x": "' + b"a" * (1 << 20))
    assert caught.value.code == "upstream_too_large"


def test_odd_pieces_of_a_line_give_way():
    decoder = LineDecoder()
    odd = {"content": 7, "thinking": [], "tool_calls": ["x", {"function": 7}]}
    events = decoder.feed(_line(message=odd, done=False, logprobs=7))
    assert [type(event) for event in events if isinstance(event, TextDelta)] == []
    assert [event.name for event in events if isinstance(event, ToolCallStarted)] == [""]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b'{"error": "model \'x\' not found"}', RequestRefused),
        (400, b'{"error": "prompt too long; exceeded max context length by 4 tokens"}', ContextTooLong),
        (401, b'{"error": "unauthorized", "signin_url": "https://ollama.com/connect"}', CredentialRefused),
        (429, b'{"error": "too many requests"}', ProviderRateLimited),
        (503, b'{"error": "server busy, please try again"}', ProviderOverloaded),
    ],
)
def test_refusals_are_told_apart(status, body, kind):
    error = decode_error(status, {"retry-after": "3"}, body)
    assert type(error) is kind
    assert error.status == status
    assert error.retry_after_s == (3.0 if status in {429, 503} else None)


def test_a_refusal_keeps_the_vendors_words():
    assert decode_error(404, {}, b'{"error": "model \'x\' not found"}').message == "model 'x' not found"
