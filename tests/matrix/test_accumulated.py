"""What vendors stream, said in each dialect: the SDK's own accumulator ends with what would have come unstreamed."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from openai import omit
from openai.lib.streaming.chat._completions import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletionChunk

from matrix.cells import CLIENTS, PROVIDERS, dialect_of
from matrix.sse import events_of
from matrix.test_answers import MESSAGE_EVENT, RESPONSE_EVENT, exchange_of, whole
from providers.stream import collect
from providers.types import ChatEvent

CLIENT = {client.relay: client for client in CLIENTS}
DIALECT = {provider.title: dialect_of(provider.adapter, provider.options) for provider in PROVIDERS}


def frames(*events: dict[str, Any] | None, done: bool = False) -> bytes:
    """Return server-sent events; `None` is a comment that keeps the connection alive."""
    said = b"".join(b": wait\n\n" if one is None else b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)
    return said + (b"data: [DONE]\n\n" if done else b"")


def openai(*deltas: dict[str, Any] | None, reason: str = "stop") -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    usage |= {
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    chunks = [
        None if delta is None else {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    last = {**head, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": reason}]}
    return frames(*chunks, last, {**head, "choices": [], "usage": usage}, done=True)


def tool(index: int, arguments: str = "", **begins: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": begins["name"]} if begins else {})
    named = {"id": begins["id"], "type": "function"} if begins else {}
    return {"tool_calls": [{"index": index, **named, "function": function}]}


def anthropic(*blocks: tuple[dict[str, Any], ...], reason: str = "end_turn", **ending: Any) -> bytes:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": usage}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}]
    for index, (block, *deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": reason, "stop_sequence": None, **ending}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": 20}})
    return frames(*events, {"type": "message_stop"})


def text(*pieces: str) -> tuple[dict[str, Any], ...]:
    return {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces)


def thought(words: str, signature: str) -> tuple[dict[str, Any], ...]:
    deltas = {"type": "thinking_delta", "thinking": words}, {"type": "signature_delta", "signature": signature}
    return {"type": "thinking", "thinking": "", "signature": ""}, *deltas


def use(given: str, *pieces: str) -> tuple[dict[str, Any], ...]:
    deltas = ({"type": "input_json_delta", "partial_json": piece} for piece in pieces)
    return {"type": "tool_use", "id": given, "name": "f", "input": {}}, *deltas


def gemini(*parts: list[dict[str, Any]], reason: str = "STOP") -> bytes:
    counts = {"promptTokenCount": 100, "candidatesTokenCount": 15, "cachedContentTokenCount": 60}
    usage = {**counts, "thoughtsTokenCount": 5, "totalTokenCount": 120}
    pieces = [{"candidates": [{"index": 0, "content": {"role": "model", "parts": some}}]} for some in parts]
    last = {"candidates": [{"index": 0, "finishReason": reason}], "usageMetadata": usage}
    return frames(*({**piece, "responseId": "r", "modelVersion": "g"} for piece in (*pieces, last)))


CITED = {
    "type": "citations_delta",
    "citation": {
        "type": "web_search_result_location",
        "url": "https://a.example/b",
        "title": "t",
        "cited_text": "x",
        "encrypted_index": "e",
    },
}
BEGINS = {"role": "assistant", "content": None}
STREAMS = {
    "parallel calls whose arguments interleave": (
        "OpenAI",
        openai(
            *(BEGINS, None, {"content": ""}, {"reasoning_content": "hm"}, {"content": "Let "}, {"content": "me"}),
            *(tool(0, id="c1", name="f"), tool(1, id="c2", name="g"), tool(0, '{"a"'), tool(1, '{"b":')),
            *(tool(0, ":1}"), tool(1, "2}"), {"content": "after"}),
            reason="tool_calls",
        ),
        "tool_use",
    ),
    "calls without arguments, and a plain stop": (
        "OpenAI",
        openai(BEGINS, tool(0, id="c1", name="f"), tool(1, id="c2", name="g")),
        "tool_use",
    ),
    "a refusal half-way": ("OpenAI", openai(BEGINS, {"content": "Well"}, {"refusal": "I "}, {"refusal": "no"}), None),
    "reasoning twice": (
        "OpenAI",
        openai({"reasoning": "one"}, {"content": "x"}, {"reasoning": "two"}, tool(0, "{}", id="c", name="f")),
        "tool_use",
    ),
    "nothing": ("OpenAI", openai({"role": "assistant", "content": ""}), "end_turn"),
    "all kinds of blocks": (
        "Anthropic",
        anthropic(
            *(thought("hm", "S1"), ({"type": "redacted_thinking", "data": "RR"},), thought("well", "S2")),
            *(text("he", "llo"), use("toolu_1", "", '{"a":', "1}"), use("toolu_2"), text("tail")),
            reason="tool_use",
        ),
        "tool_use",
    ),
    "citations between texts": ("Anthropic", anthropic(text("It "), (*text("is"), CITED), text(".")), "end_turn"),
    "a stop sequence": ("Anthropic", anthropic(text("a"), reason="stop_sequence", stop_sequence="X"), "stop_sequence"),
    "signed calls and text": (
        "Gemini",
        gemini(
            [{"text": "hm", "thought": True}],
            [{"text": "Hi"}],
            [
                {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "U0lH"},
                {"functionCall": {"name": "g", "args": {}}},
            ],
            [{"text": "tail", "thoughtSignature": "VFQ="}],
        ),
        "tool_use",
    ),
}
CASES = pytest.mark.parametrize(
    ("vendor", "stream", "stop"), [pytest.param(*case, id=name) for name, case in STREAMS.items()]
)


def read(vendor: str, stream: bytes) -> list[ChatEvent]:
    decoder = DIALECT[vendor].chat_decoder()
    return [*decoder.feed(stream), *decoder.finish()]


def said(relay: str, events: Iterable[ChatEvent]) -> list[dict[str, Any]]:
    renderer = CLIENT[relay].wire.operation.renderer
    assert renderer is not None
    stream = renderer.stream(exchange_of(CLIENT[relay], stream=True))
    return events_of(b"".join(stream.feed(event) for event in events) + stream.finish())


def bare(value: Any) -> Any:
    """Return JSON without what is `null`, which the SDKs' models add."""
    if isinstance(value, dict):
        return {name: bare(field) for name, field in value.items() if field is not None}
    return [bare(item) for item in value] if isinstance(value, list) else value


