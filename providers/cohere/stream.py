"""Cohere's streamed answers, read into events.

Source: https://docs.cohere.com/docs/streaming, read 2026-11; cohere 7.3, `v2.types.V2ChatStreamResponse`.
"""

from typing import Any

from providers.answers import fields, integer, read_object
from providers.cohere.errors import error_in_stream
from providers.cohere.wire import FAILED, FINISH_REASONS, read_citation, read_logprobs, read_usage
from providers.errors import BadAnswer
from providers.framing import sse
from providers.framing.decoder import FrameDecoder
from providers.stream import ANNOTATIONS, CLOSES_PART
from providers.types import (
    ChatEvent,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)


class EventDecoder(FrameDecoder[bytes]):
    """Reads a streamed answer. The plan of tool calls is text, as what other models say before they call."""

    __slots__ = ("_calls", "_count", "_last", "_opened", "_silent")

    def __init__(self) -> None:
        super().__init__(sse.FrameSplitter())
        self._opened = False
        self._last = ""
        self._count = 0
        self._calls: dict[int, int] = {}
        self._silent: set[int] = set()

    def read_frame(self, frame: bytes) -> list[ChatEvent]:
        """Return what a server-sent event says; those of unknown types say nothing."""
        data = sse.data_of(frame)
        if not data or data.strip() == b"[DONE]":
            return []
        event = read_object(data)
        kind = event.get("type")
        if kind == "error" or (kind is None and event.get("message") is not None):
            raise error_in_stream(event.get("message") or event.get("error"))
        if kind is None:
            raise BadAnswer("the provider sent an event without a type")
        return self._open(event) + self._read_event(kind, event)

    def _read_event(self, kind: Any, event: dict[str, Any]) -> list[ChatEvent]:
        events: list[ChatEvent] = []
        match kind:
            case "content-start":
                events = self._start_content(event)
            case "content-delta":
                events = self._read_content(event)
            case "tool-plan-delta":
                events = self._read_plan(event)
            case "tool-call-start":
                events = self._start_call(event)
            case "tool-call-delta":
                events = self._read_arguments(event)
            case "tool-call-end":
                events = self._end_call(event)
            case "citation-start":
                events = self._read_citation(event)
            case "message-end":
                events = self._end(event)
        return events

    def _open(self, event: dict[str, Any]) -> list[ChatEvent]:
        if self._opened:
            return []
        self._opened = True
        return [Started(id=str(event.get("id") or ""), model="", created=0)]

    def _begin(self, kind: str) -> list[ChatEvent]:
        """Return what sets a part that begins apart from one of its kind before it."""
        before, self._last = self._last, kind
        if before.partition(":")[0] != kind.partition(":")[0]:
            return []
        delta = ThinkingDelta if kind == "thinking" else TextDelta
        return [delta(text="", extras={CLOSES_PART: True})]

    def _start_content(self, event: dict[str, Any]) -> list[ChatEvent]:
        content = fields(_message(event).get("content"))
        begun = self._begin("thinking" if content.get("type") == "thinking" else "text")
        return begun + self._read_content(event)

    def _read_content(self, event: dict[str, Any]) -> list[ChatEvent]:
        content = fields(_message(event).get("content"))
        events: list[ChatEvent] = []
        if isinstance(thoughts := content.get("thinking"), str) and thoughts:
            events.append(ThinkingDelta(text=thoughts))
        logprobs = read_logprobs([fields(event.get("logprobs"))])
        said = content.get("text")
        if (isinstance(said, str) and said) or logprobs is not None:
            events.append(TextDelta(text=said if isinstance(said, str) else "", logprobs=logprobs))
        return events

    def _read_plan(self, event: dict[str, Any]) -> list[ChatEvent]:
        plan = _message(event).get("tool_plan")
        if not isinstance(plan, str) or not plan:
            return []
        begun = [] if self._last == "text:plan" else self._begin("text:plan")
        return [*begun, TextDelta(text=plan)]

    def _start_call(self, event: dict[str, Any]) -> list[ChatEvent]:
        call = fields(_message(event).get("tool_calls"))
        function = fields(call.get("function"))
        number = self._calls[integer(event.get("index"))] = self._count
        self._count += 1
        self._last = ""
        self._silent.add(number)
        given = str(call.get("id") or f"call_{number}")
        started = ToolCallStarted(index=number, id=given, name=str(function.get("name") or ""))
        return [started, *self._read_arguments(event)]

    def _read_arguments(self, event: dict[str, Any]) -> list[ChatEvent]:
        function = fields(fields(_message(event).get("tool_calls")).get("function"))
        number, arguments = self._calls.get(integer(event.get("index"))), function.get("arguments")
        if number is None or not isinstance(arguments, str) or not arguments:
            return []
        self._silent.discard(number)
        return [ToolCallDelta(index=number, arguments=arguments)]

    def _end_call(self, event: dict[str, Any]) -> list[ChatEvent]:
        """Return empty arguments for a call that was given none."""
        number = self._calls.get(integer(event.get("index")))
        if number not in self._silent:
            return []
        self._silent.discard(number)
        return [ToolCallDelta(index=number, arguments="{}")]

    def _read_citation(self, event: dict[str, Any]) -> list[ChatEvent]:
        notes = read_citation(fields(_message(event).get("citations")))
        return [TextDelta(text="", extras={ANNOTATIONS: notes})] if notes else []

    def _end(self, event: dict[str, Any]) -> list[ChatEvent]:
        delta = fields(event.get("delta"))
        reason = str(delta.get("finish_reason") or "")
        if reason in FAILED or delta.get("error"):
            raise error_in_stream(delta.get("error"), reason=reason or None)
        self.is_done = True
        usage = read_usage(delta.get("usage"))
        finished = Finished(reason=FINISH_REASONS.get(reason, "other"))
        return [finished] if usage is None else [finished, UsageReported(usage=usage)]


def _message(event: dict[str, Any]) -> dict[str, Any]:
    return fields(fields(event.get("delta")).get("message"))


__all__ = ["EventDecoder"]
