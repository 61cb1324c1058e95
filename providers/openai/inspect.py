"""Inspectors of relayed answers in OpenAI's dialect: what passes through is only looked at.

Source: https://platform.openai.com/docs/api-reference/chat-streaming, read 2026-11.
"""

from typing import Any

import msgspec

from providers.errors import BadAnswer, ProviderError, StreamInterrupted
from providers.framing import sse
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
from providers.types import Usage

_DONE = b"[DONE]"
_DONE_FRAME = sse.encode(_DONE)


class WholeInspector:
    """Reads the usage of an answer that is not streamed."""

    __slots__ = ("error", "has_content", "is_finished", "issued", "output_tokens_seen", "usage")

    def __init__(self) -> None:
        self.issued: list[str] = []
        self.usage: Usage | None = None
        self.has_content = False
        self.is_finished = False
        self.output_tokens_seen = 0
        self.error: ProviderError | None = None

    def feed(self, data: bytes) -> bytes:
        """Take the whole body. Raises `BadAnswer` if it is no JSON object."""
        try:
            answer = decode_usage_only(data)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = _usage_of_odd_answer(data)
        self.usage = read_usage(answer.usage)
        self.has_content = self.is_finished = True
        self.output_tokens_seen = len(data) // 4 if self.usage is None else self.usage.output_tokens
        return data

    def end(self) -> bytes:
        """Refuse an answer that has no body. Raises `StreamInterrupted`."""
        raise StreamInterrupted


def _usage_of_odd_answer(data: bytes) -> UsageOnly:
    """Return an answer without usage if only its usage is odd; raises `BadAnswer` if it is no JSON object at all."""
    try:
        decoded = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise BadAnswer("the provider's answer is not a JSON object")
    return UsageOnly()


class StreamInspector:
    """Watches chat chunks: first content, usage, errors and the `[DONE]` that ends them.

    `keep_usage` is whether the client asked for the usage chunk; if not it is taken out. Frames that matter are
    decoded; once content flows, the others are only searched for the few words that could matter.
    """

    __slots__ = (
        "_frames",
        "_has_closed",
        "_keep_usage",
        "error",
        "has_content",
        "is_finished",
        "issued",
        "output_tokens_seen",
        "usage",
    )

    def __init__(self, *, keep_usage: bool) -> None:
        self._frames = sse.FrameSplitter()
        self._keep_usage = keep_usage
        self._has_closed = False
        self.issued: list[str] = []
        self.usage: Usage | None = None
        self.has_content = False
        self.is_finished = False
        self.output_tokens_seen = 0
        self.error: ProviderError | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes in any cut; return complete frames."""
        try:
            complete = self._frames.take(data)
        except sse.FrameTooLarge:
            raise BadAnswer("the provider sent an event of more than 1 MiB", code="upstream_too_large") from None
        if self.is_finished or self.error is not None:
            return b""
        if self.has_content and _is_plain(complete):
            chunks = complete.count(b"\ndata:") + complete.startswith(b"data:")
            self.output_tokens_seen += chunks
            self._has_closed = self._has_closed and not chunks
            return complete
        return b"".join([frame for frame in sse.split_frames(complete) if self._passes(frame)])

    def end(self) -> bytes:
        """Return the `[DONE]` that the provider left out, if its last chunk closed the answer (`wire.closes`)."""
        if self.error is not None or not self._has_closed or self._frames.rest.strip():
            raise StreamInterrupted
        self.is_finished = True
        return _DONE_FRAME

    def _passes(self, frame: bytes) -> bool:
        """Look at one frame; return whether the client gets it."""
        data = sse.data_of(frame)
        if self.is_finished or self.error is not None:
            return False
        if not data:
            return True
        if data.strip() == _DONE:
            self.is_finished = True
            return True
        return self._passes_chunk(_read_chunk(data))

    def _passes_chunk(self, chunk: Chunk) -> bool:
        if chunk.error is not None:
            self.error = error_in_stream(chunk.error)
            return False
        if chunk.usage is not None:
            self.usage = read_usage(chunk.usage) or self.usage
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
    return Chunk(choices=read, usage=usage, error=decoded.get("error"))


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
