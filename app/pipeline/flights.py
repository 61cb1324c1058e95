"""Calls in flight that others wait for too: what has come of an answer, for every request that is the same.

Law: one leader makes the call, and everybody who joins gets its events from the beginning. Memory is bounded: an answer
that grows too long can be joined no more, and one far beyond that fails those who follow.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.cache.answers import MAX_BYTES, Answered
from app.cache.shelf import Found
from app.kernel.errors import GatewayError
from providers.errors import ProviderError, StreamInterrupted
from providers.types import ChatEvent, Finished, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted

LONGEST_BYTES = 16 * MAX_BYTES
_EVENT_BYTES = 64
"""About what an event takes beside its text."""
_CONTENT = (TextDelta, ThinkingDelta, ToolCallStarted, ToolCallDelta, Finished)


_PART_EVENTS = 256
"""How many events a follower who is behind gets at once."""


class Server(NamedTuple):
    """Who serves a call, as it is known with its first content. `model` is its public name.

    `dropped` is in canonical words.
    """

    model: str
    provider: str
    upstream_model: str
    dropped: tuple[str, ...] = ()


class LeaderFailed(Exception):
    """The leader has no answer for others.

    `error` is what is wrong with the provider or the request, if that is why; `asked` tells the request that was
    refused: only who sends the very same is told so. `is_private` is whether others had better ask each for themselves,
    since what they get could not be shared either.
    """

    def __init__(self, error: GatewayError | None, *, asked: bytes | None = None, is_private: bool = False) -> None:
        super().__init__()
        self.error = error
        self.asked = asked
        self.is_private = is_private

    def as_break(self) -> ProviderError:
        """Return what a follower is told who has had part of the answer."""
        if isinstance(self.error, GatewayError):
            return StreamInterrupted(self.error.message)
        return StreamInterrupted("the call that this answer was shared with has ended")


class Flight:
    """What has come of one call. Written by one task.

    `server` is there from the first content on, `answered` once the answer is complete; `found` is that one if it had
    been kept before anybody joined. `cap` is the output that the leader was let have, where that is less than it asks.
    """

    __slots__ = (
        "_news",
        "_on_join",
        "_size_bytes",
        "answered",
        "cap",
        "events",
        "failure",
        "followers",
        "found",
        "server",
    )

    def __init__(self) -> None:
        self.events: list[ChatEvent] = []
        self.server: Server | None = None
        self.answered: Answered | None = None
        self.found: Found | None = None
        self.cap: int | None = None
        self.failure: LeaderFailed | None = None
        self.followers = 0
        self._size_bytes = 0
        self._news = asyncio.Event()
        self._on_join: Callable[[], None] | None = None

    # -- leading ------------------------------------------------------------------------------------------------------

    def begin(self, server: Server, *, on_join: Callable[[], None] | None = None) -> None:
        """Say who serves; `on_join` is called as soon as anybody follows, and again for each who comes later."""
        self.server, self._on_join = server, on_join
        if self.followers and on_join is not None:
            on_join()
        self._tell()

    def add(self, events: Sequence[ChatEvent]) -> None:
        """Add what has come."""
        if self.failure is not None:
            return
        self._size_bytes += sum([size_of(event) for event in events])
        if self.is_too_large and not self.followers:
            self.events.clear()
            return
        self.events.extend(events)
        if self._size_bytes > LONGEST_BYTES:
            self.fail(LeaderFailed(None, is_private=True))
        self._tell()

    def end(self, answered: Answered, *, found: Found | None = None) -> None:
        """Say that the answer is complete, because it was made, or found."""
        self.answered, self.found = answered, found
        self._on_join = None
        self._tell()

    def fail(self, failure: LeaderFailed) -> None:
        """Say that no more comes."""
        if not self.is_over:
            self.failure = failure
            self._on_join = None
            self._tell()

    @property
    def is_over(self) -> bool:
        """Whether no more comes."""
        return self.answered is not None or self.failure is not None

    @property
    def is_too_large(self) -> bool:
        """Whether the answer is longer than what is held for those who come late."""
        return self._size_bytes > MAX_BYTES

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # -- following ----------------------------------------------------------------------------------------------------

    def join(self) -> None:
        """Follow; `leave` must be called in any case."""
        self.followers += 1
        if self._on_join is not None:
            self._on_join()

    def leave(self) -> None:
        """Follow no longer."""
        self.followers -= 1

    async def begun(self) -> None:
        """Wait until there is content, or a complete answer; raises `LeaderFailed` if neither comes."""
        while True:
            if self.failure is not None and not self._has_content():
                raise self.failure
            if self.answered is not None or (self.server is not None and self._has_content()):
                return
            await self._news.wait()

    def _has_content(self) -> bool:
        return any(isinstance(event, _CONTENT) for event in self.events)

    async def ended(self) -> Answered:
        """Wait for the complete answer; raises `LeaderFailed` if there is none."""
        while self.answered is None:
            if self.failure is not None:
                raise self.failure
            await self._news.wait()
        return self.answered

    async def after(self, position: int) -> Sequence[ChatEvent]:
        """Return the next events behind the first `position`; none at the end. Raises `LeaderFailed` where it broke."""
        while position >= len(self.events):
            if self.answered is not None:
                return ()
            if self.failure is not None:
                raise self.failure
            await self._news.wait()
        return self.events[position : position + _PART_EVENTS]


def size_of(event: ChatEvent) -> int:
    """Return about how many bytes an event takes."""
    if isinstance(event, TextDelta | ThinkingDelta):
        return _EVENT_BYTES + len(event.text)
    return _EVENT_BYTES + (len(event.arguments) if isinstance(event, ToolCallDelta) else 0)


class Flights:
    """The calls in flight of one worker, by the key of what they answer."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}

    def find(self, key: bytes) -> Flight | None:
        """Return the flight that a request with this key can join."""
        flight = self._flights.get(key)
        return None if flight is None or flight.is_too_large or flight.failure is not None else flight

    def lead(self, key: bytes) -> Flight:
        """Begin a flight; whoever asks for the same joins it from now on."""
        flight = self._flights[key] = Flight()
        return flight

    def land(self, key: bytes, flight: Flight) -> None:
        """Let nobody join a flight any more."""
        if self._flights.get(key) is flight:
            del self._flights[key]

    def __len__(self) -> int:
        return len(self._flights)
