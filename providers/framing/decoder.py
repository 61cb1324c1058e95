"""What every decoder of a framed stream does alike; what a frame says is the vendor's to know."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from providers.errors import BadAnswer, ProviderError, StreamInterrupted
from providers.framing import eventstream, ndjson, sse
from providers.types import ChatEvent

Cut = TypeVar("Cut")
Cut_co = TypeVar("Cut_co", covariant=True)
_TOO_LARGE = (eventstream.FrameTooLarge, ndjson.LineTooLarge, sse.FrameTooLarge)


class Splitter(Protocol[Cut_co]):
    """Cuts bytes into frames, whatever the cut they come in."""

    @property
    def rest(self) -> bytes:
        """The bytes of the frame that is not complete yet."""
        ...

    def split(self, data: bytes) -> Sequence[Cut_co]:
        """Return the complete frames that `data` brings. Raises what says that one is too large or broken."""
        ...


class FrameDecoder(ABC, Generic[Cut]):
    """Reads a streamed answer frame by frame; an error in the stream is raised when what came before it is taken.

    A subclass reads one frame in `read_frame` and sets `is_done` at the wire's terminator; frames behind it are not
    read. One whose wire ends otherwise says so in `end`.
    """

    __slots__ = ("_failure", "frames", "is_done")

    def __init__(self, frames: Splitter[Cut]) -> None:
        self.frames = frames
        self._failure: ProviderError | None = None
        self.is_done = False

    @property
    def is_finished(self) -> bool:
        """Whether the terminator or an error has been read: what follows does not matter."""
        return self.is_done or self._failure is not None

    @abstractmethod
    def read_frame(self, frame: Cut) -> Iterable[ChatEvent]:
        """Return what a frame says. Raises `ProviderError` for one that reports an error or makes no sense."""

    def feed(self, data: bytes) -> list[ChatEvent]:
        """Take bytes in any cut; return the events that they complete."""
        if self._failure is not None:
            raise self._failure
        try:
            frames = self.frames.split(data)
        except _TOO_LARGE:
            raise BadAnswer("the provider sent an event of more than 1 MiB", code="upstream_too_large") from None
        except eventstream.BrokenFrame:
            raise BadAnswer("the provider's stream is broken") from None
        events: list[ChatEvent] = []
        for frame in frames:
            if self.is_done:
                break
            try:
                events += self.read_frame(frame)
            except ProviderError as error:
                if not events:
                    raise
                self._failure = error
                break
        return events

    def finish(self) -> list[ChatEvent]:
        """Check that the end was announced. Raises `StreamInterrupted`, or what the stream itself reported."""
        if self._failure is not None:
            raise self._failure
        return self.end()

    def end(self) -> list[ChatEvent]:
        """Return the last events at the end of the body. Raises `StreamInterrupted` if it came too early."""
        if not self.is_done:
            raise StreamInterrupted
        return []


__all__ = ["FrameDecoder", "Splitter"]
