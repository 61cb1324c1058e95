"""Canonical answers, said to a client in OpenAI's dialect.

Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

import base64
import struct
from typing import Any

import msgspec

from providers.framing import sse
from providers.openai.parts import write_tool_call
from providers.openai.wire import write_usage
from providers.stream import ANNOTATIONS
from providers.types import (
    ChatEvent,
    Choice,
    Completion,
    Embeddings,
    Finished,
    FinishReason,
    RefusalPart,
    Started,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStarted,
    Usage,
    UsageReported,
)

DONE = sse.encode(b"[DONE]")
_REASONS: dict[FinishReason, str] = {"refusal": "stop", "other": "stop"}


def write_reason(reason: FinishReason) -> str:
    """Return OpenAI's word for why an answer ended."""
    return _REASONS.get(reason, reason)


def render_completion(completion: Completion, *, model: str) -> dict[str, Any]:
    """Return the body of a chat completion; `model` is the name that the client asked for."""
    body: dict[str, Any] = {
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created,
        "model": model,
        "choices": [_render_choice(choice) for choice in completion.choices],
    }
    if completion.usage is not None:
        body["usage"] = write_usage(completion.usage)
    return body


def _render_choice(choice: Choice) -> dict[str, Any]:
    return {
        "index": choice.index,
        "message": render_message(choice),
        "logprobs": choice.logprobs,
        "finish_reason": write_reason(choice.finish_reason),
    }


def render_message(choice: Choice) -> dict[str, Any]:
    """Return the assistant's message of one choice."""
    texts = [part for part in choice.content if isinstance(part, TextPart)]
    calls = [write_tool_call(part) for part in choice.content if isinstance(part, ToolCallPart)]
    thoughts = "".join(part.text for part in choice.content if isinstance(part, ThinkingPart))
    refusals = [part.text for part in choice.content if isinstance(part, RefusalPart)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(part.text for part in texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    if thoughts:
        message["reasoning_content"] = thoughts
    if calls:
        message["tool_calls"] = calls
    annotations = [note for part in texts for note in part.annotations]
    return message | ({"annotations": annotations} if annotations else {})


class ChunkRenderer:
    """Renders the events of one answer as chat completion chunks, each a server-sent event.

    `include_usage` is whether the client asked for the usage chunk. The terminator is not written here: whoever
    settles the call writes `DONE` behind it.
    """

    __slots__ = ("_begun", "_head", "_include_usage", "usage")

    def __init__(self, *, model: str, include_usage: bool) -> None:
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": model}
        self._include_usage = include_usage
        self._begun: set[int] = set()
        self.usage: Usage | None = None

    def feed(self, event: ChatEvent) -> bytes:
        """Return the frames that say `event`: perhaps none."""
        match event:
            case Started():
                self._head["id"] = event.id
                self._head["created"] = event.created
                return b""
            case UsageReported():
                self.usage = event.usage
                return b""
            case Finished():
                return self._frame(event.choice, {}, reason=write_reason(event.reason))
            case TextDelta():
                return self._frame(event.choice, _text_delta(event), logprobs=event.logprobs)
            case _:
                delta = _delta(event)
                return self._frame(event.choice, delta) if delta else b""

    def finish(self) -> bytes:
        """Return the usage chunk if the client asked for it."""
        if not self._include_usage or self.usage is None:
            return b""
        return self._encode({**self._head, "choices": [], "usage": write_usage(self.usage)})

    def _frame(self, choice: int, delta: dict[str, Any], *, reason: str | None = None, logprobs: Any = None) -> bytes:
        if choice not in self._begun:
            self._begun.add(choice)
            delta = {"role": "assistant", **({"content": ""} if "content" not in delta else {}), **delta}
        chunk = {
            **self._head,
            "choices": [{"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}],
        }
        if self._include_usage:
            chunk["usage"] = None
        return self._encode(chunk)

    @staticmethod
    def _encode(chunk: dict[str, Any]) -> bytes:
        return sse.encode(msgspec.json.encode(chunk))


def _text_delta(event: TextDelta) -> dict[str, Any]:
    delta: dict[str, Any] = {"refusal" if event.refusal else "content": event.text}
    notes = event.extras.get(ANNOTATIONS)
    return delta | ({"annotations": notes} if notes else {})


def _delta(event: ThinkingDelta | ToolCallStarted | ToolCallDelta) -> dict[str, Any]:
    """Return what a chunk adds to its choice; nothing for a signature, which this wire cannot carry."""
    call: dict[str, Any]
    match event:
        case ThinkingDelta():
            return {"reasoning_content": event.text} if event.text else {}
        case ToolCallStarted():
            function = {"name": event.name, "arguments": ""}
            call = {"index": event.index, "id": event.id, "type": "function", "function": function}
        case ToolCallDelta():
            call = {"index": event.index, "function": {"arguments": event.arguments}}
    return {"tool_calls": [call]}


def render_embeddings(embeddings: Embeddings, *, model: str, encoding: str) -> dict[str, Any]:
    """Return the body of an embeddings answer; vectors as floats, or base64 of little-endian 32-bit floats."""
    usage = embeddings.usage or Usage()
    data = [
        {"object": "embedding", "index": index, "embedding": vector if encoding == "float" else _pack(vector)}
        for index, vector in enumerate(embeddings.vectors)
    ]
    counts = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
    return {"object": "list", "data": data, "model": model, "usage": counts}


def _pack(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
