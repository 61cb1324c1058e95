"""Inspectors of relayed responses: what passes through is only looked at.

Source: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11.
"""

import re
from typing import Any

import msgspec

from providers.answers import read_object
from providers.errors import BadAnswer, ProviderError, StreamInterrupted
from providers.framing import sse
from providers.openai.responses.wire import COMPLETED, FAILED, INCOMPLETE, failure_of, read_usage
from providers.types import Usage

# What a frame must be decoded for: an error, an item that begins, an end. Inside text a quote is escaped, so that these
# cannot match there.
_MATTERS = re.compile(
    rb'"error"|"(?:response\.)?(?:created|completed|incomplete|failed|queued|in_progress|output_item\.added)"'
)
_NUMBER = re.compile(rb'"sequence_number":\s*(\d{1,15})\b')
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ENDS = frozenset({COMPLETED, INCOMPLETE})


class _Item(msgspec.Struct, gc=False):
    id: Any = None
    container_id: Any = None


class _Response(msgspec.Struct):
    id: Any = None
    status: Any = None
    error: Any = None
    usage: Any = None
    output: list[_Item] | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    response: _Response | None = None
    item: _Item | None = None
    error: Any = None
    code: Any = None
    message: Any = None
    delta: Any = None


_decode_response = msgspec.json.Decoder(_Response).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def number_after(frames: bytes) -> int:
    """Return the sequence number of the event that follows frames of a stream; 0 if they have none."""
    numbers = _NUMBER.findall(frames)
    return int(numbers[-1]) + 1 if numbers else 0


def _ids(response: _Response) -> list[str]:
    """Return the ids that a response makes known: its own, its items', those of containers that they ran in."""
    found = [response.id]
    for item in response.output or []:
        found += [item.id, item.container_id]
    return [name for name in found if isinstance(name, str)]


class WholeResponse:
    """Reads the usage and the ids of a response that is not streamed.

    `is_billed` is false for one that was stored before and is only shown again.
    """

    __slots__ = ("_is_billed", "error", "has_content", "is_finished", "issued", "output_tokens_seen", "usage")

    def __init__(self, *, is_billed: bool = True) -> None:
        self._is_billed = is_billed
        self.issued: list[str] = []
        self.usage: Usage | None = None if is_billed else Usage()
        self.has_content = False
        self.is_finished = False
        self.output_tokens_seen = 0
        self.error: ProviderError | None = None

    def feed(self, data: bytes) -> bytes:
        """Take the whole body. Raises `BadAnswer` if it is no JSON object, and what a failed response reports."""
        response = _read_response(data)
        self.issued = _ids(response)
        if self._is_billed:
            if response.status == "failed":
                raise failure_of(response.error)
            self.usage = read_usage(response.usage)
            self.output_tokens_seen = len(data) // 4 if self.usage is None else self.usage.output_tokens
        self.has_content = self.is_finished = True
        return data

    def end(self) -> bytes:
        """Refuse an answer that has no body. Raises `StreamInterrupted`."""
        raise StreamInterrupted


def _read_response(data: bytes) -> _Response:
    try:
        return _decode_response(data)
    except _UNREADABLE:
        return _odd_response(read_object(data))


def _odd_response(value: Any) -> _Response:
    """Return as much as can be read of a response whose output is of another form."""
    if not isinstance(value, dict):
        return _Response()
    return _Response(**{name: value.get(name) for name in ("id", "status", "error", "usage")})


class ResponseStreamInspector:
    """Watches the events of a response: first content, ids, usage, errors and the event that ends it."""

    __slots__ = ("_frames", "error", "has_content", "is_finished", "issued", "output_tokens_seen", "usage")

    def __init__(self) -> None:
        self._frames = sse.FrameSplitter()
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
        if self.has_content and _MATTERS.search(complete) is None and sse.end_in_objects(complete):
            self.output_tokens_seen += complete.count(b'.delta"')
            return complete
        return b"".join([frame for frame in sse.split_frames(complete) if self._passes(frame)])

    def end(self) -> bytes:
        """Refuse a stream that ends without its last event. Raises `StreamInterrupted`."""
        raise StreamInterrupted

    def _passes(self, frame: bytes) -> bool:
        """Look at one frame; return whether the client gets it."""
        if self.is_finished or self.error is not None:
            return False
        data = sse.data_of(frame)
        if not data or data.strip() == b"[DONE]":
            return not data
        event = _read_event(data)
        kind = event.type or ""
        if kind in {FAILED, "error"} or (event.type is None and event.error is not None):
            self.error = failure_of(_error_of(event))
            return False
        self._note(event, kind)
        return True

    def _note(self, event: _Event, kind: str) -> None:
        if event.item is not None:
            self.issued += [name for name in (event.item.id, event.item.container_id) if isinstance(name, str)]
        if event.response is not None:
            self.issued = list(dict.fromkeys([*self.issued, *_ids(event.response)]))
            self.usage = read_usage(event.response.usage) or self.usage
        if kind.endswith(".delta") and event.delta:
            self.has_content = True
            self.output_tokens_seen += 1
        if kind in _ENDS:
            self.has_content = self.is_finished = True


def _read_event(data: bytes) -> _Event:
    """Return an event, as much of it as can be read. Raises `BadAnswer` for what is no JSON object."""
    try:
        return _decode_event(data)
    except _UNREADABLE:
        decoded = read_object(data)
    kind = decoded.get("type")
    response = None if decoded.get("response") is None else _odd_response(decoded["response"])
    return _Event(
        type=kind if isinstance(kind, str) else None,
        response=response,
        error=decoded.get("error"),
        code=decoded.get("code"),
        message=decoded.get("message"),
        delta=decoded.get("delta"),
    )


def _error_of(event: _Event) -> Any:
    """Return the error in an event: of the failed response, nested, or the event itself."""
    if event.response is not None and event.response.error is not None:
        return event.response.error
    return event.error if event.error is not None else {"code": event.code, "message": event.message}
