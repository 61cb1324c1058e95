"""Canonical answers, said to a client in Google's dialect.

Source: https://ai.google.dev/api/generate-content#generatecontentresponse, read 2026-11; google-genai 3.6:
types.GenerateContentResponse, whose models take no field that they do not know.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from providers.framing import sse
from providers.gemini.inspect import ARRAY_CLOSES, ARRAY_GOES_ON, ARRAY_OPENS
from providers.gemini.notes import write_citations, write_logprobs
from providers.gemini.parts import REDACTED, read_args, write_call, write_part
from providers.gemini.wire import DIALECT, NOTES, REASON, write_usage
from providers.signatures import seal
from providers.stream import ANNOTATIONS, OPAQUE_PART
from providers.types import (
    ChatEvent,
    Choice,
    Completion,
    FilePart,
    Finished,
    FinishReason,
    ImagePart,
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
    Usage,
    UsageReported,
)

_REASONS: dict[FinishReason, str] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "other": "OTHER",
}
_MALFORMED = "MALFORMED_FUNCTION_CALL"


def render_completion(completion: Completion, *, model: str, answer_id: str | None = None) -> dict[str, Any]:
    """Return the body of an answer.

    `model` is the name that the client asked for, `answer_id` an id in place of the one that the provider gave.
    """
    body: dict[str, Any] = {"candidates": [_render_choice(choice) for choice in completion.choices]}
    if completion.usage is not None:
        body["usageMetadata"] = write_usage(completion.usage)
    return body | _names(completion.id if answer_id is None else answer_id, model=model)


def _names(answer_id: str, *, model: str) -> dict[str, Any]:
    return {"modelVersion": model, **({"responseId": answer_id} if answer_id else {})}


def _render_choice(choice: Choice) -> dict[str, Any]:
    parts = [wire for part in choice.content for wire in _render_part(part)]
    texts = [part for part in choice.content if isinstance(part, TextPart)]
    notes = [note for part in texts for note in part.annotations]
    calls = [part for part in choice.content if isinstance(part, ToolCallPart)]
    candidate = _candidate(choice.index, parts)
    candidate["finishReason"] = _reason(choice.finish_reason, extras=choice.extras, calls=calls)
    if result := write_logprobs(choice.logprobs):
        candidate["logprobsResult"] = result
    return candidate | _render_notes(choice.extras, annotations=notes, text="".join(part.text for part in texts))


def _candidate(index: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a candidate; one without parts has an empty text, since Google's clients take no content without any."""
    return {"content": {"parts": parts or [{"text": ""}], "role": "model"}, "index": index}


def _reason(reason: FinishReason, *, extras: dict[str, Any], calls: Iterable[ToolCallPart]) -> str:
    """Return Google's word for why an answer ended: the one that its own model gave, if it did."""
    if reason in {"stop", "tool_calls"} and any(read_args(call) is None for call in calls):
        return _MALFORMED
    said = extras.get(REASON)
    return said if isinstance(said, str) else _REASONS[reason]


def _render_notes(extras: dict[str, Any], *, annotations: list[Any], text: str) -> dict[str, Any]:
    """Return what a candidate says beside its content, as Google's model said it, or from another's citations."""
    notes = {name: extras[name] for name in NOTES if name in extras}
    if "groundingMetadata" not in notes and (grounding := write_citations(annotations, text=text)):
        notes["groundingMetadata"] = grounding
    return notes


def _render_part(part: Part) -> list[dict[str, Any]]:
    """Return the wire's form of a part; nothing of a part that only another vendor's clients understand.

    A call whose arguments are no JSON object, because they were cut, is left out: nobody could tell it from another.
    """
    match part:
        case TextPart() | RefusalPart():
            signature = part.signature if isinstance(part, TextPart) else None
            return [_signed({"text": part.text}, signature)]
        case ThinkingPart():
            return [_thought(part.text, part.signature, redacted=part.redacted)]
        case ToolCallPart():
            args = read_args(part)
            return [] if args is None else [_signed(write_call(part, args=args), part.signature)]
        case ImagePart() | FilePart(file_id=None):
            return [write_part(part, same_dialect=True)]
        case OpaquePart(dialect=dialect, value=value) if dialect == DIALECT and isinstance(value, dict):
            return [value]
        case _:
            return []


def _signed(wire: dict[str, Any], signature: str | None) -> dict[str, Any]:
    return wire if signature is None else {**wire, "thoughtSignature": seal(signature, DIALECT)}


def _thought(text: str, signature: str | None, *, redacted: bool) -> dict[str, Any]:
    return _signed({"text": text, "thought": True, **({"partMetadata": REDACTED} if redacted else {})}, signature)


