"""What every decoder of a framed stream does alike; what a frame says is the vendor's to know."""

from abc import ABC, abstractmethod
from typing import Protocol

from providers.errors import BadAnswer, ProviderError, StreamInterrupted
from providers.framing.ndjson import LineTooLarge
from providers.framing.sse import FrameTooLarge
from providers.types import ChatEvent


class Splitter(Protocol):
    """Cuts bytes into frames, whatever the cut they come in."""

    def split(self, data: bytes) -> list[bytes]:
        """Return the complete frames that `data` brings. Raises `FrameTooLarge` or `LineTooLarge`."""
        ...


class FrameDecoder(ABC):
    """Reads a streamed answer frame by frame; an error in the stream is raised when what came before it is taken.

    A subclass reads one frame in `read_frame` and sets `is_done` at the wire's terminator.
    """

    __slots__ = ("_failure", "_splitter", "is_done")

    def __init__(self, splitter: Splitter) -> None:
        self._splitter = splitter
        self._failure: ProviderError | None = None
        self.is_done = False

    @property
    def is_finished(self) -> bool:
        """Whether the terminator or an error has been read: what follows does not matter."""
        return self.is_done or self._failure is not None

    @abstractmethod
    def read_frame(self, frame: bytes) -> list[ChatEvent]:
        """Return what a frame says. Raises `ProviderError` for one that reports an error or makes no sense."""

    def feed(self, data: bytes) -> list[ChatEvent]:
        """Take bytes in any cut; return the events that they complete."""
        if self._failure is not None:
            raise self._failure
        try:
            frames = self._splitter.split(data)
        except (FrameTooLarge, LineTooLarge):
            raise BadAnswer("the provider sent an event of more than 1 MiB", code="upstream_too_large") from None
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
        if not self.is_done:
            raise StreamInterrupted
        return []


__all__ = ["FrameDecoder", "Splitter"]
