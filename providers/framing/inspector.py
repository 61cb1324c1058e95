"""What every inspector of relayed bytes does alike; what the bytes say is the vendor's to know."""

from abc import ABC, abstractmethod

from providers.errors import BadAnswer, ProviderError, StreamInterrupted
from providers.framing import sse
from providers.types import Usage


class Watch:
    """What an inspector has seen so far; the meaning of each is `providers.protocol.Inspector`'s."""

    __slots__ = ("error", "has_content", "is_finished", "issued", "output_tokens_seen", "usage")

    def __init__(self) -> None:
        self.issued: list[str] = []
        self.usage: Usage | None = None
        self.has_content = False
        self.is_finished = False
        self.output_tokens_seen = 0
        self.error: ProviderError | None = None

    def end(self) -> bytes:
        """Refuse an answer that ended without its terminator, or has no body at all. Raises `StreamInterrupted`."""
        raise StreamInterrupted


class EventWatch(Watch, ABC):
    """Watches server-sent events: holds back one that is incomplete, and all that come behind the end or an error.

    A subclass looks at one frame in `passed`; it may let frames through unseen in `passes_unseen`, once content flows.
    """

    __slots__ = ("frames",)

    def __init__(self) -> None:
        super().__init__()
        self.frames = sse.FrameSplitter()

    def feed(self, data: bytes) -> bytes:
        """Take bytes in any cut; return those of the complete frames that may be passed on."""
        try:
            complete = self.frames.take(data)
        except sse.FrameTooLarge:
            raise BadAnswer("the provider sent an event of more than 1 MiB", code="upstream_too_large") from None
        if self.is_finished or self.error is not None or not complete:
            return b""
        if self.has_content and self.passes_unseen(complete):
            return complete
        return b"".join([self._passed(frame) for frame in sse.split_frames(complete)])

    def _passed(self, frame: bytes) -> bytes:
        return b"" if self.is_finished or self.error is not None else self.passed(frame)

    def passes_unseen(self, frames: bytes) -> bool:
        """Count what complete frames say, and return true, if they are known to say nothing but more content."""
        del frames
        return False

    @abstractmethod
    def passed(self, frame: bytes) -> bytes:
        """Look at one frame; return what the client gets of it, perhaps nothing."""


__all__ = ["EventWatch", "Watch"]
