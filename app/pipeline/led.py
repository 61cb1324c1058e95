"""A live answer that others may follow, and that may be kept: read once, whoever reads.

Law: it is read at the pace of the client that pays for it, until somebody follows; from then on a task of its own
reads it, so that nobody waits for another's client. It goes on for the followers if its own client leaves.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from app.cache.answers import MAX_BYTES
from app.pipeline.answer import LiveBody
from app.pipeline.attempt import Progress
from app.pipeline.bodies import UNREADABLE
from app.pipeline.flights import Flight, LeaderFailed
from app.pipeline.routed import client_error
from providers.errors import ProviderError, StreamInterrupted
from providers.stream import Collector
from providers.types import ChatEvent

Spawn = Callable[[Coroutine[Any, Any, Any]], None]
Ended = Callable[[Collector], None]
"""Takes an answer that is complete, before its last bytes are given away."""


class Recorded(LiveBody, Progress):
    """A live answer that keeps its events; `recorded` is absent where they cannot be told, or are too many."""

    recorded: list[ChatEvent] | None


class Led:
    """The body of an answer that is shared. `broke` is told when it ends without being complete."""

    def __init__(
        self, inner: Recorded, flight: Flight, *, ended: Ended, broke: Callable[[LeaderFailed], None], spawn: Spawn
    ) -> None:
        self._inner = inner
        self._flight = flight
        self._ended = ended
        self._broke = broke
        self._spawn = spawn
        self._turn = asyncio.Lock()
        self._collector = Collector()
        self._published = 0
        self._is_pumped = False
        self._ready: deque[bytes] = deque()
        self._ready_bytes = 0
        self._failure: BaseException | None = None
        self._is_read_out = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._is_closed = False
        self.is_finished = False

    @property
    def tokens_seen(self) -> int:
        """Roughly how many output tokens were delivered."""
        return self._inner.tokens_seen

    @property
    def is_owed(self) -> bool:
        """Whether it must be read to its end: because the provider bills it in any case, or others follow."""
        return self._inner.is_owed or (self._flight.followers > 0 and not self._is_closed)

    def publish(self) -> None:
        """Give the followers what has come until now."""
        recorded = self._inner.recorded
        if recorded is None:
            self._flight.fail(LeaderFailed(None, is_private=True))
            return
        if len(recorded) > self._published:
            news = recorded[self._published :]
            self._published = len(recorded)
            try:
                for event in news:
                    self._collector.feed(event)
            except UNREADABLE:
                self._inner.recorded = None
            self._flight.add(news)
        if self._flight.is_too_large and not self._flight.followers:
            self._inner.recorded = None

    def pump(self) -> None:
        """Read on in a task of its own from now on: somebody follows."""
        if self._is_pumped:
            # Whoever waits for a slow client waits no longer.
            self._room.set()
        elif not self._is_closed and not self._is_read_out:
            self._is_pumped = True
            self._spawn(self._run())

    async def read(self) -> bytes:
        """Return the next bytes."""
        if not self._is_pumped:
            async with self._turn:
                if not self._is_pumped:
                    data = await self._step()
                    self.is_finished = self._inner.is_finished
                    return data
        return await self._take()

    async def _step(self) -> bytes:
        """Read once."""
        inner = self._inner
        try:
            data = await inner.read()
        except ProviderError as error:
            self._broke(LeaderFailed(client_error(error)))
            raise
        self.publish()
        if inner.is_finished:
            self._end()
        return data

    def _end(self) -> None:
        self._is_read_out = True
        recorded = self._inner.recorded
        if recorded is None:
            self._broke(LeaderFailed(None, is_private=True))
        else:
            self._ended(self._collector)

    async def _take(self) -> bytes:
        """Return what the task has read."""
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._is_read_out or self._is_closed:
                self.is_finished = self._is_read_out
                return b""
            await self._news.wait()
        data = b"".join(self._ready)
        self._ready.clear()
        self._ready_bytes = 0
        self._room.set()
        self.is_finished = self._is_read_out and self._failure is None
        return data

    async def _run(self) -> None:
        """Read to the end; wait for the paying client only where it is far behind and nobody else waits."""
        try:
            async with self._turn:
                while not self._is_read_out and not self._is_closed:
                    data = await self._step()
                    self._ready.append(data)
                    self._ready_bytes += len(data)
                    self._tell()
                    while self._is_far_behind():
                        self._room.clear()
                        await self._room.wait()
        except ProviderError as error:
            self._failure = error
        except BaseException:
            self._failure = StreamInterrupted()
            self._broke(LeaderFailed(None))
            raise
        finally:
            self._tell()

    def _is_far_behind(self) -> bool:
        return self._ready_bytes > MAX_BYTES and not self._is_closed and not self._flight.followers

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """Let go of the upstream call; whoever follows is told that it is over."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._is_read_out:
            self._broke(LeaderFailed(None))
        self._inner.close()
        self._room.set()
        self._tell()
