"""Builds the output items of a response from canonical events, and says each step as a typed event.

One builder serves whole and streamed answers, so that both end in the same response.
Source: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11.
"""

from collections.abc import Collection, Mapping
from typing import Any

from providers.answers import fields
from providers.openai.responses.content import write_annotations
from providers.openai.responses.growing import Event, GrowingCall, GrowingMessage, GrowingReasoning, added, done
from providers.openai.responses.seals import Place, seal_content
from providers.openai.responses.wire import DIALECT, ITEM
from providers.stream import ANNOTATIONS, CLOSES_PART, OPAQUE_PART
from providers.types import OpaquePart, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted


class OutputBuilder:
    """Grows the output of one response.

    `seed` makes the ids of the items. `custom_names` are the client's custom tools, `spaces` what the names of tools
    in namespaces stand for. `output` holds the items, the open ones as they stand.
    """

    __slots__ = ("_calls", "_custom_names", "_open", "_seed", "_spaces", "output")

    def __init__(
        self, *, seed: str, custom_names: Collection[str] = (), spaces: Mapping[str, tuple[str, str]] | None = None
    ) -> None:
        self.output: list[dict[str, Any]] = []
        self._seed = seed
        self._custom_names = custom_names
        self._spaces = spaces or {}
        self._open: GrowingMessage | GrowingReasoning | None = None
        self._calls: dict[int, GrowingCall] = {}

    def feed(self, event: TextDelta | ThinkingDelta | ToolCallStarted | ToolCallDelta) -> list[Event]:
        """Return the events that say `event`."""
        match event:
            case TextDelta() if OPAQUE_PART in event.extras:
                return self._take_opaque(event.extras[OPAQUE_PART])
            case TextDelta():
                return self._take_text(event)
            case ThinkingDelta():
                return self._take_thinking(event)
            case ToolCallStarted():
                return self._begin_call(event)
            case ToolCallDelta():
                call = self._calls.get(event.index)
                return call.grow(event.arguments) if call is not None else []

    def close(self, status: str = "completed") -> list[Event]:
        """End what is open; `status` is that of the last item, which may be cut."""
        last = len(self.output) - 1
        events: list[Event] = []
        for item in ([self._open] if self._open is not None else []) + list(self._calls.values()):
            events += item.end(status if item.place == last else "completed")
        self._open = None
        self._calls = {}
        return events

    def _add(self, item: dict[str, Any], prefix: str, given: Any = None) -> int:
        """Put an item into the output, under the vendor's own id for it or one that is made; return its place."""
        place = len(self.output)
        known = isinstance(given, str) and given.startswith(prefix + "_")
        item["id"] = given if known else f"{prefix}_{self._seed}{place:04x}"
        self.output.append(item)
        return place

    def _take_opaque(self, part: Any) -> list[Event]:
        """Say a whole item of a kind that only this wire knows; nothing of another wire's."""
        if not isinstance(part, OpaquePart) or part.dialect != DIALECT or not isinstance(part.value, dict):
            return []
        events = self.close()
        place = len(self.output)
        self.output.append(part.value)
        return [*events, added(place, part.value), done(place, part.value)]

    def _take_text(self, event: TextDelta) -> list[Event]:
        """Say more text; what begins an item of its own, or follows another kind of item, begins a message."""
        notes = write_annotations(event.extras.get(ANNOTATIONS, []))
        is_silent = not event.text and not notes and event.logprobs is None and CLOSES_PART not in event.extras
        events: list[Event] = []
        message = self._open if isinstance(self._open, GrowingMessage) else None
        if message is not None and ITEM in event.extras and message.has_content:
            message = None
        if message is None and not is_silent and (event.text or notes or event.logprobs is not None):
            events = self.close()
            about = fields(event.extras.get(ITEM))
            phase = {"phase": about["phase"]} if about.get("phase") in ("commentary", "final_answer") else {}
            item = {"id": "", "type": "message", "role": "assistant", "status": "in_progress", "content": [], **phase}
            place = self._add(item, "msg", about.get("id"))
            message = self._open = GrowingMessage(item, place)
            events.append(added(place, {**item, "content": []}))
        if message is not None and not is_silent:
            events += message.grow(event, notes)
        return [*events, *(self._carry(event.signature, "behind") if event.signature else [])]

    def _take_thinking(self, event: ThinkingDelta) -> list[Event]:
        events: list[Event] = []
        block = self._open if isinstance(self._open, GrowingReasoning) else None
        if block is None and (event.text or event.signature):
            events = self.close()
            item: dict[str, Any] = {"id": "", "type": "reasoning", "summary": []}
            place = self._add(item, "rs", fields(event.extras.get(ITEM)).get("id"))
            block = self._open = GrowingReasoning(item, place)
            events.append(added(place, {**item, "summary": []}))
        if block is None:
            return events
        events += block.grow(event.text)
        if event.signature or CLOSES_PART in event.extras:
            if event.signature:
                block.item["encrypted_content"] = seal_content(
                    event.signature, "redacted" if event.redacted else "here"
                )
            events += self.close()
        return events

    def _carry(self, signature: str, place: Place) -> list[Event]:
        """Return the item in which a client keeps the signature of the part before it or behind it."""
        events = self.close()
        content = seal_content(signature, place)
        item: dict[str, Any] = {"id": "", "type": "reasoning", "summary": [], "encrypted_content": content}
        at = self._add(item, "rs")
        return [*events, added(at, item), done(at, item)]

    def _begin_call(self, event: ToolCallStarted) -> list[Event]:
        events = self._carry(event.signature, "before") if event.signature else []
        if self._open is not None:
            events += self.close()
        is_custom = event.extras.get("type") == "custom"
        is_held = not is_custom and event.name in self._custom_names
        space, name = self._spaces.get(event.name, (None, event.name))
        item: dict[str, Any] = {"id": "", "type": "function_call", "status": "in_progress"}
        if is_custom or is_held:
            item = {"id": "", "type": "custom_tool_call"}
        item |= {"call_id": event.id, "name": name, "input" if is_custom or is_held else "arguments": ""}
        if space is not None:
            item["namespace"] = space
        about = fields(event.extras.get(ITEM))
        at = self._add(item, "ctc" if is_custom or is_held else "fc", about.get("id"))
        self._calls[event.index] = GrowingCall(item, at, is_held=is_held)
        return [*events, added(at, dict(item))]
