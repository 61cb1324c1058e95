"""The answer of a call that runs whoever reads it: written once, followed by any number of clients.

Law: memory is bounded. The first mebibyte is held for those who come later. What is longer can be joined no more: what
all followers have read is dropped, and the writer waits for the slowest of them; without followers all is dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from app.domain.answers.schemas import Headers
from app.kernel.errors import GatewayError
from app.pipeline.answer import Answer

_PART_BYTES = 1 << 16
"""About how much a follower who is behind gets at once."""


class Head:
    """How an answer begins. `replayed` are the headers that say who served, for everybody but its first client.

    `foreseen_nusd` is as in `Answer`.
    """

    __slots__ = ("content_type", "foreseen_nusd", "is_live", "replayed")

    def __init__(
        self, *, is_live: bool, content_type: bytes, replayed: Headers, foreseen_nusd: int | None = None
    ) -> None:
        self.is_live = is_live
        self.content_type = content_type
        self.replayed = replayed
        self.foreseen_nusd = foreseen_nusd


class Recording:
    """What has come of one answer. Written by one task; `held_bytes` is how much is held for late followers."""

    def __init__(self, *, held_bytes: int) -> None:
        self.head: Head | None = None
        self.failure: GatewayError | None = None
        self.say_failure: Callable[[GatewayError], bytes] | None = None
        self.is_over = False
        self.size_bytes = 0
        self.followers: set[Follower] = set()
        self._held_bytes = held_bytes
        self._chunks: deque[bytes] = deque()
        self._dropped = 0
        self._dropped_bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._endings: list[Callable[[], None]] = []

    # -- writing ------------------------------------------------------------------------------------------------------

    def begin(self, head: Head) -> None:
        """Say how the answer begins."""
        self.head = head
        self._tell()

    async def write(self, data: bytes) -> None:
        """Add to the answer; waits while what no follower may miss is as much as is held."""
        if not data:
            return
        self._chunks.append(data)
        self.size_bytes += len(data)
        self._tell()
        while self._is_full():
            self._room.clear()
            await self._room.wait()

    def end(self, failure: GatewayError | None = None) -> None:
        """Say that no more comes, because the answer is complete or because of a failure."""
        if self.is_over:
            return
        self.is_over, self.failure = True, failure
        self._tell()
        endings, self._endings = self._endings, []
        for ending in endings:
            ending()

    def then(self, ending: Callable[[], None]) -> None:
        """Call `ending` when no more comes: at once if that is so now."""
        if self.is_over:
            ending()
        else:
            self._endings.append(ending)

    def body(self) -> bytes | None:
        """Return all that was written; nothing if its beginning is held no more."""
        return None if self.is_too_large else b"".join(self._chunks)

    @property
    def is_too_large(self) -> bool:
        """Whether the answer is longer than what is held."""
        return self.size_bytes > self._held_bytes

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _is_full(self) -> bool:
        """Drop what everybody has read, and tell whether the rest is as much as may be held."""
        if not self.is_too_large:
            return False
        needed = min((follower.position for follower in self.followers), default=self._dropped + len(self._chunks))
        while self._dropped < needed:
            self._dropped_bytes += len(self._chunks.popleft())
            self._dropped += 1
        return self.size_bytes - self._dropped_bytes > self._held_bytes

    # -- following ----------------------------------------------------------------------------------------------------

    def follow(self) -> "Follower":
        """Return a follower at the beginning, who must be closed. Only while the answer is not too large."""
        follower = Follower(self)
        self.followers.add(follower)
        return follower

    async def beginning(self) -> Head | None:
        """Return how the answer begins, as soon as it does; nothing if it ended without."""
        while self.head is None and not self.is_over:
            await self._news.wait()
        return self.head

    async def available(self, position: int) -> tuple[bytes, int]:
        """Return what follows the first `position` chunks, a part at a time, and the position behind it.

        Nothing at the end. Raises the failure that ended the answer, when all before it has been read.
        """
        while position == self._dropped + len(self._chunks):
            if self.failure is not None:
                raise self.failure
            if self.is_over:
                return b"", position
            await self._news.wait()
        parts, size_bytes = [], 0
        while position < self._dropped + len(self._chunks) and size_bytes < _PART_BYTES:
            part = self._chunks[position - self._dropped]
            parts.append(part)
            size_bytes += len(part)
            position += 1
        return parts[0] if len(parts) == 1 else b"".join(parts), position

    def has_after(self, position: int) -> bool:
        """Whether more than the first `position` chunks may come: more bytes, or a failure."""
        is_there = position < self._dropped + len(self._chunks)
        return is_there or not self.is_over or self.failure is not None

    def moved(self) -> None:
        """Note that a follower has read on or left."""
        self._room.set()


class Follower:
    """One client's way through a recording: the body of its answer."""

    __slots__ = ("_recording", "is_finished", "position")

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.position = 0
        self.is_finished = False

    async def read(self) -> bytes:
        """Return the next bytes, as soon as there are any; raises what ended the answer."""
        data, self.position = await self._recording.available(self.position)
        self._recording.moved()
        self.is_finished = not self._recording.has_after(self.position)
        return data

    async def answer(self, head: Head) -> Answer:
        """Return the answer; one that is not live is awaited, and read to its end."""
        if head.is_live:
            answer = Answer(live=self, content_type=head.content_type)
            answer.foreseen_nusd = head.foreseen_nusd
            return answer
        parts = []
        while not self.is_finished:
            parts.append(await self.read())
        self.close()
        return Answer(body=b"".join(parts), content_type=head.content_type)

    def close(self) -> None:
        """Leave; the call goes on."""
        self._recording.followers.discard(self)
        self._recording.moved()
