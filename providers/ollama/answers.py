"""Ollama's answers, read: one object, or a line for each piece of it.

Source: https://docs.ollama.com/api/chat, read 2026-11; ollama-python 0.6.3, `ChatResponse`.
"""

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from providers.answers import count, fields, objects, read_object, vector
from providers.errors import BadAnswer
from providers.framing.decoder import FrameDecoder
from providers.framing.ndjson import LineSplitter
from providers.ollama.errors import error_in_stream
from providers.stream import collect
from providers.types import (
    ChatEvent,
    Completion,
    Embeddings,
    Finished,
    FinishReason,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)

_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class LineDecoder(FrameDecoder[bytes]):
    """Reads a streamed answer into events."""

    __slots__ = ("_calls", "_opened")

    def __init__(self) -> None:
        super().__init__(LineSplitter())
        self._opened = False
        self._calls = 0

    def read_frame(self, frame: bytes) -> list[ChatEvent]:
        """Return what a line says."""
        return self.read_line(read_object(frame))

    def read_line(self, line: dict[str, Any]) -> list[ChatEvent]:
        """Return what a decoded line says. Raises `BadAnswer` for one that is no piece of an answer."""
        if line.get("error") is not None:
            raise error_in_stream(line["error"])
        if not isinstance(line.get("message"), dict) and line.get("done") is not True:
            raise BadAnswer("the provider's answer has no message")
        events = self._open(line)
        message = fields(line.get("message"))
        if isinstance(thoughts := message.get("thinking"), str) and thoughts:
            events.append(ThinkingDelta(text=thoughts))
        logprobs = _read_logprobs(line.get("logprobs"))
        said = message.get("content")
        if (isinstance(said, str) and said) or logprobs is not None:
            events.append(TextDelta(text=said if isinstance(said, str) else "", logprobs=logprobs))
        for call in objects(message.get("tool_calls")):
            events += self._read_call(call, made_at=str(line.get("created_at")))
        return events + self._close(line) if line.get("done") is True else events

    def _open(self, line: dict[str, Any]) -> list[ChatEvent]:
        if self._opened:
            return []
        self._opened = True
        model, made_at = str(line.get("model") or ""), line.get("created_at")
        return [Started(id=f"chat_{_digest(model, made_at)}", model=model, created=_seconds(made_at))]

    def _read_call(self, call: dict[str, Any], *, made_at: str) -> list[ChatEvent]:
        """Return a whole call. Where the server gives it no id, one is made that differs from turn to turn."""
        function = fields(call.get("function"))
        name, arguments = str(function.get("name") or ""), _arguments(function.get("arguments"))
        index = self._calls
        self._calls += 1
        given = str(call.get("id") or "") or f"call_{_digest(made_at, index, name, arguments)}"
        return [
            ToolCallStarted(index=index, id=given, name=name),
            ToolCallDelta(index=index, arguments=arguments),
        ]

    def _close(self, line: dict[str, Any]) -> list[ChatEvent]:
        self.is_done = True
        reason = _FINISH_REASONS.get(str(line.get("done_reason") or "stop"), "other")
        finished = Finished(reason="tool_calls" if reason == "stop" and self._calls else reason)
        usage = _read_usage(line)
        return [finished] if usage is None else [finished, UsageReported(usage=usage)]


def _read_usage(line: dict[str, Any]) -> Usage | None:
    """Return the counts; `None` if the prompt's is missing, as it is when all of the prompt was cached.

    What was cached is not told apart. A count of nothing is left out of the wire.
    """
    prompt, output = count(line.get("prompt_eval_count")), count(line.get("eval_count", 0))
    if not prompt or output is None:
        return None
    return Usage(input_tokens=prompt, output_tokens=output)


def _read_logprobs(value: Any) -> dict[str, Any] | None:
    """Return log-probabilities, which have OpenAI's fields, in OpenAI's shape."""
    tokens = [_with_top(token) for token in objects(value)]
    return {"content": tokens, "refusal": None} if tokens else None


def _with_top(token: dict[str, Any]) -> dict[str, Any]:
    top = [{"bytes": None, **other} for other in objects(token.get("top_logprobs"))]
    return {"bytes": None, **token, "top_logprobs": top}


def _arguments(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value or {}).decode()


def _digest(*marks: object) -> str:
    """Return a name for what these marks make unique."""
    return hashlib.blake2b("\0".join(map(str, marks)).encode(), digest_size=12).hexdigest()


def _seconds(made_at: Any) -> int:
    try:
        return int(datetime.fromisoformat(made_at).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0


def read_completion(body: bytes) -> Completion:
    """Read an answer that was not streamed: the one line of a stream. Raises `BadAnswer`."""
    answer = read_object(body)
    if not isinstance(answer.get("message"), dict):
        raise BadAnswer("the provider's answer has no message")
    return collect(LineDecoder().read_line(answer | {"done": True}))


def read_embeddings(body: bytes) -> Embeddings:
    """Read embeddings. Raises `BadAnswer`."""
    answer = read_object(body)
    vectors = answer.get("embeddings")
    if not isinstance(vectors, list):
        raise BadAnswer("the provider's answer holds no embeddings")
    prompt = count(answer.get("prompt_eval_count"))
    usage = Usage(input_tokens=prompt) if prompt else None
    return Embeddings(model=str(answer.get("model") or ""), vectors=[vector(item) for item in vectors], usage=usage)


def read_models(body: bytes) -> list[str]:
    """Read the names of the models that are installed. Raises `BadAnswer`."""
    models = read_object(body).get("models")
    if not isinstance(models, list):
        raise BadAnswer("the provider's answer is no list of models")
    names = [item.get("model") or item.get("name") for item in objects(models)]
    return [name for name in names if isinstance(name, str)]


__all__ = ["LineDecoder", "read_completion", "read_embeddings", "read_models"]
