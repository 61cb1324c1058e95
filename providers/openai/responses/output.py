"""Builds the output items of a response from canonical events, and says each step as a typed event.

One builder serves whole and streamed answers, so that both end in the same response.
Source: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11.
"""

from collections.abc import Collection, Mapping
from typing import Any

from providers.answers import fields
from providers.custom_tools import unwrap
from providers.openai.responses.content import write_annotations
from providers.openai.responses.seals import Place, seal_content
from providers.openai.responses.wire import DIALECT, ITEM
from providers.stream import ANNOTATIONS, CLOSES_PART, OPAQUE_PART
from providers.types import OpaquePart, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted

Event = dict[str, Any]


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
        self._open: _Message | _Reasoning | None = None
        self._calls: dict[int, _Call] = {}

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
        return [*events, _added(place, part.value), _done(place, part.value)]

    def _take_text(self, event: TextDelta) -> list[Event]:
        """Say more text; what begins an item of its own, or follows another kind of item, begins a message."""
        notes = write_annotations(event.extras.get(ANNOTATIONS, []))
        is_silent = not event.text and not notes and event.logprobs is None and CLOSES_PART not in event.extras
        events: list[Event] = []
        message = self._open if isinstance(self._open, _Message) else None
        if message is not None and ITEM in event.extras and message.has_content:
            message = None
        if message is None and not is_silent and (event.text or notes or event.logprobs is not None):
            events = self.close()
            about = fields(event.extras.get(ITEM))
            phase = {"phase": about["phase"]} if about.get("phase") in {"commentary", "final_answer"} else {}
            item = {"id": "", "type": "message", "role": "assistant", "status": "in_progress", "content": [], **phase}
            place = self._add(item, "msg", about.get("id"))
            message = self._open = _Message(item, place)
            events.append(_added(place, {**item, "content": []}))
        if message is not None and not is_silent:
            events += message.grow(event, notes)
        return [*events, *(self._carry(event.signature, "behind") if event.signature else [])]

    def _take_thinking(self, event: ThinkingDelta) -> list[Event]:
        events: list[Event] = []
        block = self._open if isinstance(self._open, _Reasoning) else None
        if block is None and (event.text or event.signature):
            events = self.close()
            item: dict[str, Any] = {"id": "", "type": "reasoning", "summary": []}
            place = self._add(item, "rs", fields(event.extras.get(ITEM)).get("id"))
            block = self._open = _Reasoning(item, place)
            events.append(_added(place, {**item, "summary": []}))
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
        return [*events, _added(at, item), _done(at, item)]

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
        self._calls[event.index] = _Call(item, at, is_held=is_held)
        return [*events, _added(at, dict(item))]


def _added(place: int, item: dict[str, Any]) -> Event:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def _done(place: int, item: dict[str, Any]) -> Event:
    return {"type": "response.output_item.done", "output_index": place, "item": item}


class _Message:
    """A message that is still growing: its parts one after the other, text or refusals."""

    __slots__ = ("_is_open", "_logprobs", "_text", "item", "place")

    def __init__(self, item: dict[str, Any], place: int) -> None:
        self.item = item
        self.place = place
        self._text: list[str] = []
        self._logprobs: list[Any] = []
        self._is_open = False

    @property
    def has_content(self) -> bool:
        """Whether anything has been said in it."""
        return bool(self.item["content"])

    def grow(self, event: TextDelta, notes: list[dict[str, Any]]) -> list[Event]:
        """Return the events for more text, for citations, and for the end of the part if this is it."""
        events: list[Event] = []
        if event.text or notes or event.logprobs is not None:
            events += self._turn_to("refusal" if event.refusal else "output_text")
        if event.text or event.logprobs is not None:
            self._text.append(event.text)
            events.append(self._delta(event))
        events += [self._annotate(note) for note in notes]
        return events + (self._end_part() if CLOSES_PART in event.extras else [])

    def _turn_to(self, kind: str) -> list[Event]:
        """Begin a part unless one of its kind is open."""
        content = self.item["content"]
        if self._is_open and content[-1]["type"] == kind:
            return []
        events = self._end_part()
        part = {"type": "refusal", "refusal": ""} if kind == "refusal" else _text_part("", [], [])
        content.append(part)
        self._is_open = True
        return [*events, self._event("response.content_part.added", part=dict(part))]

    def _delta(self, event: TextDelta) -> Event:
        if event.refusal:
            return self._event("response.refusal.delta", delta=event.text)
        tokens = fields(event.logprobs).get("content")
        logprobs = tokens if isinstance(tokens, list) else []
        self._logprobs += logprobs
        shown = [{name: value for name, value in token.items() if name != "bytes"} for token in logprobs]
        return self._event("response.output_text.delta", delta=event.text, logprobs=shown)

    def _annotate(self, note: dict[str, Any]) -> Event:
        notes = self.item["content"][-1].setdefault("annotations", [])
        notes.append(note)
        return self._event("response.output_text.annotation.added", annotation=note, annotation_index=len(notes) - 1)

    def _end_part(self) -> list[Event]:
        if not self._is_open:
            return []
        self._is_open = False
        part, text = self.item["content"][-1], "".join(self._text)
        self._text.clear()
        if part["type"] == "refusal":
            part["refusal"] = text
            said = self._event("response.refusal.done", refusal=text)
        else:
            part |= _text_part(text, part["annotations"], [_token(token) for token in self._logprobs])
            self._logprobs = []
            said = self._event("response.output_text.done", text=text, logprobs=[])
        return [said, self._event("response.content_part.done", part=part)]

    def _event(self, kind: str, **said: Any) -> Event:
        place = len(self.item["content"]) - 1
        return {
            "type": kind,
            "item_id": self.item["id"],
            "output_index": self.place,
            "content_index": place,
            **said,
        }

    def end(self, status: str) -> list[Event]:
        """Return the events that end the message."""
        events = self._end_part()
        self.item["status"] = status
        return [*events, _done(self.place, self.item)]


