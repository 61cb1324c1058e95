"""Inspectors of relayed answers in OpenAI's dialect: what passes through is only looked at.

Source: https://platform.openai.com/docs/api-reference/chat-streaming, read 2026-11.
"""

from typing import Any

import msgspec

from providers.errors import BadAnswer, StreamInterrupted
from providers.framing import sse
from providers.framing.inspector import EventWatch, Watch
from providers.openai.errors import error_in_stream
from providers.openai.wire import (
    Chunk,
    ChunkChoice,
    UsageOnly,
    WireUsage,
    closes,
    decode_chunk,
    decode_usage_only,
    read_usage,
)

_DONE = b"[DONE]"
_DONE_FRAME = sse.encode(_DONE)


class WholeInspector(Watch):
    """Reads the usage of an answer that is not streamed."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Take the whole body. Raises `BadAnswer` if it is no JSON object, and what an error in its place reports."""
        try:
            answer = decode_usage_only(data)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = _usage_of_odd_answer(data)
        if answer.error:
            raise error_in_stream(answer.error)
        self.usage = read_usage(answer.usage, tier=answer.service_tier)
        self.is_finished = True
        self.has_content = bool(answer.choices)
        self.output_tokens_seen = len(data) // 4 if self.usage is None else self.usage.output_tokens
        return data


def _usage_of_odd_answer(data: bytes) -> UsageOnly:
    """Return an answer without usage if only its usage is odd; raises `BadAnswer` if it is no JSON object at all."""
    try:
        decoded = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise BadAnswer("the provider's answer is not a JSON object")
    choices = decoded.get("choices")
    found = [msgspec.Raw()] * len(choices) if isinstance(choices, list) else None
    return UsageOnly(choices=found, error=decoded.get("error"))


class StreamInspector(EventWatch):
    """Watches chat chunks: first content, usage, errors and the `[DONE]` that ends them.

    `keep_usage` is whether the client asked for the usage chunk; if not it is taken out. Frames that matter are
    decoded; once content flows, the others are only searched for the few words that could matter.
    """

    __slots__ = (
        "_has_closed",
        "_keep_usage",
        "_tier",
    )

    def __init__(self, *, keep_usage: bool) -> None:
        super().__init__()
        self._keep_usage = keep_usage
        self._has_closed = False
        self._tier: Any = None

    def passes_unseen(self, frames: bytes) -> bool:
        """Let chunks through that hold nothing but more content."""
        if not _is_plain(frames):
            return False
        chunks = frames.count(b"\ndata:") + frames.startswith(b"data:")
        self.output_tokens_seen += chunks
        self._has_closed = self._has_closed and not chunks
        return True

    def end(self) -> bytes:
        """Return the `[DONE]` that the provider left out, if its last chunk closed the answer (`wire.closes`)."""
        if self.error is not None or not self._has_closed or self.frames.rest.strip():
            raise StreamInterrupted
        self.is_finished = True
        return _DONE_FRAME

    def passed(self, frame: bytes) -> bytes:
        """Look at one frame; return it, unless it is not for the client."""
        data = sse.data_of(frame)
        if not data:
            return frame
        if data.strip() == _DONE:
            self.is_finished = True
            return frame
        return frame if self._passes_chunk(_read_chunk(data)) else b""

    def _passes_chunk(self, chunk: Chunk) -> bool:
        if chunk.error is not None:
            self.error = error_in_stream(chunk.error)
            return False
        self._tier = chunk.service_tier or self._tier
        if chunk.usage is not None:
            self.usage = read_usage(chunk.usage, tier=self._tier) or self.usage
        self._has_closed = closes(chunk.usage, [choice.finish_reason for choice in chunk.choices])
        if any(_is_content(choice) for choice in chunk.choices):
            self.has_content = True
            self.output_tokens_seen += 1
        return bool(chunk.choices) or chunk.usage is None or self._keep_usage


def _is_plain(frames: bytes) -> bool:
    """Whether frames hold content only: no usage, no error, no end, no garbage.

    A quote inside text is escaped, so cannot match.
    """
    return (
        _DONE not in frames
        and sse.end_in_objects(frames)
        and b'"error"' not in frames
        and (b'"usage"' not in frames or frames.count(b'"usage"') == frames.count(b'"usage":null'))
    )


def _read_chunk(data: bytes) -> Chunk:
    try:
        return decode_chunk(data)
    except msgspec.ValidationError:
        return _read_odd_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _no_chunk() from None


def _read_odd_chunk(data: bytes) -> Chunk:
    """Read as much as can be of a chunk of which a field has another type than OpenAI's."""
    try:
        decoded = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise _no_chunk()
    choices = decoded.get("choices")
    usage = None if decoded.get("usage") is None else _usage_or_nothing(decoded["usage"])
    read = [_choice_or_nothing(choice) for choice in choices] if isinstance(choices, list) else []
    return Chunk(choices=read, usage=usage, service_tier=decoded.get("service_tier"), error=decoded.get("error"))


def _usage_or_nothing(value: Any) -> WireUsage:
    try:
        return msgspec.convert(value, WireUsage)
    except msgspec.ValidationError:
        return WireUsage()


def _choice_or_nothing(value: Any) -> ChunkChoice:
    try:
        return msgspec.convert(value, ChunkChoice)
    except msgspec.ValidationError:
        return ChunkChoice()


def _no_chunk() -> BadAnswer:
    return BadAnswer("the provider sent a chunk that is not a chat completion chunk")


def _is_content(choice: ChunkChoice) -> bool:
    delta = choice.delta
    if choice.finish_reason or choice.text:
        return True
    return delta is not None and bool(
        delta.content
        or delta.tool_calls
        or delta.reasoning_content
        or delta.reasoning
        or delta.refusal
        or delta.function_call
        or delta.audio
    )
