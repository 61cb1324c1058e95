"""What an answer says of its tokens comes out the same, whole or streamed, translated or relayed, near or remote.

Sources: https://platform.openai.com/docs/api-reference/responses, https://ai.google.dev/api/generate-content,
https://platform.claude.com/docs/en/build-with-claude/prompt-caching,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html, read 2026-11.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.anthropic import answers as anthropic
from providers.anthropic.inspect import StreamInspector as MessagesInspector
from providers.anthropic.inspect import WholeInspector as MessageInspector
from providers.anthropic.stream import MessageDecoder as MessagesDecoder
from providers.anthropic.wire import usage_of as message_usage
from providers.anthropic.wire import write_usage as write_message_usage
from providers.bedrock import answer as bedrock
from providers.bedrock.stream import EventDecoder as ConverseDecoder
from providers.framing import eventstream
from providers.gemini import upstream as gemini
from providers.gemini.inspect import StreamInspector as GenerateInspector
from providers.gemini.inspect import WholeInspector as GeneratedInspector
from providers.gemini.wire import usage_of as generated_usage
from providers.gemini.wire import write_usage as write_generated_usage
from providers.native import wire as native
from providers.native.stream import EventDecoder as NativeDecoder
from providers.native.stream import StreamWatch, WholeWatch
from providers.openai.responses import upstream as responses
from providers.openai.responses.decoder import EventDecoder as ResponseDecoder
from providers.openai.responses.inspect import ResponseStreamInspector, WholeResponse
from providers.stream import collect, replay
from providers.types import Choice, Completion, TextPart, Usage

ALL = Usage(
    input_tokens=90,
    output_tokens=80,
    cache_read_tokens=70,
    cache_write_tokens=60,
    reasoning_tokens=5,
    audio_input_tokens=6,
    image_input_tokens=7,
    audio_output_tokens=8,
    image_output_tokens=9,
    cache_write_1h_tokens=10,
    images=11,
    service_tier="flex",
)


def _event(value: dict[str, Any]) -> bytes:
    name = f"event: {value['type']}\n".encode() if "type" in value else b""
    return name + b"data: " + json.dumps(value).encode() + b"\n\n"


def _decoded(decoder: Any, stream: Iterable[bytes]) -> Usage | None:
    events = [event for piece in stream for event in decoder.feed(piece)]
    return collect([*events, *decoder.finish()]).usage


def _watched(inspector: Any, stream: Iterable[bytes]) -> Usage | None:
    for piece in stream:
        inspector.feed(piece)
    return inspector.usage


class Wire(msgspec.Struct, frozen=True):
    """The four readers of one wire, and how it says counts, whole and in a stream."""

    whole: Callable[[Any], dict[str, Any]]
    stream: Callable[[Any], list[bytes]]
    read: Callable[[bytes], Completion]
    decoder: Callable[[], Any]
    inspectors: tuple[Callable[[], Any], Callable[[], Any]] | None


def _response(told: dict[str, Any]) -> dict[str, Any]:
    item = {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    return {"id": "r", "object": "response", "status": "completed", "output": [item], **told}


def _response_stream(told: dict[str, Any]) -> list[bytes]:
    begun = {"id": "r", "status": "in_progress", "service_tier": "auto", "output": []}
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi"}
    return [
        _event({"type": "response.created", "response": begun}),
        _event(delta),
        _event({"type": "response.completed", "response": _response(told)}),
    ]


def _generated(told: dict[str, Any], *, text: str = "Hi", ends: bool = True) -> dict[str, Any]:
    candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    return {"candidates": [candidate | ({"finishReason": "STOP"} if ends else {})], "usageMetadata": told}


def _generated_stream(told: dict[str, Any]) -> list[bytes]:
    early = {"promptTokenCount": told["promptTokenCount"]}
    return [_event(_generated(early, text="H", ends=False)), _event(_generated(told, text="i"))]


def _message(told: dict[str, Any]) -> dict[str, Any]:
    content = [{"type": "text", "text": "Hi"}]
    return {"id": "m", "type": "message", "content": content, "stop_reason": "end_turn", "usage": told}


def _message_stream(told: dict[str, Any]) -> list[bytes]:
    """Say at the start what went in, and at the end what came out, as the vendor does."""
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    late = {name: told[name] for name in ("output_tokens", "output_tokens_details") if name in told}
    return [
        _event({"type": "message_start", "message": {"id": "m", "usage": {**told, "output_tokens": 1}}}),
        _event(block),
        _event(text),
        _event({"type": "content_block_stop", "index": 0}),
        _event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": late}),
        _event({"type": "message_stop"}),
    ]


def _conversed(told: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"text": "Hi"}]}
    return {"output": {"message": message}, "stopReason": "end_turn", **told}


def _conversed_stream(told: dict[str, Any]) -> list[bytes]:
    events = {
        "messageStart": {"role": "assistant"},
        "contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hi"}},
        "messageStop": {"stopReason": "end_turn"},
        "metadata": told,
    }
    return [
        eventstream.encode({":event-type": name, ":message-type": "event"}, json.dumps(payload).encode())
        for name, payload in events.items()
    ]


WIRES = {
    "responses": Wire(
        _response,
        _response_stream,
        responses.read_response,
        ResponseDecoder,
        (WholeResponse, ResponseStreamInspector),
    ),
    "gemini": Wire(
        _generated,
        _generated_stream,
        gemini.read_completion,
        gemini.ChunkDecoder,
        (GeneratedInspector, GenerateInspector),
    ),
    "anthropic": Wire(
        _message,
        _message_stream,
        anthropic.read_message,
        MessagesDecoder,
        (MessageInspector, MessagesInspector),
    ),
    "bedrock": Wire(_conversed, _conversed_stream, bedrock.read_completion, ConverseDecoder, None),
}
"""Chat completions and media have tables of their own: `openai/cases/usage.json`, `relays/`."""

TOLD = [
    pytest.param(
        "responses",
        {
            "usage": {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 60, "audio_tokens": 8, "image_tokens": 12},
                "output_tokens": 50,
                "output_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 10, "image_tokens": 15},
            },
            "service_tier": "priority",
        },
        Usage(
            input_tokens=40,
            cache_read_tokens=60,
            output_tokens=50,
            reasoning_tokens=20,
            audio_input_tokens=8,
            image_input_tokens=12,
            audio_output_tokens=10,
            image_output_tokens=15,
            service_tier="priority",
        ),
        id="a response with media",
    ),
    pytest.param(
        "responses",
        {
            "usage": {
                "input_tokens": 10,
                "input_tokens_details": {"image_tokens": 99},
                "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 4, "image_tokens": 99},
            },
        },
        Usage(input_tokens=10, output_tokens=5, reasoning_tokens=4, image_input_tokens=10, image_output_tokens=1),
        id="a response with parts that are too large",
    ),
    pytest.param(
        "gemini",
        {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 400,
            "candidatesTokenCount": 1400,
            "thoughtsTokenCount": 30,
            "toolUsePromptTokenCount": 20,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 342},
                {"modality": "AUDIO", "tokenCount": 400},
                {"modality": "IMAGE", "tokenCount": 258},
            ],
            "cacheTokensDetails": [
                {"modality": "AUDIO", "tokenCount": 300},
                {"modality": "TEXT", "tokenCount": 100},
            ],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 20}],
            "trafficType": "ON_DEMAND_FLEX",
        },
        Usage(
            input_tokens=620,
            cache_read_tokens=400,
            output_tokens=1430,
            reasoning_tokens=30,
            audio_input_tokens=100,
            image_input_tokens=278,
            image_output_tokens=1290,
            service_tier="flex",
        ),
        id="generated pictures",
    ),
    pytest.param(
        "gemini",
        {
            "promptTokenCount": 9,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 6,
            "promptTokensDetails": [7, {"modality": "AUDIO", "tokenCount": 50}, {"modality": 3}, {"tokenCount": 1}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}],
            "cacheTokensDetails": {"modality": "AUDIO"},
            "trafficType": ["ON_DEMAND"],
        },
        Usage(input_tokens=9, output_tokens=10, reasoning_tokens=6, audio_input_tokens=9, audio_output_tokens=4),
        id="odd details",
    ),
    pytest.param(
        "anthropic",
        {
            "input_tokens": 20,
            "cache_creation_input_tokens": 556,
            "cache_read_input_tokens": 5,
            "cache_creation": {"ephemeral_5m_input_tokens": 456, "ephemeral_1h_input_tokens": 100},
            "output_tokens": 40,
            "output_tokens_details": {"thinking_tokens": 3},
            "service_tier": "priority",
        },
        Usage(
            input_tokens=20,
            cache_write_tokens=556,
            cache_read_tokens=5,
            output_tokens=40,
            reasoning_tokens=3,
            cache_write_1h_tokens=100,
            service_tier="priority",
        ),
        id="a cache that lives an hour",
    ),
    pytest.param(
        "anthropic",
        {
            "input_tokens": 20,
            "cache_creation_input_tokens": 6,
            "cache_creation": {"ephemeral_1h_input_tokens": 100},
            "output_tokens": 40,
            "service_tier": "standard",
            "speed": "fast",
        },
        Usage(input_tokens=20, cache_write_tokens=6, output_tokens=40, cache_write_1h_tokens=6, service_tier="fast"),
        id="a fast answer",
    ),
    pytest.param(
        "anthropic",
        {"input_tokens": 20, "cache_creation": [7], "output_tokens": 40, "service_tier": 7, "speed": ["fast"]},
        Usage(input_tokens=20, output_tokens=40),
        id="odd caches",
    ),
    pytest.param(
        "bedrock",
        {
            "usage": {
                "inputTokens": 20,
                "outputTokens": 4,
                "cacheWriteInputTokens": 300,
                "totalTokens": 324,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 100}],
            },
            "serviceTier": {"type": "priority"},
        },
        Usage(
            input_tokens=20,
            output_tokens=4,
            cache_write_tokens=300,
            cache_write_1h_tokens=200,
            service_tier="priority",
        ),
        id="a cache of Bedrock's",
    ),
    pytest.param(
        "bedrock",
        {
            "usage": {
                "inputTokens": 20,
                "outputTokens": 4,
                "cacheWriteInputTokens": 3,
                "cacheDetails": [7, {"ttl": "1h", "inputTokens": 9}, {"ttl": "1h", "inputTokens": "x"}],
            },
            "serviceTier": "priority",
        },
        Usage(input_tokens=20, output_tokens=4, cache_write_tokens=3, cache_write_1h_tokens=3),
        id="odd details of Bedrock's",
    ),
]


@pytest.mark.parametrize(("name", "told", "usage"), TOLD)
def test_counts_are_the_same_whole_and_streamed_translated_and_relayed(name, told, usage):
    wire = WIRES[name]
    body, stream = json.dumps(wire.whole(told)).encode(), wire.stream(told)
    assert wire.read(body).usage == usage
    assert _decoded(wire.decoder(), stream) == usage
    if wire.inspectors is not None:
        whole, streamed = wire.inspectors
        assert _watched(whole(), [body]) == usage
        assert _watched(streamed(), stream) == usage


@pytest.mark.parametrize(("name", "told", "usage"), TOLD)
def test_what_is_read_is_plausible_and_no_part_is_more_than_its_whole(name, told, usage):
    read = WIRES[name].read(json.dumps(WIRES[name].whole(told)).encode()).usage
    assert read is not None
    assert read.is_plausible
    assert read.audio_input_tokens + read.image_input_tokens <= read.input_tokens
    assert read.reasoning_tokens + read.audio_output_tokens + read.image_output_tokens <= read.output_tokens
    assert read.cache_write_1h_tokens <= read.cache_write_tokens
    assert read == usage


# --- The native wire carries every count


def test_every_count_goes_over_the_native_wire():
    assert all(getattr(ALL, name) for name in Usage.__struct_fields__ if name != "estimated")
    choice = Choice(index=0, content=[TextPart(text="Hi")], finish_reason="stop")
    completion = Completion(id="1", model="m", created=1, choices=[choice], usage=ALL)
    lines = [native.write_line(event) for event in replay(completion)] + [native.write_line(native.End())]
    assert _decoded(NativeDecoder(), lines) == ALL
    assert msgspec.json.decode(msgspec.json.encode(completion), type=Completion).usage == ALL


def test_every_count_of_a_relayed_answer_goes_over_the_native_wire():
    relayed = native.Relayed(data=b"x", usage=ALL)
    assert _watched(StreamWatch(), [native.write_line(relayed)]) == ALL
    assert _watched(WholeWatch(), [msgspec.json.encode(relayed)]) == ALL


def test_what_an_older_adapter_does_not_tell_is_nothing():
    line = b'{"type":"usage","usage":{"input_tokens":3,"output_tokens":2,"estimated":false,"new":1}}'
    assert native.read_event(line).usage == Usage(input_tokens=3, output_tokens=2)


# --- What clients are told


def _counts(most: int = 10**6) -> st.SearchStrategy[int]:
    return st.integers(0, most)


@given(st.data())
def test_media_that_are_said_to_clients_of_gemini_are_read_again(data):
    given_, said = data.draw(_counts()), data.draw(_counts())
    audio, spoken = data.draw(_counts(given_)), data.draw(_counts(said))
    usage = Usage(
        input_tokens=given_,
        audio_input_tokens=audio,
        image_input_tokens=given_ - audio,
        cache_read_tokens=data.draw(_counts()),
        output_tokens=said,
        audio_output_tokens=spoken,
        image_output_tokens=data.draw(_counts(said - spoken)),
    )
    assert generated_usage({"usageMetadata": write_generated_usage(usage)}) == usage


@given(st.data(), st.sampled_from([None, "standard", "priority", "batch"]))
def test_how_long_a_cache_lives_is_said_to_clients_of_anthropic(data, tier):
    written = data.draw(_counts())
    hour = data.draw(_counts(written))
    usage = Usage(cache_write_tokens=written, cache_write_1h_tokens=hour, service_tier=tier)
    said = write_message_usage(usage)
    assert message_usage(said) == usage
    assert sum(said.get("cache_creation", {}).values()) in {0, written}


def test_a_tier_that_clients_of_anthropic_do_not_know_is_not_said():
    assert "service_tier" not in write_message_usage(Usage(service_tier="flex"))


# --- What cannot be


@pytest.mark.parametrize("name", [n for n in Usage.__struct_fields__ if n not in {"service_tier", "estimated"}])
def test_a_count_that_cannot_be_is_implausible(name):
    assert Usage(**{name: 10_000}).is_plausible
    assert not Usage(**{name: -1}).is_plausible
    assert not Usage(**{name: 100_000_001}).is_plausible
