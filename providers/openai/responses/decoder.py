"""The typed events of a streamed response, read into canonical ones.

Each output item is whole in the event that ends it; what no delta said comes from there. There is no `[DONE]`: the last
event is the response itself, completed, incomplete or failed.
Source: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11.
"""

from collections.abc import Callable
from typing import Any

from providers.answers import fields, integer, objects, read_object
from providers.errors import BadAnswer
from providers.framing import sse
from providers.framing.decoder import FrameDecoder
from providers.openai.responses.content import read_annotation
from providers.openai.responses.items import parse_call, parse_output, parse_output_message, parse_reasoning
from providers.openai.responses.upstream import completion_of, logprobs_of, reason_of
from providers.openai.responses.wire import (
    COMPLETED,
    DIALECT,
    FAILED,
    INCOMPLETE,
    failure_of,
    read_usage,
)
from providers.stream import ANNOTATIONS, CLOSES_PART, OPAQUE_PART, replay
from providers.types import (
    ChatEvent,
    Finished,
    OpaquePart,
    Part,
    RefusalPart,
    Started,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStarted,
    UsageReported,
)

_PARAGRAPH = "\n\n"


class EventDecoder(FrameDecoder[bytes]):
    """Reads a streamed response; an error in the stream is raised when what came before it is taken.

    `signer` is whose signatures its reasoning has.
    """

    __slots__ = ("_content", "_has_begun", "_items", "_readers", "_signer")

    def __init__(self, *, signer: str = DIALECT) -> None:
        super().__init__(sse.FrameSplitter())
        self._signer = signer
        self._has_begun = False
        self._items: dict[int, _Item] = {}
        self._content: list[Part] = []
        self._readers: dict[str, Callable[[dict[str, Any]], list[ChatEvent]]] = {
            "response.output_item.added": self._add_item,
            "response.output_item.done": self._end_item,
            "response.output_text.delta": self._read_text,
            "response.refusal.delta": self._read_refusal,
            "response.reasoning_text.delta": self._read_thinking,
            "response.reasoning_summary_text.delta": self._read_thinking,
            "response.function_call_arguments.delta": self._read_arguments,
            "response.custom_tool_call_input.delta": self._read_arguments,
            "response.content_part.done": self._end_part,
            COMPLETED: self._complete,
            INCOMPLETE: self._complete,
            FAILED: self._fail,
            "error": self._fail,
        }

    def read_frame(self, frame: bytes) -> list[ChatEvent]:
        """Return what an event says."""
        data = sse.data_of(frame)
        if not data or data.strip() == b"[DONE]":
            return []
        event = read_object(data)
        kind = event.get("type")
        if kind is None and event.get("error") is not None:
            raise failure_of(event["error"])
        events = self._begin(fields(event.get("response")))
        reader = self._readers.get(kind) if isinstance(kind, str) else None
        return events if reader is None else [*events, *reader(event)]

    def _begin(self, response: dict[str, Any]) -> list[ChatEvent]:
        if self._has_begun or not response:
            return []
        self._has_begun = True
        return [
            Started(
                id=str(response.get("id") or ""),
                model=str(response.get("model") or ""),
                created=integer(response.get("created_at")),
            )
        ]

    # --- Items

    def _item(self, event: dict[str, Any]) -> "_Item":
        return self._items.setdefault(integer(event.get("output_index")), _Item())

    def _add_item(self, event: dict[str, Any]) -> list[ChatEvent]:
        """Begin an item; a call says by now which one it is."""
        item, said = self._item(event), fields(event.get("item"))
        kind = said.get("type")
        if kind == "message":
            item.about = parse_output_message({**said, "content": []}, state=False)[0].extras
        if kind == "reasoning":
            item.about = parse_reasoning({"id": said.get("id")}, state=False).extras
        if kind in {"function_call", "custom_tool_call"}:
            return self._begin_call(item, parse_call(said, state=False))
        return []

    def _begin_call(self, item: "_Item", part: ToolCallPart) -> list[ChatEvent]:
        item.call = sum(other.call is not None for other in self._items.values())
        return [ToolCallStarted(index=item.call, id=part.id, name=part.name, extras=part.extras)]

    def _end_item(self, event: dict[str, Any]) -> list[ChatEvent]:
        """End an item: say what no delta said."""
        item, said = self._item(event), fields(event.get("item"))
        parts = parse_output(said, signer=self._signer)
        self._content += parts
        events: list[ChatEvent] = []
        for part in parts:
            match part:
                case ThinkingPart():
                    events.append(item.end_thinking(part))
                case ToolCallPart():
                    events += self._begin_call(item, part) if item.call is None else []
                    events += item.end_call(part)
                case OpaquePart(dialect=dialect) if dialect == DIALECT and said.get("type") != "message":
                    events.append(TextDelta(text="", extras={OPAQUE_PART: part, CLOSES_PART: True}))
                case _:
                    pass
        return [*events, *item.end_message(parts)] if said.get("type") == "message" else events

    # --- Deltas

    def _read_text(self, event: dict[str, Any]) -> list[ChatEvent]:
        tokens = logprobs_of(event)
        logprobs = {"content": tokens, "refusal": None} if tokens else None
        return self._item(event).text(event, logprobs=logprobs, refusal=False)

    def _read_refusal(self, event: dict[str, Any]) -> list[ChatEvent]:
        return self._item(event).text(event, logprobs=None, refusal=True)

    def _read_thinking(self, event: dict[str, Any]) -> list[ChatEvent]:
        return self._item(event).thinking(event)

    def _read_arguments(self, event: dict[str, Any]) -> list[ChatEvent]:
        return self._item(event).arguments(event)

    def _end_part(self, event: dict[str, Any]) -> list[ChatEvent]:
        return self._item(event).end_part(fields(event.get("part")), place=integer(event.get("content_index")))

    # --- The end

    def _complete(self, event: dict[str, Any]) -> list[ChatEvent]:
        """Read the finished response. One whose items never came one by one is read from there."""
        response = fields(event.get("response"))
        if not self._items and objects(response.get("output")):
            self.is_done = True
            return list(replay(completion_of(response, signer=self._signer)))[1:]
        if not self._has_begun:
            raise BadAnswer("the provider's stream holds no response")
        self.is_done = True
        status = "incomplete" if event.get("type") == INCOMPLETE else response.get("status")
        reason = reason_of({**response, "status": status}, self._content)
        usage = read_usage(response.get("usage"), tier=response.get("service_tier"))
        return [Finished(reason=reason), *([UsageReported(usage=usage)] if usage is not None else [])]

    def _fail(self, event: dict[str, Any]) -> list[ChatEvent]:
        error = fields(event.get("response")).get("error") or event.get("error")
        raise failure_of(error if error is not None else event)


