"""Inspectors of relayed answers in Anthropic's dialect: what passes through is only looked at.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11.
"""

from typing import Any

import msgspec

from providers.answers import fields, objects, read_object, text
from providers.anthropic.errors import error_in_stream
from providers.anthropic.wire import usage_of
from providers.errors import BadAnswer
from providers.framing import sse
from providers.framing.inspector import EventWatch, Watch
from providers.types import Usage

_DELTA = b'"content_block_delta"'
_FILE = b'"file_id"'
_RAN = "code_execution_tool_result"
_MARKS = (b'"message_', b'"error"', _FILE)
"""Words of which none stands in a frame that holds content only. A quote inside text is escaped, so cannot match."""


class WholeInspector(Watch):
    """Reads the usage of a message that is not streamed; `has_thread` is whether the vendor keeps what led to it."""

    __slots__ = ("_has_thread", "error", "has_content", "is_finished", "issued", "output_tokens_seen", "usage")

    def __init__(self, *, has_thread: bool = False) -> None:
        super().__init__()
        self._has_thread = has_thread

    def feed(self, data: bytes) -> bytes:
        """Take the whole body. Raises `BadAnswer` if it is no JSON object, and what an error in its place reports."""
        message = read_object(data)
        if message.get("type") == "error":
            raise error_in_stream(message.get("error"))
        self.usage = usage_of(message.get("usage"))
        self.issued += _issued(message, has_thread=self._has_thread)
        self.is_finished = True
        # A model that has nothing to say stops with no content at all.
        self.has_content = bool(message.get("content") or message.get("stop_reason"))
        self.output_tokens_seen = len(data) // 4 if self.usage is None else self.usage.output_tokens
        return data


class CountInspector(WholeInspector):
    """Watches a count of tokens, which costs none."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Take the whole body. Raises `BadAnswer` if it is no JSON object."""
        read_object(data)
        self.usage = Usage()
        self.has_content = self.is_finished = True
        return data


class _Delta(msgspec.Struct, gc=False):
    stop_reason: Any = None
    container: Any = None


class _Event(msgspec.Struct):
    """An event, as far as it is looked at."""

    type: str
    message: Any = None
    usage: Any = None
    delta: _Delta | None = None
    content_block: Any = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


class StreamInspector(EventWatch):
    """Watches the events of a message: first content, usage, errors and the `message_stop` that ends them.

    Once content flows, frames are only searched for the few words that could matter. `has_thread` is whether the vendor
    keeps what led to the message.
    """

    __slots__ = ("_has_thread",)

    def __init__(self, *, has_thread: bool = False) -> None:
        super().__init__()
        self._has_thread = has_thread

    def passes_unseen(self, frames: bytes) -> bool:
        """Let events through that hold nothing but more content."""
        if any(mark in frames for mark in _MARKS) or not sse.end_in_objects(frames):
            return False
        self.output_tokens_seen += frames.count(_DELTA)
        return True

    def passed(self, frame: bytes) -> bytes:
        """Look at one frame; return it, unless it reports an error."""
        data = sse.data_of(frame)
        if not data:
            return frame
        event = _read_event(data)
        if event.type == "error":
            self.error = error_in_stream(event.error)
            return b""
        self._look_at(event)
        return frame

    def _look_at(self, event: _Event) -> None:
        match event.type:
            case "content_block_delta":
                self.has_content = True
                self.output_tokens_seen += 1
            case "content_block_start":
                block = fields(event.content_block)
                if block.get("type") != "text" or block.get("text"):
                    self.has_content = True
                    self.output_tokens_seen += 1
                self.issued += _made_by(block)
            case "message_start":
                message = fields(event.message)
                self.usage = usage_of(message.get("usage"), before=self.usage)
                self.issued += _issued(message, has_thread=self._has_thread)
            case "message_delta":
                self._end(event)
            case "message_stop":
                self.is_finished = True

    def _end(self, event: _Event) -> None:
        self.usage = usage_of(event.usage, before=self.usage)
        if event.delta is None:
            return
        self.issued += _container_of(event.delta.container)
        if event.delta.stop_reason is not None and not self.has_content:
            # An answer may be empty, and has then been given all the same.
            self.has_content = True
            self.output_tokens_seen += 1


def _read_event(data: bytes) -> _Event:
    try:
        return _decode_event(data)
    except msgspec.ValidationError:
        odd = read_object(data)
        return _Event(type=str(odd.get("type")), error=odd.get("error"), usage=odd.get("usage"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("the provider sent an event that is not JSON") from None


def _issued(message: dict[str, Any], *, has_thread: bool) -> list[str]:
    """Return the ids of what the vendor keeps: the container, the files that were made in it, and a thread.

    A thread goes by the id of its last message.
    """
    thread = text(message.get("id")) if has_thread else None
    files = [file for block in objects(message.get("content")) for file in _made_by(block)]
    return [*_container_of(message.get("container")), *files, *([thread] if thread else [])]


def _container_of(value: Any) -> list[str]:
    found = fields(value).get("id")
    return [found] if isinstance(found, str) else []


def _made_by(block: dict[str, Any]) -> list[str]:
    """Return the ids of files that came out of code that the vendor ran.

    Nothing else issues any: what the model calls a tool with, or a client's own server of tools answers, is as its
    client wants it, and may name the files of others.
    """
    return _files_in(block) if (text(block.get("type")) or "").endswith(_RAN) else []


def _files_in(value: Any) -> list[str]:
    """Return the ids of files anywhere in a value."""
    if isinstance(value, list):
        return [file for item in value for file in _files_in(item)]
    if not isinstance(value, dict):
        return []
    file = value.get("file_id")
    return [*([file] if isinstance(file, str) else []), *(file for item in value.values() for file in _files_in(item))]


__all__ = ["CountInspector", "StreamInspector", "WholeInspector"]