@CASES
def test_openais_sdk_for_chats(vendor: str, stream: bytes, stop: str | None):
    events = read(vendor, stream)
    state = ChatCompletionStreamState()
    for chunk in said("openai.chat", events):
        state.handle_chunk(ChatCompletionChunk.model_validate_json(json.dumps(chunk)))
    choice = state.current_completion_snapshot.model_dump()["choices"][0]
    expected = whole(CLIENT["openai.chat"], collect(events))
    wanted = expected["choices"][0]
    calls = [(call["id"], call["function"]["name"]) for call in choice["message"].pop("tool_calls") or []]
    assert calls == [(call["id"], call["function"]["name"]) for call in wanted["message"].pop("tool_calls", [])]
    for name in ("content", "refusal", "reasoning_content", "reasoning_details", "annotations", "extra_content"):
        assert (choice["message"].get(name) or None) == (wanted["message"].get(name) or None), name
    assert choice["finish_reason"] == wanted["finish_reason"]
    usage = expected["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (100, 20, 120)


@CASES
def test_anthropics_sdk(vendor: str, stream: bytes, stop: str | None):
    events = read(vendor, stream)
    message, buffers = None, {}
    for event in said("anthropic.messages", events):
        message = accumulate_event(
            event=MESSAGE_EVENT.validate_json(json.dumps(event)),
            current_snapshot=message,
            json_bufs=buffers,
        )
    assert message is not None
    streamed, expected = bare(message.model_dump()), bare(whole(CLIENT["anthropic.messages"], collect(events)))
    for name in ("content", "stop_reason", "stop_sequence", "usage"):
        assert streamed.get(name) == expected.get(name), name
    assert stop is None or streamed["stop_reason"] == stop
    usage = expected["usage"]
    prompt = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert (sum(usage[name] for name in prompt), usage["output_tokens"]) == (100, 20)


@CASES
def test_openais_sdk_for_responses(vendor: str, stream: bytes, stop: str | None):
    events = read(vendor, stream)
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    said_events = said("openai.responses", events)
    for event in said_events:
        state.handle_event(RESPONSE_EVENT.validate_json(json.dumps(event)))
    expected = whole(CLIENT["openai.responses"], collect(events))
    last = said_events[-1]["response"]
    assert (last["output"], last["status"], last["usage"]) == (expected["output"], "completed", expected["usage"])
    grown: dict[int, Any] = {}
    for event in said_events:
        if event["type"] == "response.output_item.done":
            grown[event["output_index"]] = event["item"]
    assert [grown[place] for place in sorted(grown)] == expected["output"]


@CASES
def test_the_pieces_of_googles_sdk(vendor: str, stream: bytes, stop: str | None):
    events = read(vendor, stream)
    pieces = [part for piece in said("gemini.generate", events) for part in piece["candidates"][0]["content"]["parts"]]
    expected = whole(CLIENT["gemini.generate"], collect(events))
    wanted = expected["candidates"][0]["content"]["parts"]
    for thoughts in (None, True):
        told = ["".join(p.get("text", "") for p in some if p.get("thought") == thoughts) for some in (pieces, wanted)]
        assert told[0] == told[1]
    assert [p["functionCall"] for p in pieces if "functionCall" in p] == [
        p["functionCall"] for p in wanted if "functionCall" in p
    ]
    usage = expected["usageMetadata"]
    spent = usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    assert (usage["promptTokenCount"], spent, usage["totalTokenCount"]) == (100, 20, 120)
