"""Inspectors of relayed responses: what passes through is only looked at.

Source: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11.
"""

import re
from typing import Any

import msgspec

from providers.answers import read_object
from providers.framing import sse
from providers.framing.inspector import EventWatch, Watch
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
    service_tier: Any = None
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


class WholeResponse(Watch):
    """Reads the usage and the ids of a response that is not streamed.

    `is_billed` is false for one that was stored before and is only shown again.
    """

    __slots__ = ("_is_billed",)

    def __init__(self, *, is_billed: bool = True) -> None:
        super().__init__()
        self._is_billed = is_billed
        self.usage = None if is_billed else Usage()

    def feed(self, data: bytes) -> bytes:
        """Take the whole body. Raises `BadAnswer` if it is no JSON object, and what a failed response reports."""
        response = _read_response(data)
        self.issued = _ids(response)
        if self._is_billed:
            if response.status == "failed" or (response.error and response.output is None):
                raise failure_of(response.error)
            self.usage = read_usage(response.usage, tier=response.service_tier)
            self.output_tokens_seen = len(data) // 4 if self.usage is None else self.usage.output_tokens
        self.has_content = self.is_finished = True
        return data


def _read_response(data: bytes) -> _Response:
    try:
        return _decode_response(data)
    except _UNREADABLE:
        return _odd_response(read_object(data))


def _odd_response(value: Any) -> _Response:
    """Return as much as can be read of a response whose output is of another form."""
    if not isinstance(value, dict):
        return _Response()
    output: list[_Item] | None = None if value.get("output") is None else []
    read = {name: value.get(name) for name in ("id", "status", "error", "usage", "service_tier")}
    return _Response(**read, output=output)


class ResponseStreamInspector(EventWatch):
    """Watches the events of a response: first content, ids, usage, errors and the event that ends it."""

    __slots__ = ()

    def passes_unseen(self, frames: bytes) -> bool:
        """Let events through that hold nothing but more content."""
        if _MATTERS.search(frames) is not None or not sse.end_in_objects(frames):
            return False
        self.output_tokens_seen += frames.count(b'.delta"')
        return True

    def passed(self, frame: bytes) -> bytes:
        """Look at one frame; return it, unless it reports an error or is a `[DONE]` that this wire does not have."""
        data = sse.data_of(frame)
        if not data:
            return frame
        if data.strip() == b"[DONE]":
            return b""
        event = _read_event(data)
        kind = event.type or ""
        if kind in {FAILED, "error"} or (event.type is None and event.error is not None):
            self.error = failure_of(_error_of(event))
            return b""
        self._note(event, kind)
        return frame

    def _note(self, event: _Event, kind: str) -> None:
        if event.item is not None:
            self.issued += [name for name in (event.item.id, event.item.container_id) if isinstance(name, str)]
        if event.response is not None:
            self.issued = list(dict.fromkeys([*self.issued, *_ids(event.response)]))
            self.usage = read_usage(event.response.usage, tier=event.response.service_tier) or self.usage
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
