"""Spans on their way out: a bounded queue and a thread that empties it.

Law: nobody waits for a receiver. What does not fit, or is not taken, is dropped and counted.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from app.observability.tracing.span import Span

_LOG = logging.getLogger("gateway.traces")
_SILENCE_BATCHES = 30
"""Of a receiver that stays away, so many failures are one line of the log."""


class Receiver(Protocol):
    """Where spans go; used by one thread."""

    def send(self, spans: Sequence[Span]) -> bool:
        """Deliver spans, trying again for a while; returns whether they were taken."""
        ...

    def stop(self) -> None:
        """Give up what is being tried, and take nothing more; called from another thread."""
        ...


class Batch:
    """Takes spans on the event loop and delivers them from a thread of its own, a batch at a time."""

    def __init__(self, receiver: Receiver, *, most_waiting: int = 8_192, size: int = 512, every_s: float = 1.0) -> None:
        """Start the thread. At most `most_waiting` spans wait; they leave after `every_s`, or when `size` are there."""
        self._receiver = receiver
        self._most_waiting = most_waiting
        self._size = size
        self._every_s = every_s
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._is_closing = False
        self._refused = self._lost = self._sent = self._failures = 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def add(self, spans: Sequence[Span]) -> None:
        """Take all spans of a request, or none."""
        if self._is_closing or len(self._waiting) + len(spans) > self._most_waiting:
            self._refused += len(spans)
            return
        self._waiting.extend(spans)
        if len(self._waiting) >= self._size:
            self._wake.set()

    @property
    def sent(self) -> int:
        """How many spans the receiver has taken."""
        return self._sent

    @property
    def dropped(self) -> int:
        """How many spans nobody will see."""
        return self._refused + self._lost

    async def aclose(self, *, within_s: float) -> None:
        """Deliver what waits, for so long at most; then let the thread go."""
        self._is_closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join, within_s)
        if self._thread.is_alive():
            self._receiver.stop()
            await asyncio.to_thread(self._thread.join, within_s / 4)
        left = len(self._waiting)
        if left:
            self._refused += left
            self._waiting.clear()
            _LOG.warning("%d spans were dropped at the end: their receiver was too slow, or away", left)

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(self._every_s)
            self._wake.clear()
            self._deliver()
        self._deliver()
        self._receiver.stop()

    def _deliver(self) -> None:
        """Deliver all that waits now."""
        for _ in range(-(-len(self._waiting) // self._size)):
            spans = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
            if self._is_taken(spans):
                self._sent += len(spans)
                self._failures = 0
            else:
                self._lost += len(spans)
                self._note_failure()

    def _is_taken(self, spans: Sequence[Span]) -> bool:
        try:
            return self._receiver.send(spans)
        except Exception:  # noqa: BLE001 - a supervisor: the thread must outlive whatever a library raises
            _LOG.debug("spans could not be sent", exc_info=True)
            return False

    def _note_failure(self) -> None:
        if self._failures % _SILENCE_BATCHES == 0:
            _LOG.warning("the receiver of traces does not take them; %d spans are lost so far", self._lost)
        self._failures += 1