def _text_part(text: str, annotations: list[Any], logprobs: list[Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}


def _token(token: dict[str, Any]) -> dict[str, Any]:
    """Return a token's log-probability with its bytes, which this wire demands."""
    top = [_with_bytes(other) for other in token.get("top_logprobs") or []]
    return {**_with_bytes(token), "top_logprobs": top}


def _with_bytes(token: dict[str, Any]) -> dict[str, Any]:
    return {**token, "bytes": token.get("bytes") or list(str(token.get("token", "")).encode())}


class _Reasoning:
    """A reasoning item that is still growing: one summary."""

    __slots__ = ("_text", "item", "place")

    def __init__(self, item: dict[str, Any], place: int) -> None:
        self.item = item
        self.place = place
        self._text: list[str] = []

    def grow(self, text: str) -> list[Event]:
        """Return the events for more of the summary."""
        if not text:
            return []
        events: list[Event] = []
        if not self._text:
            self.item["summary"] = [{"type": "summary_text", "text": ""}]
            part = {"type": "summary_text", "text": ""}
            events.append(self._event("response.reasoning_summary_part.added", part=part))
        self._text.append(text)
        return [*events, self._event("response.reasoning_summary_text.delta", delta=text)]

    def _event(self, kind: str, **said: Any) -> Event:
        return {"type": kind, "item_id": self.item["id"], "output_index": self.place, "summary_index": 0, **said}

    def end(self, status: str) -> list[Event]:
        """Return the events that end the reasoning."""
        del status
        events: list[Event] = []
        if self._text:
            text = "".join(self._text)
            self.item["summary"] = [part := {"type": "summary_text", "text": text}]
            events.append(self._event("response.reasoning_summary_text.done", text=text))
            events.append(self._event("response.reasoning_summary_part.done", part=part))
        return [*events, _done(self.place, self.item)]


class _Call:
    """A call that is still growing; `is_held` if its input is known only once the whole of it is there."""

    __slots__ = ("_argument", "_kind", "_said", "is_held", "item", "place")

    def __init__(self, item: dict[str, Any], place: int, *, is_held: bool) -> None:
        self.item = item
        self.place = place
        self.is_held = is_held
        is_custom = item["type"] == "custom_tool_call"
        self._argument = "input" if is_custom else "arguments"
        self._kind = "response.custom_tool_call_input" if is_custom else "response.function_call_arguments"
        self._said: list[str] = []

    def grow(self, arguments: str) -> list[Event]:
        """Return the event for more of the arguments; none while they are held."""
        if not arguments:
            return []
        self._said.append(arguments)
        return [] if self.is_held else [self._event("delta", delta=arguments)]

    def _event(self, step: str, **said: Any) -> Event:
        return {"type": f"{self._kind}.{step}", "item_id": self.item["id"], "output_index": self.place, **said}

    def end(self, status: str) -> list[Event]:
        """Return the events that end the call."""
        arguments = "".join(self._said)
        events: list[Event] = []
        if self.is_held:
            arguments = unwrap(arguments)
            events.append(self._event("delta", delta=arguments))
        self.item[self._argument] = arguments
        if "status" in self.item:
            self.item["status"] = status
        return [*events, self._event("done", **{self._argument: arguments}), _done(self.place, self.item)]