class _OpenChoice:
    """What is kept of a candidate until it can be said."""

    __slots__ = ("annotations", "calls", "end", "said_calls", "text")

    def __init__(self) -> None:
        self.calls: dict[int, tuple[ToolCallStarted, list[str]]] = {}
        self.said_calls: list[ToolCallPart] = []
        self.annotations: list[Any] = []
        self.text: list[str] = []
        self.end: Finished | None = None

    def take(
        self, event: TextDelta | ThinkingDelta | ToolCallStarted | ToolCallDelta | Finished
    ) -> list[dict[str, Any]]:
        """Return the parts that can be said now. Calls are whole when anything else comes."""
        match event:
            case ToolCallStarted():
                self.calls[event.index] = (event, [])
                return []
            case ToolCallDelta():
                self.calls[event.index][1].append(event.arguments)
                return []
            case Finished():
                self.end = event
                return self._take_calls()
            case _:
                return [*self._take_calls(), *self._say(event)]

    def _take_calls(self) -> list[dict[str, Any]]:
        calls = [_whole(started, pieces) for _, (started, pieces) in sorted(self.calls.items())]
        self.calls.clear()
        self.said_calls += calls
        return [wire for call in calls for wire in _render_part(call)]

    def _say(self, event: TextDelta | ThinkingDelta) -> list[dict[str, Any]]:
        """Return the parts that say more text or more thoughts; citations are told at the end."""
        if isinstance(event, ThinkingDelta):
            is_said = event.text or event.signature
            return [_thought(event.text, event.signature, redacted=event.redacted)] if is_said else []
        self.annotations += event.extras.get(ANNOTATIONS, [])
        if OPAQUE_PART in event.extras:
            return _render_part(event.extras[OPAQUE_PART])
        self.text.append(event.text)
        return [_signed({"text": event.text}, event.signature)] if event.text or event.signature else []

    def ended(self, index: int) -> dict[str, Any]:
        """Return the candidate of the last piece."""
        reason, extras = (self.end.reason, self.end.extras) if self.end else ("other", {})
        candidate = _candidate(index, [])
        candidate["finishReason"] = _reason(reason, extras=extras, calls=self.said_calls)
        return candidate | _render_notes(extras, annotations=self.annotations, text="".join(self.text))


def _whole(started: ToolCallStarted, pieces: list[str]) -> ToolCallPart:
    return ToolCallPart(
        id=started.id,
        name=started.name,
        arguments="".join(pieces) or "{}",
        signature=started.signature,
        extras=started.extras,
    )


class ChunkRenderer:
    """Renders the events of one answer as pieces of it, in server-sent events or as the elements of one JSON array.

    Function calls are said whole. The last piece holds why each candidate ended, and the usage. What the provider
    begins with is said at once, if only by an empty text, so that an array has begun wherever it may break.
    """

    __slots__ = ("_answer_id", "_choices", "_has_begun", "_is_array", "_model", "_names", "usage")

    def __init__(
        self, *, model: str, framing: Literal["sse", "array", "raw"] = "sse", answer_id: str | None = None
    ) -> None:
        self._model = model
        self._answer_id = answer_id
        self._is_array = framing == "array"
        self._names = _names(answer_id or "", model=model)
        self._choices: dict[int, _OpenChoice] = {}
        self._has_begun = False
        self.usage: Usage | None = None

    def feed(self, event: ChatEvent) -> bytes:
        """Return the pieces that say `event`: perhaps none yet."""
        match event:
            case Started():
                if self._answer_id is None:
                    self._names = _names(event.id, model=self._model)
                return b""
            case UsageReported():
                self.usage = event.usage
                return b""
        choice = self._choices.setdefault(event.choice, _OpenChoice())
        logprobs = write_logprobs(event.logprobs) if isinstance(event, TextDelta) else None
        return self._piece(event.choice, choice.take(event), logprobs=logprobs)

    def finish(self) -> bytes:
        """Return the last piece, and the end of the array."""
        last: dict[str, Any] = {"candidates": [choice.ended(index) for index, choice in sorted(self._choices.items())]}
        if self.usage is not None:
            last["usageMetadata"] = write_usage(self.usage)
        return self._encode(last) + (ARRAY_CLOSES if self._is_array else b"")

    def _piece(self, index: int, parts: list[dict[str, Any]], *, logprobs: dict[str, Any] | None = None) -> bytes:
        if not parts and logprobs is None and self._has_begun:
            return b""
        candidate = _candidate(index, parts) | ({"logprobsResult": logprobs} if logprobs else {})
        return self._encode({"candidates": [candidate]})

    def _encode(self, piece: dict[str, Any]) -> bytes:
        data = msgspec.json.encode(piece | self._names)
        between = ARRAY_GOES_ON if self._has_begun else ARRAY_OPENS
        self._has_begun = True
        return between + data if self._is_array else sse.encode(data)
