"""The candidates of an answer, whole or in pieces, read into events; a whole one is a stream of one piece."""

from datetime import datetime
from typing import Any

from providers.answers import fields, integer, objects
from providers.errors import ContentBlocked, StreamInterrupted
from providers.gemini.notes import read_citations, read_logprobs
from providers.gemini.parts import read_part
from providers.gemini.wire import FINISH_REASONS, NOTES, PLAIN_REASONS, REASON, usage_of
from providers.stream import ANNOTATIONS, CLOSES_PART, OPAQUE_PART
from providers.types import (
    ChatEvent,
    Finished,
    FinishReason,
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

_MAX_ID = 24
_GROUNDING = "groundingMetadata"


class AnswerReader:
    """Reads the pieces of one answer, in order."""

    __slots__ = ("_candidates", "_id", "_opened", "_usage")

    def __init__(self) -> None:
        self._opened = False
        self._id = ""
        self._candidates: dict[int, _Candidate] = {}
        self._usage: Usage | None = None

    def read(self, chunk: dict[str, Any]) -> list[ChatEvent]:
        """Return what a piece says. Raises `ContentBlocked` if it says that the prompt was refused."""
        candidates, usage = objects(chunk.get("candidates")), usage_of(chunk)
        if not candidates and not self._candidates:
            _check_prompt(fields(chunk.get("promptFeedback")))
        events: list[ChatEvent] = []
        if not self._opened and (candidates or usage is not None or chunk.get("responseId")):
            self._opened = True
            self._id = str(chunk.get("responseId") or "")
            model = str(chunk.get("modelVersion") or "")
            events.append(Started(id=self._id, model=model, created=_seconds(chunk.get("createTime"))))
        for position, candidate in enumerate(candidates):
            index = integer(candidate.get("index", position))
            known = self._candidates.setdefault(index, _Candidate(index, answer_id=self._id))
            events += known.read(candidate)
        if usage is not None and usage != self._usage:
            self._usage = usage
            events.append(UsageReported(usage=usage))
        return events

    def close(self, *, is_whole: bool = False) -> list[ChatEvent]:
        """Return the ends of the candidates.

        Raises `StreamInterrupted` if one has not said why it ended, which a candidate of a whole answer need not.
        """
        if not self._candidates:
            raise StreamInterrupted
        return [event for candidate in self._candidates.values() for event in candidate.close(is_whole=is_whole)]


def _check_prompt(feedback: dict[str, Any]) -> None:
    reason = feedback.get("blockReason")
    if reason:
        message = feedback.get("blockReasonMessage") or f"the provider blocked the prompt ({reason})"
        raise ContentBlocked(str(message), vendor_code=str(reason))


def _seconds(moment: Any) -> int:
    """Return a moment, such as `2026-11-05T12:00:00.123456Z`, in seconds since the Unix epoch; 0 for what is none."""
    try:
        return int(datetime.fromisoformat(moment).timestamp()) if isinstance(moment, str) else 0
    except (ValueError, OverflowError):
        return 0


class _Candidate:
    """One candidate, as far as it has come."""

    __slots__ = ("_answer_id", "_calls", "_extras", "_index", "_is_signed", "_reason", "_text")

    def __init__(self, index: int, *, answer_id: str) -> None:
        self._index = index
        self._answer_id = answer_id[:_MAX_ID]
        self._calls = 0
        self._text: list[str] = []
        self._is_signed = False
        self._reason: str | None = None
        self._extras: dict[str, Any] = {}

    def read(self, candidate: dict[str, Any]) -> list[ChatEvent]:
        """Return what a piece of the candidate says."""
        parts = objects(fields(candidate.get("content")).get("parts"))
        events = [event for part in parts for event in self._read_part(part)]
        if logprobs := read_logprobs(candidate.get("logprobsResult")):
            events.append(TextDelta(choice=self._index, text="", logprobs=logprobs))
        self._extras |= {name: candidate[name] for name in NOTES if candidate.get(name)}
        if reason := candidate.get("finishReason"):
            self._reason = str(reason)
        return events

    def close(self, *, is_whole: bool) -> list[ChatEvent]:
        """Return the citations of the candidate's text, and its end."""
        if self._reason is None and not is_whole:
            raise StreamInterrupted
        events: list[ChatEvent] = []
        if notes := read_citations(self._extras.get(_GROUNDING), text="".join(self._text)):
            events.append(TextDelta(choice=self._index, text="", extras={ANNOTATIONS: notes}))
        if self._reason is not None and self._reason not in PLAIN_REASONS:
            self._extras[REASON] = self._reason
        events.append(Finished(choice=self._index, reason=self._finish_reason(), extras=self._extras))
        return events

    def _finish_reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._reason or "STOP", "other")
        return "tool_calls" if reason == "stop" and self._calls else reason

    def _read_part(self, wire: dict[str, Any]) -> list[ChatEvent]:
        match read_part(wire):
            case TextPart(text="", signature=None, extras={}):
                return []
            case TextPart(text=text, signature=signature):
                return self._read_text(text, signature)
            case ThinkingPart(text=text, signature=signature):
                self._is_signed = False
                return [ThinkingDelta(choice=self._index, text=text, signature=signature)]
            case ToolCallPart() as call:
                return self._read_call(call)
            case part:
                self._is_signed = False
                return [TextDelta(choice=self._index, text="", extras={OPAQUE_PART: part, CLOSES_PART: True})]

    def _read_text(self, text: str, signature: str | None) -> list[ChatEvent]:
        """Return more text; it goes on until it is signed."""
        self._text.append(text)
        closing = [TextDelta(choice=self._index, text="", extras={CLOSES_PART: True})] if self._is_signed else []
        self._is_signed = signature is not None
        return [*closing, TextDelta(choice=self._index, text=text, signature=signature)]

    def _read_call(self, call: ToolCallPart) -> list[ChatEvent]:
        number = self._calls
        self._is_signed = False
        self._calls += 1
        started = ToolCallStarted(
            choice=self._index,
            index=number,
            id=call.id or self._id_of(number),
            name=call.name,
            signature=call.signature,
        )
        return [started, ToolCallDelta(choice=self._index, index=number, arguments=call.arguments)]

    def _id_of(self, number: int) -> str:
        """Return the id of a call that has none: no two calls of a conversation may share one."""
        parts = ["call", self._answer_id, str(self._index) if self._index else "", str(number)]
        return "_".join(part for part in parts if part)


__all__ = ["AnswerReader"]
