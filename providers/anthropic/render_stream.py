"""Canonical events, said to a client as the events of a streamed message.

Law: one block at a time, but for calls whose arguments are not complete when the next begins; `message_stop` is only
written behind a complete answer.
Source: https://platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11;
anthropic 2.14: types.RawMessageStreamEvent.
"""

from typing import Any

import msgspec

from providers.anthropic.answers import STOP_DETAILS
from providers.anthropic.blocks import CALL_SIGNATURE, TEXT_SIGNATURE
from providers.anthropic.render import (
    citations_of,
    message_id,
    render_ending,
    render_part,
    render_signature,
    render_thinking,
)
from providers.anthropic.wire import tool_id, write_usage
from providers.framing import sse
from providers.stream import ANNOTATIONS, CLOSES_PART, OPAQUE_PART
from providers.types import (
    ChatEvent,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)

_encode = msgspec.json.Encoder().encode


class MessageRenderer:
    """Renders the events of one answer; of several choices only the first can be said.

    `model` is the name that the client asked for. The message begins with the first event that says something, so that
    a count of the prompt that comes before it is told at once.
    """

    __slots__ = ("_calls", "_ended", "_has_begun", "_model", "_next", "_open", "_request_id", "_started", "usage")

    def __init__(self, *, model: str, request_id: str) -> None:
        self._model = model
        self._request_id = request_id
        self._started = Started(id="", model=model, created=0)
        self._has_begun = False
        self._next = 0
        self._open: tuple[str, int] | None = None
        self._calls: dict[int, _Call] = {}
        self._ended = Finished(reason="stop")
        self.usage: Usage | None = None

    def feed(self, event: ChatEvent) -> bytes:
        """Return the events that say `event`: perhaps none."""
        match event:
            case TextDelta():
                return self._say_text(event) if event.choice == 0 else b""
            case ThinkingDelta():
                return self._say_thinking(event) if event.choice == 0 else b""
            case ToolCallStarted():
                return self._begin_call(event) if event.choice == 0 else b""
            case ToolCallDelta():
                return self._say_arguments(event) if event.choice == 0 else b""
            case Started():
                self._started = event
            case UsageReported():
                self.usage = event.usage
            case Finished():
                self._ended = event if event.choice == 0 else self._ended
        return b""

    def finish(self) -> bytes:
        """Return what ends a complete message, `message_stop` included."""
        ending = render_ending(self._ended.reason, self._ended.extras, has_calls=bool(self._calls))
        delta = _event("message_delta", {"delta": ending, "usage": write_usage(self.usage)})
        closed = self._close_block() + self._close_calls(all_of_them=True)
        return self._begin() + closed + delta + _event("message_stop", {})

    def _begin(self) -> bytes:
        """Return the beginning of the message, once."""
        if self._has_begun:
            return b""
        self._has_begun = True
        message: dict[str, Any] = {
            "id": message_id(self._started.id, self._request_id),
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(self.usage),
        }
        return _event("message_start", {"message": message})

    # -- text and thoughts --------------------------------------------------------------------------------------------

    def _say_text(self, event: TextDelta) -> bytes:
        extras = event.extras
        if OPAQUE_PART in extras:
            return b"".join(self._say_whole(block) for block in render_part(extras[OPAQUE_PART]))
        if event.refusal and STOP_DETAILS in extras:
            return b""
        said = b""
        if event.text:
            kind = "refusal" if event.refusal else "text"
            said = self._in_block(kind) + self._delta({"type": "text_delta", "text": event.text})
        if not extras and event.signature is None:
            return said
        for citation in citations_of(extras, extras.get(ANNOTATIONS, [])):
            said += self._in_block("text") + self._delta({"type": "citations_delta", "citation": citation})
        for block in render_signature(TEXT_SIGNATURE, event.signature):
            said += self._say_whole(block)
        return said + (self._close_block() if CLOSES_PART in extras else b"")

    def _say_thinking(self, event: ThinkingDelta) -> bytes:
        if event.redacted:
            return self._say_whole(render_thinking(ThinkingPart(redacted=True, signature=event.signature)))
        said = b""
        if event.text:
            said = self._in_block("thinking") + self._delta({"type": "thinking_delta", "thinking": event.text})
        if event.signature is not None:
            said += self._in_block("thinking")
            return said + self._close_block(signature=event.signature)
        return said + (self._close_block() if CLOSES_PART in event.extras else b"")

    def _in_block(self, kind: str) -> bytes:
        """Return what opens a block of this kind, if the open one is of another; a refusal is text of its own."""
        if self._open is not None and self._open[0] == kind:
            return b""
        empty = {"type": kind, "thinking": "", "signature": ""} if kind == "thinking" else {"type": "text", "text": ""}
        said = self._begin() + self._close_block() + self._close_calls()
        self._open = (kind, self._next)
        return said + self._start(empty)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        index = self._open[1] if self._open is not None else 0
        return _event("content_block_delta", {"index": index, "delta": delta})

    def _say_whole(self, block: dict[str, Any]) -> bytes:
        """Return a block that is complete as it begins."""
        said = self._begin() + self._close_block() + self._close_calls()
        index = self._next
        return said + self._start(block) + _stop(index)

    def _start(self, block: dict[str, Any]) -> bytes:
        index = self._next
        self._next += 1
        return _event("content_block_start", {"index": index, "content_block": block})

    def _close_block(self, *, signature: str | None = None) -> bytes:
        """Return the end of the open block, if there is one; thoughts end with their signature."""
        if self._open is None:
            return b""
        kind, index = self._open
        signed = b""
        if kind == "thinking":
            sealed = render_thinking(ThinkingPart(signature=signature))["signature"]
            signed = self._delta({"type": "signature_delta", "signature": sealed})
        self._open = None
        return signed + _stop(index)

    def _close_calls(self, *, all_of_them: bool = False) -> bytes:
        """Return the ends of the calls whose arguments are whole."""
        return b"".join([call.close() for call in self._calls.values() if all_of_them or call.is_complete])

    # -- calls --------------------------------------------------------------------------------------------------------

    def _begin_call(self, event: ToolCallStarted) -> bytes:
        said = self._begin() + self._close_block() + self._close_calls()
        for block in render_signature(CALL_SIGNATURE, event.signature):
            said += self._say_whole(block)
        self._calls[event.index] = _Call(self._next)
        block = {"type": "tool_use", "id": tool_id(event.id), "name": event.name, "input": {}}
        extras = {name: event.extras[name] for name in ("caller", "toolset_name") if name in event.extras}
        return said + self._start(block | extras)

    def _say_arguments(self, event: ToolCallDelta) -> bytes:
        call = self._calls.get(event.index)
        return b"" if call is None or not event.arguments else call.grow(event.arguments)


class _Call:
    """A tool call that is being said."""

    __slots__ = ("_arguments", "_index", "_is_closed")

    def __init__(self, index: int) -> None:
        self._index = index
        self._arguments: list[str] = []
        self._is_closed = False

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are whole, so that no more can come; not asked of a call that has been closed."""
        if self._is_closed:
            return False
        try:
            msgspec.json.decode("".join(self._arguments))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True

    def grow(self, arguments: str) -> bytes:
        """Return the delta that says more of the arguments."""
        self._arguments.append(arguments)
        delta = {"type": "input_json_delta", "partial_json": arguments}
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def close(self) -> bytes:
        """Return what ends the block, once."""
        if self._is_closed:
            return b""
        self._is_closed = True
        return _stop(self._index)


def _stop(index: int) -> bytes:
    return _event("content_block_stop", {"index": index})


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return sse.encode(_encode({"type": kind} | fields), event=kind.encode())


__all__ = ["MessageRenderer"]
