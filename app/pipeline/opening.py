"""How a live answer of one model of several begins: what is held back of it until it says something that may win.

Law: nothing is lost or put in another order, and there is a bound to it.
"""

from collections.abc import Sequence
from typing import Final

from app.fanout.answers import may_win
from providers.errors import BadAnswer
from providers.stream import Collector
from providers.types import ChatEvent, Completion

MOST_BYTES: Final = 1 << 20
"""How much may be held back: far more than any refusal has, and as much as one event may."""


class Opening:
    """What is held back of a live answer. `is_over` says that it need not be any longer."""

    __slots__ = ("_collector", "_pieces", "_room_bytes", "is_over")

    def __init__(self) -> None:
        self._collector = Collector()
        self._pieces: list[bytes] = []
        self._room_bytes = MOST_BYTES
        self.is_over = False

    def take(self, data: bytes, events: Sequence[ChatEvent] | None) -> None:
        """Take the next bytes, and what they say; what nobody can read counts as content.

        Raises `BadAnswer` where there is too much, and nothing in it that may win.
        """
        self._pieces.append(data)
        self._room_bytes -= len(data)
        self.is_over = self.is_over or events is None or any(map(may_win, events))
        if self.is_over:
            return
        if self._room_bytes < 0:
            message = f"the provider sent {MOST_BYTES} bytes of white space or of a refusal"
            raise BadAnswer(message, code="upstream_too_large")
        for event in events or ():
            self._collector.feed(event)

    @property
    def data(self) -> bytes:
        """All bytes that were held back."""
        return b"".join(self._pieces)

    def completion(self) -> Completion:
        """Return the whole answer, of one that has ended; raises `StreamInterrupted` if it cannot be read as one."""
        return self._collector.completion()
