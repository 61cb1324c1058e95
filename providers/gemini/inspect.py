"""Inspectors of relayed answers in Google's dialect: what passes through is only looked at.

A stream is always asked for as server-sent events; a client that wants a JSON array gets their data as its elements.
Source: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent, read 2026-11.
"""

from typing import Any, Literal, TypeVar

import msgspec

from providers.answers import read_object
from providers.errors import BadAnswer, StreamInterrupted
from providers.framing import sse
from providers.framing.inspector import EventWatch, Watch
from providers.gemini.errors import error_in_stream, error_object
from providers.gemini.wire import WireUsage, read_usage

_Read = TypeVar("_Read")
ARRAY_OPENS, ARRAY_GOES_ON, ARRAY_CLOSES = b"[", b",\r\n", b"]"


class _Content(msgspec.Struct):
    parts: list[msgspec.Raw] = []


class _Candidate(msgspec.Struct, rename="camel"):
    index: int = 0
    finish_reason: str | None = None
    content: _Content | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    """A piece of an answer, as far as the inspectors read it."""

    candidates: list[_Candidate] = []
    usage_metadata: WireUsage | None = None
    prompt_feedback: _Feedback | None = None
    error: Any = None


class _UsageOnly(msgspec.Struct, rename="camel"):
    candidates: list[msgspec.Raw] | None = None
    prompt_feedback: Any = None
    usage_metadata: WireUsage | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_usage = msgspec.json.Decoder(_UsageOnly).decode


class WholeInspector(Watch):
    """Reads the usage of an answer that is not streamed."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Take the whole body. Raises `BadAnswer` if it is no JSON object, and what an error in its place reports."""
        try:
            answer = _decode_usage(data)
        except msgspec.ValidationError:
            answer = _odd_answer(read_object(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _no_answer() from None
        if answer.error:
            raise error_in_stream(answer.error)
        self.usage = read_usage(answer.usage_metadata)
        self.is_finished = True
        self.has_content = bool(answer.candidates or answer.prompt_feedback)
        self.output_tokens_seen = len(data) // 4 if self.usage is None else self.usage.output_tokens
        return data


def _odd_answer(decoded: dict[str, Any]) -> _UsageOnly:
    """Return an answer of which a field has another type than Google's, without its usage."""
    candidates = decoded.get("candidates")
    return _UsageOnly(
        candidates=[msgspec.Raw()] * len(candidates) if isinstance(candidates, list) else None,
        prompt_feedback=decoded.get("promptFeedback"),
        error=decoded.get("error"),
    )


class StreamInspector(EventWatch):
    """Watches the pieces of an answer: content, usage, errors, and why each candidate ended.

    The wire has no terminator; the answer is complete when the body ends after the last candidate did. `framing` is how
    the client wants the pieces.
    """

    __slots__ = (
        "_begun",
        "_ended",
        "_has_begun",
        "_is_array",
        "_is_refused",
    )

    def __init__(self, *, framing: Literal["sse", "array", "raw"] = "sse") -> None:
        super().__init__()
        self._is_array = framing == "array"
        self._has_begun = False
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._is_refused = False

    def end(self) -> bytes:
        """Return the end of the array, if the client has one. Raises `StreamInterrupted` if the answer was cut."""
        rest = self.frames.rest.strip()
        if self.error is None and rest and (said := error_object(rest)):
            self.error = error_in_stream(said)
        if self.error is not None:
            raise self.error
        if rest or self._begun - self._ended or not (self._ended or self._is_refused):
            raise StreamInterrupted
        self.is_finished = True
        return ARRAY_CLOSES if self._is_array else b""

    def passed(self, frame: bytes) -> bytes:
        """Look at one frame; return what the client gets of it."""
        data = sse.data_of(frame)
        if self.error is not None:
            return b""
        if not data or data.isspace():
            return b"" if self._is_array else frame
        chunk = _read_chunk(data)
        if chunk.error is not None:
            self.error = error_in_stream(chunk.error)
            return b""
        self._watch(chunk)
        if not self._is_array:
            return frame
        between = ARRAY_GOES_ON if self._has_begun else ARRAY_OPENS
        self._has_begun = True
        return between + data

    def _watch(self, chunk: _Chunk) -> None:
        if chunk.usage_metadata is not None:
            self.usage = read_usage(chunk.usage_metadata) or self.usage
        for candidate in chunk.candidates:
            self._begun.add(candidate.index)
            if candidate.finish_reason is not None:
                self._ended.add(candidate.index)
            if candidate.finish_reason or (candidate.content is not None and candidate.content.parts):
                self.has_content = True
                self.output_tokens_seen += 1
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason and not chunk.candidates:
            # The prompt was refused, which is all that the client will hear.
            self._is_refused = self.has_content = True


def _read_chunk(data: bytes) -> _Chunk:
    try:
        return _decode_chunk(data)
    except msgspec.ValidationError:
        return _read_odd_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _no_answer() from None


def _read_odd_chunk(data: bytes) -> _Chunk:
    """Read as much as can be of a piece of which a field has another type than Google's."""
    decoded = read_object(data)
    candidates = decoded.get("candidates")
    read = [_converted(item, _Candidate) for item in candidates] if isinstance(candidates, list) else []
    return _Chunk(
        candidates=[candidate for candidate in read if candidate is not None],
        usage_metadata=_converted(decoded.get("usageMetadata"), WireUsage),
        prompt_feedback=_converted(decoded.get("promptFeedback"), _Feedback),
        error=decoded.get("error"),
    )


def _converted(value: Any, kind: type[_Read]) -> _Read | None:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def _no_answer() -> BadAnswer:
    return BadAnswer("the provider sent something that is no answer to generateContent")
