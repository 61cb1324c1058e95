"""Text Generation Inference by its own API: recorded cases, prompts, what it refuses, and what goes wrong on it."""

import json
from pathlib import Path

import msgspec
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
from providers.huggingface.answers import TokenDecoder, read_completion, read_models
from providers.huggingface.errors import decode_error
from providers.huggingface.plugin import TgiDialect, TgiOptions, tgi_plugin
from providers.huggingface.prompt import TEMPLATES
from providers.huggingface.stops import Trimmer
from providers.testing.cases import load_cases
from providers.testing.contract import HttpAdapterContract
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    FilePart,
    Finished,
    ImagePart,
    Message,
    OpaquePart,
    ResponseFormat,
    Sampling,
    Target,
    TextDelta,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)

CASES = load_cases(*sorted((Path(__file__).parent / "cases").glob("*.json")))
TARGET = Target(provider="p", model="m", base_url="http://tgi.invalid")
TALK = [
    Message(role="system", content=[TextPart(text="Be brief.")]),
    Message(role="user", content=[TextPart(text="Hi")]),
    Message(role="assistant", content=[TextPart(text="Ho")]),
    Message(role="user", content=[TextPart(text="Again")]),
]


class TestTgi(HttpAdapterContract):
    plugin, cases = tgi_plugin("tgi", load_catalog().vendors["tgi"]), CASES
    refuses = frozenset({"embed", "relay"})


def _request(**fields):
    message = Message(role="user", content=fields.pop("content", [TextPart(text="x")]))
    return ChatRequest(model="public", messages=fields.pop("messages", [message]), dialect="openai", **fields)


def _sent(request, template="plain"):
    return json.loads(TgiDialect(TEMPLATES[template]).encode_chat(request, TARGET).body)


def _token(text, **fields):
    event = {"index": 1, "token": {"id": 1, "text": text, "logprob": -0.1, "special": False}, **fields}
    return b"data:" + json.dumps(event).encode() + b"\n\n"


# --- requests


def test_a_whole_answer_and_a_stream_are_asked_for_in_different_places():
    dialect = TgiDialect(TEMPLATES["plain"])
    assert dialect.encode_chat(_request(), TARGET).url == "http://tgi.invalid/generate"
    asked = dialect.encode_chat(_request(stream=True), TARGET)
    assert asked.url == "http://tgi.invalid/generate_stream"
    assert "decoder_input_details" not in json.loads(asked.body)["parameters"]
    assert asked.headers == (("content-type", "application/json"),)


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("plain", "Be brief.\n\nUser: Hi\nAssistant: Ho\nUser: Again\nAssistant:"),
        (
            "chatml",
            (
                "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                "<|im_start|>assistant\nHo<|im_end|>\n<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n"
            ),
        ),
        (
            "llama3",
            (
                "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\nHo<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nAgain<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
        ),
        (
            "gemma",
            (
                "<start_of_turn>user\nBe brief.<end_of_turn>\n<start_of_turn>user\nHi<end_of_turn>\n"
                "<start_of_turn>model\nHo<end_of_turn>\n<start_of_turn>user\nAgain<end_of_turn>\n<start_of_turn>model\n"
            ),
        ),
        ("mistral", "[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Hi[/INST]Ho</s>[INST]Again[/INST]"),
    ],
)
def test_a_conversation_is_one_text_in_the_form_that_the_operator_names(template, prompt):
    assert msgspec.convert({"chat_template": template}, TgiOptions).chat_template == template
    assert _sent(_request(messages=TALK), template)["inputs"] == prompt


@pytest.mark.parametrize("template", ["chatml", "llama3", "gemma", "mistral"])
def test_nobody_speaks_in_anothers_name(template):
    for marker in TEMPLATES[template].markers:
        with pytest.raises(RequestRefused) as caught:
            _sent(_request(content=[TextPart(text=f"x{marker}y")]), template)
        assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "message",
    [
        Message(role="user", content=[ImagePart(url="https://example.com/a.png")]),
        Message(role="user", content=[FilePart(data="JVBERi0=", media_type="application/pdf")]),
        Message(role="user", content=[OpaquePart(dialect="openai", value={"type": "video_url"})]),
        Message(role="assistant", content=[ToolCallPart(id="1", name="f")]),
        Message(role="tool", content=[ToolResultPart(id="1", content=[TextPart(text="x")])]),
    ],
)
def test_what_is_no_text_is_refused_by_name(message):
    with pytest.raises(RequestRefused) as caught:
        _sent(_request(messages=[message]))
    assert (caught.value.status, caught.value.param) == (400, "messages")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [Tool(name="f")]}, "tools"),
        ({"n": 2}, "n"),
        ({"response_format": ResponseFormat(kind="json_object")}, "response_format"),
        ({"sampling": Sampling(logprobs=True)}, "logprobs"),
        ({"sampling": Sampling(logit_bias={"1": 1.0})}, "logit_bias"),
        ({"extras": {"modalities": ["audio"]}}, "modalities"),
    ],
)
def test_what_may_not_be_lost_is_refused(fields, param):
    with pytest.raises(RequestRefused) as caught:
        _sent(_request(**fields))
    assert caught.value.param == param


def test_embeddings_are_refused_by_name():
    request = EmbeddingRequest(model="m", input=["a"], dialect="openai")
    with pytest.raises(RequestRefused) as caught:
        TgiDialect(TEMPLATES["plain"]).encode_embeddings(request, TARGET)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_operation", "model")


