"""Streamed answers of the native wire, read as they come: events, and relayed bytes with what is known of them."""

from providers.errors import BadAnswer, ProviderError, StreamInterrupted
from providers.native.errors import error_of
from providers.native.wire import End, Failed, Lines, Relayed, read_event, read_relayed
from providers.types import ChatEvent, Usage


class EventDecoder:
    """Reads the lines of a streamed chat. An error line ends it, after the events before it."""

    __slots__ = ("_error", "_lines", "is_finished")

    def __init__(self) -> None:
        self._lines = Lines()
        self._error: ProviderError | None = None
        self.is_finished = False

    def feed(self, data: bytes) -> list[ChatEvent]:
        """Take bytes in any cut; return the events of the complete lines."""
        events: list[ChatEvent] = []
        for line in self._lines.split(data):
            if self.is_finished:
                break
            value = read_event(line)
            if isinstance(value, End | Failed):
                self.is_finished = True
                self._error = error_of(value.error) if isinstance(value, Failed) else None
            else:
                events.append(value)
        return events

    def finish(self) -> list[ChatEvent]:
        """Raise what the error line told of, or `StreamInterrupted` where the end is missing."""
        if self._error is not None:
            raise self._error
        if not self.is_finished:
            raise StreamInterrupted
        return []


class _Watched:
    """What the inspector on the other side knows."""

    __slots__ = ("error", "has_content", "is_finished", "issued", "output_tokens_seen", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.has_content = False
        self.is_finished = False
        self.output_tokens_seen = 0
        self.error: ProviderError | None = None
        self.issued: list[str] = []

    def _learn(self, relayed: Relayed) -> bytes:
        """Take over what is known, and return the bytes that it is known of."""
        self.usage = relayed.usage
        self.has_content = relayed.has_content
        self.is_finished = relayed.is_finished
        self.output_tokens_seen = relayed.output_tokens_seen
        self.issued = relayed.issued
        return relayed.data


class StreamWatch(_Watched):
    """An inspector of a relayed stream: the adapter's own looks at the bytes, this one is told what it saw."""

    __slots__ = ("_has_ended", "_lines")

    def __init__(self) -> None:
        super().__init__()
        self._lines = Lines()
        self._has_ended = False

    def feed(self, data: bytes) -> bytes:
        """Take lines in any cut; return the bytes that they carry."""
        passed = []
        for line in self._lines.split(data):
            if self._has_ended or self.error is not None:
                break
            value = read_relayed(line)
            if isinstance(value, Relayed):
                passed.append(self._learn(value))
            elif isinstance(value, Failed):
                self.error = error_of(value.error)
            else:
                self._has_ended = True
        return b"".join(passed)

    def end(self) -> bytes:
        """Return nothing where the adapter said that this is the end; else raise `StreamInterrupted`."""
        if self.error is not None:
            raise self.error
        if not self._has_ended:
            raise StreamInterrupted
        return b""


class WholeWatch(_Watched):
    """An inspector of a relayed answer that is not streamed."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Take the whole answer; return the bytes that it carries. Raises `BadAnswer`."""
        value = read_relayed(data)
        if not isinstance(value, Relayed):
            raise BadAnswer("the adapter's answer holds no relayed bytes")
        return self._learn(value)

    def end(self) -> bytes:
        """Refuse an answer that has no body."""
        raise StreamInterrupted


__all__ = ["EventDecoder", "StreamWatch", "WholeWatch"]
