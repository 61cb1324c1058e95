"""How a provider of each wire says a given word, refuses and breaks: what no recorded answer could prove.

Law: every answer is made of the one word that it is given, so that whoever reads it knows who said it.
"""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from providers.testing import Script

_EVENTS = "text/event-stream"
_USAGE = {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}


class Tongue(NamedTuple):
    """One provider's wire.

    `settings` are the provider's in the file, with `base_url` below an origin. `frames` are those of a stream that says
    a word twice, of which the first `lifecycle` say nothing and the last is its end. `breaks` is a frame that says an
    error, `refusal` the body of one: of a status, or in the words for a prompt that is too long or whose content is
    refused. `empty` is a whole answer that says nothing.
    """

    name: str
    settings: dict[str, Any]
    model: str
    frames: Callable[[str], list[bytes]]
    whole: Callable[[str], dict[str, Any]]
    lifecycle: int
    breaks: bytes
    refusal: Callable[[int], dict[str, Any]]
    too_long: dict[str, Any]
    blocked: dict[str, Any]
    empty: dict[str, Any]

    def says(self, word: str, *, stream: bool) -> Script:
        """Return what says a word, and is well."""
        if stream:
            return self.streams(self.frames(word))
        return Script(body=json.dumps(self.whole(word)), keeps_alive=False)

    def streams(self, frames: Sequence[bytes], **more: Any) -> Script:
        """Return what sends these frames; `more` is how that goes wrong."""
        encoded = [base64.b64encode(frame).decode() for frame in frames]
        return Script(frames_base64=encoded, content_type=_EVENTS, keeps_alive=False, **more)


def _sse(value: Any, *, event: str | None = None) -> bytes:
    named = "" if event is None else f"event: {event}\n"
    return f"{named}data: {json.dumps(value)}\n\n".encode()


# --- OpenAI


def _chunk(**fields: Any) -> bytes:
    head = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "up"}
    return _sse({**head, **fields})


def _delta(delta: dict[str, Any], reason: str | None = None) -> bytes:
    return _chunk(choices=[{"index": 0, "delta": delta, "finish_reason": reason}])


def _openai_frames(word: str) -> list[bytes]:
    return [
        _delta({"role": "assistant", "content": ""}),
        _delta({"content": word}),
        _delta({"content": f" {word}"}),
        _delta({}, "stop"),
        _chunk(choices=[], usage=_USAGE),
        b"data: [DONE]\n\n",
    ]


def _openai_whole(word: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": word}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "chatcmpl-9", "object": "chat.completion", "created": 1_790_000_000, "model": "up"}
    return {**head, "choices": [choice], "usage": _USAGE}


def _openai_error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "some_error", "param": None, "code": code}}


OPENAI = Tongue(
    name="openai",
    settings={"adapter": "openai", "base_url": "/v1"},
    model="gpt-5.2",
    frames=_openai_frames,
    whole=_openai_whole,
    lifecycle=1,
    breaks=_sse(_openai_error("it broke", "server_error")),
    refusal=lambda status: _openai_error(f"status {status}", "odd" if status in {400, 404, 413, 422} else None),
    too_long=_openai_error("this model's maximum context length is 8 tokens", "context_length_exceeded"),
    blocked=_openai_error("refused", "content_policy_violation"),
    empty={**_openai_whole(""), "choices": []},
)


# --- Anthropic


def _event(kind: str, **fields: Any) -> bytes:
    return _sse({"type": kind, **fields}, event=kind)


def _message(content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    head = {"id": "msg_9", "type": "message", "role": "assistant", "model": "up", "stop_sequence": None}
    return {
        **head,
        "content": content,
        "stop_reason": reason,
        "usage": {"input_tokens": 40, "output_tokens": 2},
    }


def _anthropic_frames(word: str) -> list[bytes]:
    return [
        _event("message_start", message=_message([], None)),
        _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        _event("ping"),
        _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}),
        _event("content_block_delta", index=0, delta={"type": "text_delta", "text": f" {word}"}),
        _event("content_block_stop", index=0),
        _event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 2}),
        _event("message_stop"),
    ]


def _anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


ANTHROPIC = Tongue(
    name="anthropic",
    settings={"adapter": "anthropic", "base_url": ""},
    model="claude-opus-4-6",
    frames=_anthropic_frames,
    whole=lambda word: _message([{"type": "text", "text": word}], "end_turn"),
    lifecycle=3,
    breaks=_sse(_anthropic_error("overloaded_error", "Overloaded"), event="error"),
    refusal=lambda status: _anthropic_error("some_error", f"status {status}"),
    too_long=_anthropic_error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
    blocked=_anthropic_error("invalid_request_error", "Output blocked by content filtering policy"),
    empty=_message([], None),
)


# --- Google


def _part(word: str, **more: Any) -> dict[str, Any]:
    candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": word}]}, **more}
    counts = {"promptTokenCount": 40, "candidatesTokenCount": 2, "totalTokenCount": 42}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "up", "responseId": "r9"}


def _gemini_error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": "SOME"}}


_SILENT = {"usageMetadata": {"promptTokenCount": 40}, "modelVersion": "up", "responseId": "r9"}
GEMINI = Tongue(
    name="gemini",
    settings={"adapter": "gemini", "base_url": "/v1beta"},
    model="gemini-3-pro",
    frames=lambda word: [
        _sse(_SILENT),
        _sse(_part(word)),
        _sse(_part(f" {word}")),
        _sse(_part("", finishReason="STOP")),
    ],
    whole=lambda word: _part(word, finishReason="STOP"),
    lifecycle=1,
    breaks=_sse(_gemini_error(503, "it broke")),
    refusal=lambda status: _gemini_error(status, f"status {status}"),
    too_long=_gemini_error(400, "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
    blocked=_gemini_error(400, "The request was blocked by the safety settings."),
    empty={**_SILENT, "candidates": []},
)
TONGUES = (OPENAI, ANTHROPIC, GEMINI)