class _Item:
    """One output item on its way: what of it has been said."""

    __slots__ = ("_closed", "_place", "_refuses", "_said", "_thinks_in", "about", "call")

    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self.call: int | None = None
        self._place: int | None = None
        self._refuses = False
        self._closed: set[int] = set()
        self._said = False
        self._thinks_in: tuple[str, int] | None = None

    def text(self, event: dict[str, Any], *, logprobs: Any, refusal: bool) -> list[ChatEvent]:
        """Return more text of the part that the event names; what the item says of itself comes with the first."""
        text, place = str(event.get("delta") or ""), integer(event.get("content_index"))
        if not text and logprobs is None:
            return []
        events = self._close_other(place)
        extras = {} if self._said else self.about
        self._said, self._place, self._refuses = True, place, refusal
        return [*events, TextDelta(text=text, refusal=refusal, logprobs=logprobs, extras=extras)]

    def _close_other(self, place: int) -> list[ChatEvent]:
        if self._place is None or self._place in {place, *self._closed}:
            return []
        self._closed.add(self._place)
        return [TextDelta(text="", refusal=self._refuses, extras={CLOSES_PART: True})]

    def end_part(self, part: dict[str, Any], *, place: int) -> list[ChatEvent]:
        """Close a part of a message; its citations are known by now."""
        if place != self._place or place in self._closed or part.get("type") not in ("output_text", "refusal"):
            return []
        self._closed.add(place)
        notes = [read_annotation(note) for note in objects(part.get("annotations"))]
        extras = {CLOSES_PART: True, **({ANNOTATIONS: notes} if notes else {})}
        return [TextDelta(text="", refusal=part.get("type") == "refusal", extras=extras)]

    def end_message(self, parts: list[Part]) -> list[ChatEvent]:
        """Close the last part, or say a whole message of which no delta came."""
        if self._said:
            return self._close_other(-1)
        events: list[ChatEvent] = []
        for part in parts:
            if isinstance(part, TextPart | RefusalPart):
                notes = part.annotations if isinstance(part, TextPart) else []
                extras = {**part.extras, CLOSES_PART: True, **({ANNOTATIONS: notes} if notes else {})}
                events.append(TextDelta(text=part.text, refusal=isinstance(part, RefusalPart), extras=extras))
        return events

    def thinking(self, event: dict[str, Any]) -> list[ChatEvent]:
        """Return more reasoning, by the first name under which it comes: a summary of it, or itself."""
        text, is_summary = str(event.get("delta") or ""), "summary_index" in event
        where = (
            "summary" if is_summary else "text",
            integer(event.get("summary_index" if is_summary else "content_index")),
        )
        if not text or (self._thinks_in is not None and self._thinks_in[0] != where[0]):
            return []
        begun, self._thinks_in = self._thinks_in, where
        if begun is None:
            return [ThinkingDelta(text=text, extras=self.about)]
        return [ThinkingDelta(text=text if begun == where else _PARAGRAPH + text)]

    def end_thinking(self, part: ThinkingPart) -> ChatEvent:
        """Close reasoning: sign it, and say it if no delta did."""
        text = part.text if self._thinks_in is None else ""
        extras = {**part.extras, CLOSES_PART: True}
        return ThinkingDelta(text=text, signature=part.signature, redacted=part.redacted, extras=extras)

    def arguments(self, event: dict[str, Any]) -> list[ChatEvent]:
        """Return more of a call's arguments."""
        if self.call is None or not (text := str(event.get("delta") or "")):
            return []
        self._said = True
        return [ToolCallDelta(index=self.call, arguments=text)]

    def end_call(self, part: ToolCallPart) -> list[ChatEvent]:
        """Say the arguments of a call of which no delta came."""
        if self._said or self.call is None or not part.arguments:
            return []
        return [ToolCallDelta(index=self.call, arguments=part.arguments)]
