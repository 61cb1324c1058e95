"""Between a finished answer and the events of a streamed one. Law: `collect(replay(c)) == c`."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import msgspec

from providers.errors import StreamInterrupted
from providers.types import (
    ChatEvent,
    Choice,
    Completion,
    Finished,
    FinishReason,
    Headers,
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

CLOSES_PART = "closes_part"
"""A delta with this extra ends its part, so that the next one of its kind begins another."""
OPAQUE_PART = "opaque_part"
"""A text delta with this extra carries a whole part of another kind instead of text."""
ANNOTATIONS = "annotations"
"""A text delta with this extra, a list, adds citations to its part."""


def replay(completion: Completion) -> Iterator[ChatEvent]:
    """Yield the events of a stream that would have ended in `completion`."""
    yield Started(id=completion.id, model=completion.model, created=completion.created, extras=completion.extras)
    for choice in completion.choices:
        yield from _replay_choice(choice)
    if completion.usage is not None:
        yield UsageReported(usage=completion.usage)


def _replay_choice(choice: Choice) -> Iterator[ChatEvent]:
    calls = 0
    logprobs = choice.logprobs
    for part in choice.content:
        for event in _replay_part(part, choice=choice.index, call=calls):
            if logprobs is not None and isinstance(event, TextDelta):
                yield msgspec.structs.replace(event, logprobs=logprobs)
                logprobs = None
                continue
            yield event
        calls += isinstance(part, ToolCallPart)
    if logprobs is not None:
        yield TextDelta(choice=choice.index, text="", logprobs=logprobs)
    yield Finished(choice=choice.index, reason=choice.finish_reason, extras=choice.extras)


def _replay_part(part: Part, *, choice: int, call: int) -> Iterator[ChatEvent]:
    match part:
        case TextPart():
            extras = {**part.extras, CLOSES_PART: True, **({ANNOTATIONS: part.annotations} if part.annotations else {})}
            yield TextDelta(choice=choice, text=part.text, signature=part.signature, extras=extras)
        case RefusalPart():
            yield TextDelta(choice=choice, text=part.text, refusal=True, extras={**part.extras, CLOSES_PART: True})
        case ThinkingPart():
            extras = {**part.extras, CLOSES_PART: True}
            yield ThinkingDelta(
                choice=choice, text=part.text, signature=part.signature, redacted=part.redacted, extras=extras
            )
        case ToolCallPart():
            yield ToolCallStarted(
                choice=choice, index=call, id=part.id, name=part.name, signature=part.signature, extras=part.extras
            )
            yield ToolCallDelta(choice=choice, index=call, arguments=part.arguments)
        case _:
            yield TextDelta(choice=choice, text="", extras={OPAQUE_PART: part, CLOSES_PART: True})


class _OpenPart:
    """A part that is still growing."""

    __slots__ = ("extras", "id", "is_closed", "kind", "name", "redacted", "signature", "text")

    def __init__(self, kind: str, *, id: str = "", name: str = "") -> None:  # noqa: A002 - the wire's word
        self.kind = kind
        self.id = id
        self.name = name
        self.text: list[str] = []
        self.extras: dict[str, Any] = {}
        self.signature: str | None = None
        self.redacted = False
        self.is_closed = False

    def freeze(self) -> Part:
        """Return the part as it stands."""
        text = "".join(self.text)
        extras = {name: value for name, value in self.extras.items() if name not in {CLOSES_PART, OPAQUE_PART}}
        if OPAQUE_PART in self.extras:
            opaque: Part = self.extras[OPAQUE_PART]
            return opaque
        if self.kind == "tool":
            return ToolCallPart(id=self.id, name=self.name, arguments=text, signature=self.signature, extras=extras)
        if self.kind == "thinking":
            return ThinkingPart(text=text, signature=self.signature, redacted=self.redacted, extras=extras)
        if self.kind == "refusal":
            return RefusalPart(text=text, extras=extras)
        notes = extras.pop(ANNOTATIONS, [])
        return TextPart(text=text, annotations=notes, signature=self.signature, extras=extras)


class _OpenChoice:
    """A choice that is still growing."""

    __slots__ = ("calls", "extras", "logprobs", "parts", "reason")

    def __init__(self) -> None:
        self.parts: list[_OpenPart] = []
        self.calls: dict[int, _OpenPart] = {}
        self.logprobs: Any = None
        self.reason: FinishReason | None = None
        self.extras: dict[str, Any] = {}

    def part(self, kind: str) -> _OpenPart:
        """Return the part of this kind that is open, or begin one."""
        last = self.parts[-1] if self.parts else None
        if last is None or last.kind != kind or last.is_closed:
            return self.begin(kind)
        return last

    def begin(self, kind: str) -> _OpenPart:
        """Begin a part, whatever is open."""
        part = _OpenPart(kind)
        self.parts.append(part)
        return part

    def freeze(self, index: int) -> Choice:
        """Return the choice; raises `StreamInterrupted` if it never finished."""
        if self.reason is None:
            raise StreamInterrupted
        content = [part.freeze() for part in self.parts]
        return Choice(
            index=index, content=content, finish_reason=self.reason, logprobs=self.logprobs, extras=self.extras
        )


class Collector:
    """Gathers events into the answer that they amount to."""

    __slots__ = ("_choices", "_started", "usage")

    def __init__(self) -> None:
        self._started: Started | None = None
        self._choices: dict[int, _OpenChoice] = {}
        self.usage: Usage | None = None

    @property
    def deltas_seen(self) -> int:
        """How many deltas had content so far: a lower bound of the tokens of an answer that is not complete."""
        return sum(len(part.text) for choice in self._choices.values() for part in choice.parts)

    def feed(self, event: ChatEvent) -> None:
        """Take the next event."""
        match event:
            case Started():
                self._started = self._started or event
            case UsageReported():
                self.usage = event.usage
            case _:
                self._feed_choice(event)

    def _feed_choice(self, event: TextDelta | ThinkingDelta | ToolCallStarted | ToolCallDelta | Finished) -> None:
        choice = self._choices.setdefault(event.choice, _OpenChoice())
        match event:
            case TextDelta():
                _grow_text(choice, event)
            case ThinkingDelta():
                _grow_thinking(choice, event)
            case ToolCallStarted():
                part = _OpenPart("tool", id=event.id, name=event.name)
                part.signature = event.signature
                part.extras.update(event.extras)
                choice.parts.append(part)
                choice.calls[event.index] = part
            case ToolCallDelta():
                choice.calls[event.index].text.append(event.arguments)
            case Finished():
                choice.reason = event.reason
                choice.extras.update(event.extras)

    def completion(self) -> Completion:
        """Return the answer; raises `StreamInterrupted` if it is not complete."""
        if self._started is None or not self._choices:
            raise StreamInterrupted
        started = self._started
        choices = [self._choices[index].freeze(index) for index in sorted(self._choices)]
        return Completion(
            id=started.id,
            model=started.model,
            created=started.created,
            choices=choices,
            usage=self.usage,
            extras=started.extras,
        )


def _grow_text(choice: _OpenChoice, event: TextDelta) -> None:
    choice.logprobs = _join_logprobs(choice.logprobs, event.logprobs)
    if not event.text and not event.extras and event.signature is None:
        return
    kind = "refusal" if event.refusal else "text"
    part = choice.begin(kind) if OPAQUE_PART in event.extras else choice.part(kind)
    part.text.append(event.text)
    part.signature = part.signature if event.signature is None else event.signature
    if event.extras:
        notes = [*part.extras.get(ANNOTATIONS, []), *event.extras.get(ANNOTATIONS, [])]
        part.extras.update(event.extras, **({ANNOTATIONS: notes} if notes else {}))
        part.is_closed = CLOSES_PART in event.extras or OPAQUE_PART in event.extras


def _grow_thinking(choice: _OpenChoice, event: ThinkingDelta) -> None:
    part = choice.part("thinking")
    part.text.append(event.text)
    part.redacted = part.redacted or event.redacted
    part.signature = part.signature if event.signature is None else event.signature
    part.extras.update(event.extras)
    part.is_closed = event.signature is not None or CLOSES_PART in event.extras


def _join_logprobs(before: Any, more: Any) -> Any:
    """Join the log-probabilities of two deltas: objects whose lists follow each other. What is odd gives way."""
    if not isinstance(before, dict) or not isinstance(more, dict):
        return before if more is None else more
    joined = dict(before)
    for name, value in more.items():
        old = joined.get(name)
        joined[name] = old + value if isinstance(old, list) and isinstance(value, list) else (old or value)
    return joined


def collect(events: Iterable[ChatEvent]) -> Completion:
    """Return the answer that `events` amount to; raises `StreamInterrupted` if they stop too early."""
    collector = Collector()
    for event in events:
        collector.feed(event)
    return collector.completion()


class ReplayStream:
    """A `ChatStream` over an answer that is already there."""

    __slots__ = ("_events", "dropped", "headers")

    def __init__(
        self, events: Iterable[ChatEvent], headers: Headers | None = None, *, dropped: tuple[str, ...] = ()
    ) -> None:
        self._events = events
        self.headers: Headers = headers or {}
        self.dropped = dropped

    async def __aiter__(self) -> AsyncIterator[ChatEvent]:
        """Yield the events."""
        for event in self._events:
            yield event

    def close(self) -> None:
        """Do nothing: no call is open."""


__all__ = ["ANNOTATIONS", "CLOSES_PART", "OPAQUE_PART", "Collector", "ReplayStream", "collect", "replay"]