def test_the_server_has_one_model():
    assert TgiDialect(TEMPLATES["plain"]).encode_models(TARGET).url == "http://tgi.invalid/info"
    assert read_models(b'{"model_id": "Qwen/Qwen3-8B", "version": "3.3.6"}') == ["Qwen/Qwen3-8B"]


# --- the end of an answer


def _trimmed(texts, stops, *, reason="stop", strips=False):
    trimmer = Trimmer(stops, strips=strips)
    events = [event for text in texts for event in trimmer.feed(TextDelta(text=text))]
    events += trimmer.feed(Finished(reason=reason))
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    return said, events[-1].extras.get("stop_sequence")


@pytest.mark.parametrize(
    ("texts", "stops", "said"),
    [
        (["ab"], [], ("ab", None)),
        (["a", "b", "STOP"], ["STOP"], ("ab", "STOP")),
        (["a", "ST", "O", "P"], ["STOP"], ("a", "STOP")),
        (["STOP"], ["STOP"], ("", "STOP")),
        (["a ST", "ART"], ["STOP"], ("a START", None)),
        (["a ST"], ["STOP"], ("a ST", None)),
        (["aaab"], ["aab"], ("a", "aab")),
        (["x##", "#"], ["#", "###"], ("x##", "#")),
    ],
)
def test_only_the_sequence_that_stopped_it_is_taken_off(texts, stops, said):
    assert _trimmed(texts, stops) == said


def test_an_answer_that_was_cut_short_keeps_its_end():
    assert _trimmed(["a STOP"], ["STOP"], reason="length") == ("a STOP", None)


def test_what_may_be_a_stop_waits_and_nothing_else_does():
    trimmer = Trimmer(["STOP"], strips=True)
    assert [event.text for event in trimmer.feed(TextDelta(text="\n hello S"))] == ["hello "]
    assert [event.text for event in trimmer.feed(TextDelta(text="he"))] == ["She"]
    assert trimmer.feed(TextDelta(text="")) == []


def test_the_space_before_an_answer_is_the_prompts():
    assert _trimmed([" ", "\n", " a ", " b"], [], strips=True) == ("a  b", None)


# --- faults


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": "Request failed during generation: boom", "error_type": "generation"}, ProviderOverloaded),
        ({"error": "Incomplete generation", "error_type": "incomplete_generation"}, ProviderOverloaded),
        ({"error": "Model is overloaded", "error_type": "overloaded"}, ProviderRateLimited),
        ({"error": "Input validation error: `top_p` must be > 0.0", "error_type": "validation"}, RequestRefused),
        (
            {
                "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
                "error_type": "validation",
            },
            ContextTooLong,
        ),
    ],
)
def test_an_error_in_the_stream_comes_after_what_was_said(event, kind):
    decoder = TokenDecoder()
    events = decoder.feed(_token("a") + b"data:" + json.dumps(event).encode() + b"\n\n")
    assert [said.text for said in events if isinstance(said, TextDelta)] == ["a"]
    with pytest.raises(kind) as caught:
        decoder.finish()
    assert caught.value.vendor_code == event["error_type"]


def test_a_cut_stream_is_interrupted():
    decoder = TokenDecoder()
    decoder.feed(_token("a") + _token("b", generated_text="ab", details={"finish_reason": "eos_token"})[:-1])
    with pytest.raises(StreamInterrupted):
        decoder.finish()


@pytest.mark.parametrize("frame", [b"data:{\n\n", b"data:[]\n\n", b"data:{}\n\n", b'data:{"token": 7}\n\n'])
def test_garbage_events_are_a_bad_answer(frame):
    with pytest.raises(BadAnswer):
        TokenDecoder().feed(frame)


def test_an_event_over_the_bound_is_refused():
    with pytest.raises(BadAnswer) as caught:
        TokenDecoder().feed(b"data:" + b"a" * (1 << 20))
    assert caught.value.code == "upstream_too_large"


def test_an_error_in_a_whole_answer_is_one():
    with pytest.raises(ProviderOverloaded):
        read_completion(b'{"error": "boom", "error_type": "generation"}')


@pytest.mark.parametrize("details", [None, 7, {}, {"prefill": 7, "generated_tokens": "x"}, {"prefill": [{}]}])
def test_details_that_are_odd_are_no_usage(details):
    completion = read_completion(json.dumps({"generated_text": "x", "details": details}).encode())
    assert (completion.usage, completion.choices[0].finish_reason) == (None, "other")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (422, b'{"error": "Input validation error", "error_type": "validation"}', RequestRefused),
        (422, b'{"error": "`inputs` must have less than 1024 tokens. Given: 2000"}', ContextTooLong),
        (424, b'{"error": "Request failed during generation", "error_type": "generation"}', ProviderOverloaded),
        (429, b'{"error": "Model is overloaded", "error_type": "overloaded"}', ProviderRateLimited),
        (500, b'{"error": "Incomplete generation", "error_type": "incomplete_generation"}', ProviderOverloaded),
        (401, b'{"error": "Invalid credentials"}', CredentialRefused),
    ],
)
def test_refusals_are_told_apart(status, body, kind):
    error = decode_error(status, {}, body)
    assert type(error) is kind
    assert (error.status, error.vendor_code) == (status, json.loads(body).get("error_type"))
