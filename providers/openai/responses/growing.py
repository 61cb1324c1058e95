"""Output items that are still growing: each says its steps as typed events, and is whole when it ends.

Source: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11.
"""

from typing import Any

from providers.answers import fields
from providers.custom_tools import unwrap
from providers.stream import CLOSES_PART
from providers.types import TextDelta

Event = dict[str, Any]


def added(place: int, item: dict[str, Any]) -> Event:
    """Return the event that begins an item."""
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def done(place: int, item: dict[str, Any]) -> Event:
    """Return the event that ends an item, which is whole by now."""
    return {"type": "response.output_item.done", "output_index": place, "item": item}


class GrowingMessage:
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
        return [*events, done(self.place, self.item)]


def _text_part(text: str, annotations: list[Any], logprobs: list[Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}


def _token(token: dict[str, Any]) -> dict[str, Any]:
    """Return a token's log-probability with its bytes, which this wire demands."""
    top = [_with_bytes(other) for other in token.get("top_logprobs") or []]
    return {**_with_bytes(token), "top_logprobs": top}


def _with_bytes(token: dict[str, Any]) -> dict[str, Any]:
    return {**token, "bytes": token.get("bytes") or list(str(token.get("token", "")).encode())}


class GrowingReasoning:
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
        return [*events, done(self.place, self.item)]


class GrowingCall:
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
        return [*events, self._event("done", **{self._argument: arguments}), done(self.place, self.item)]
