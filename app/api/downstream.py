"""The client's side of one request: reads its body, notices when it leaves, and writes its answer.

One lazily re-armed timer watches all clocks of the request: a body or a reader that is too slow, the deadline, the
keep-alive comments of a quiet stream, and when it is worth listening for a hang-up. A request that is answered at once
pays for one timer that never fires.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from enum import Enum
from typing import Any

from app.api.body import too_large
from app.api.errors import Header

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FIRST_LOOK_S = 0.1
BODY_IDLE_S = 10.0
BODY_TOTAL_S = 60.0
WRITE_IDLE_S = 30.0
KEEPALIVE_S = 15.0
KEEPALIVE = b": keep-alive\n\n"
_EVENT_STREAM = b"text/event-stream; charset=utf-8"
_STREAM_HEADERS: tuple[Header, ...] = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


class Stopped(Enum):
    """Why a request was stopped from outside."""

    GONE = "the client left"
    EXPIRED = "the deadline passed"
    SLOW_BODY = "the body came too slowly"
    SLOW_READER = "the client does not read"
    SHUTDOWN = "the gateway is shutting down"


class ClientGone(Exception):
    """The client left before its request was complete."""


class Downstream:
    """One client's connection, for one request. Made and used inside the task that serves it."""

    __slots__ = (
        "_began",
        "_deadline",
        "_early_headers",
        "_is_over",
        "_keeper",
        "_keeps_alive",
        "_listener",
        "_loop",
        "_on_expiry",
        "_progress",
        "_quiet_since",
        "_receive",
        "_send",
        "_sending_since",
        "_task",
        "_timer",
        "has_begun",
        "is_reading",
        "is_streaming",
        "stopped",
    )

    def __init__(self, receive: Receive, send: Send) -> None:
        """Take a connection over."""
        self._early_headers: Callable[[], Sequence[Header]] | None = None
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        now = self._loop.time()
        self._began = now
        self._quiet_since = now
        self._sending_since = 0.0
        self._deadline: float | None = None
        self._on_expiry: Callable[[], None] | None = None
        self._keeps_alive = False
        self._progress: Callable[[], str] | None = None
        self._is_over = False
        self._listener: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.has_begun = False
        self.is_streaming = False
        self.is_reading = True
        self.stopped: Stopped | None = None
        self._timer = self._loop.call_at(now + FIRST_LOOK_S, self._look)

    # -- the clocks ---------------------------------------------------------------------------------------------------

    def expect(
        self,
        *,
        within_s: float,
        keeps_alive: bool,
        on_expiry: Callable[[], None],
        progress: Callable[[], str] | None = None,
        early_headers: Callable[[], Sequence[Header]] | None = None,
    ) -> None:
        """Set the deadline of the request, from its beginning, and whether it keeps a quiet client company.

        `on_expiry` is called when the deadline passes, before the task is cancelled. `progress` returns what a client
        who waits is told, if there is anything to tell, `early_headers` what is sent where that begins the answer.
        """
        self._progress = progress
        self._early_headers = early_headers
        self._deadline = self._began + within_s
        self._keeps_alive = keeps_alive
        self._on_expiry = on_expiry
        soon = min(self._deadline, self._quiet_since + FIRST_LOOK_S)
        if self._timer.when() > soon:
            self._timer.cancel()
            self._timer = self._loop.call_at(soon, self._look)

    def _look(self) -> None:
        """See which clock has run out; arm the timer for the next."""
        now = self._loop.time()
        reason = self._overdue(now)
        if reason is not None:
            self.stop(reason)
            return
        if not self.is_reading and self._listener is None:
            self._listener = self._loop.create_task(self._listen())
        if self._keeps_alive and not self._sending_since and now - self._quiet_since >= KEEPALIVE_S:
            self._quiet_since = now
            if self._keeper is None or self._keeper.done():
                self._keeper = self._loop.create_task(self._keep_alive())
        self._timer = self._loop.call_at(self._next_look(now), self._look)

    def _overdue(self, now: float) -> Stopped | None:
        if self.is_reading:
            slow = now - self._quiet_since >= BODY_IDLE_S or now - self._began >= BODY_TOTAL_S
            return Stopped.SLOW_BODY if slow else None
        if self._sending_since and now - self._sending_since >= WRITE_IDLE_S:
            return Stopped.SLOW_READER
        return Stopped.EXPIRED if self._deadline is not None and now >= self._deadline else None

    def _next_look(self, now: float) -> float:
        if self.is_reading:
            return min(self._quiet_since + BODY_IDLE_S, self._began + BODY_TOTAL_S)
        times = [now + KEEPALIVE_S]
        if self._sending_since:
            times.append(self._sending_since + WRITE_IDLE_S)
        if self._keeps_alive:
            times.append(self._quiet_since + KEEPALIVE_S)
        if self._deadline is not None:
            times.append(self._deadline)
        return max(min(times), now + 0.001)

    def stop(self, reason: Stopped) -> None:
        """Cancel the task that serves the request, once; it learns why from `stopped`."""
        if self.stopped is None and self._task is not None:
            self.stopped = reason
            if reason is Stopped.EXPIRED and self._on_expiry is not None:
                self._on_expiry()
            self._task.cancel()

    def shut_down(self) -> None:
        """Stop the request because the process ends."""
        self.stop(Stopped.SHUTDOWN)

    def forgive(self) -> Stopped | None:
        """Take the cancellation back, so that the task can still answer, soon; return why it was stopped."""
        if self.stopped is not None and self._task is not None:
            self._task.uncancel()
            self._timer.cancel()
            self._timer = self._loop.call_later(WRITE_IDLE_S, self._task.cancel)
        return self.stopped

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.stop(Stopped.GONE)

    def release(self) -> None:
        """End the watch; call when the answer has been sent or given up."""
        self._is_over = True
        self._timer.cancel()
        for task in (self._listener, self._keeper):
            if task is not None:
                task.cancel()

    # -- reading ------------------------------------------------------------------------------------------------------

    async def read_body(self, limit_bytes: int) -> bytes:
        """Return the whole body. Raises `TooLarge` and `ClientGone`."""
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            message, body = await self._read_rest(body, limit_bytes)
        if message["type"] == "http.disconnect":
            raise ClientGone
        if len(body) > limit_bytes:
            raise too_large(limit_bytes)
        self.is_reading = False
        self._quiet_since = self._loop.time()
        return body

    async def _read_rest(self, first: bytes, limit_bytes: int) -> tuple[MutableMapping[str, Any], bytes]:
        """Return the last message and the body that began with `first`."""
        gathered = bytearray(first)
        while True:
            self._quiet_since = self._loop.time()
            if len(gathered) > limit_bytes:
                raise too_large(limit_bytes)
            message = await self._receive()
            gathered += message.get("body", b"")
            if not message.get("more_body"):
                return message, bytes(gathered)

    async def drain(self, limit_bytes: int) -> None:
        """Read a small rest of a body that nobody wants, so that the client gets to read the refusal."""
        message = await self._receive()
        while message.get("more_body") and (limit_bytes := limit_bytes - len(message.get("body", b""))) > 0:
            message = await self._receive()
        self.is_reading = bool(message.get("more_body"))

    # -- writing ------------------------------------------------------------------------------------------------------

    async def send_whole(self, status: int, headers: list[Header], body: bytes) -> None:
        """Send a complete answer."""
        self.has_begun = self._is_over = True
        headers.append((b"content-length", b"%d" % len(body)))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self._sending_since = self._loop.time()
        await self._send({"type": "http.response.body", "body": body})
        self._sending_since = 0.0

    async def begin_stream(self, headers: Sequence[Header], *, content_type: bytes = _EVENT_STREAM) -> None:
        """Send the head of a streamed answer, unless a keep-alive comment has begun it already."""
        if self.has_begun:
            return
        self.has_begun = self.is_streaming = True
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", content_type), *_STREAM_HEADERS, *headers],
            },
        )

    async def send_part(self, data: bytes, *, is_last: bool) -> None:
        """Send a part of a streamed answer; waits while the client does not read."""
        self._sending_since = self._loop.time()
        self._is_over = is_last
        await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})
        self._quiet_since = self._loop.time()
        self._sending_since = 0.0

    async def _keep_alive(self) -> None:
        """Tell a waiting client that the gateway is there; begins the answer if nothing has yet."""
        if self._is_over:
            return
        if not self.has_begun:
            await self.begin_stream(() if self._early_headers is None else self._early_headers())
        if not self._sending_since and not self._is_over:
            told = "" if self._progress is None else self._progress()
            comment = f": {told}\n\n".encode() if told else KEEPALIVE
            await self._send({"type": "http.response.body", "body": comment, "more_body": True})
