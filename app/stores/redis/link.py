"""One TCP connection to Redis, pipelined. Law: replies match commands by order alone, so at any doubt the link dies.

Commands of one loop tick leave in one write. Each waits in a FIFO with its deadline; one timer serves
them all. A waiter that goes away leaves its place, and its reply is read and dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from operator import itemgetter
from typing import cast

import hiredis

from app.stores.errors import StoreError, StoreReplyError, StoreUnavailable

_WRONG_SERVERS = frozenset({"LOADING", "MASTERDOWN", "READONLY"})
"""Refusals after which another server may have taken over: the link is left and the server looked up again."""

_REFUSALS = _WRONG_SERVERS | {"BUSY", "CLUSTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "TRYAGAIN", "UNKILLABLE"}
"""Replies by which a server says that it cannot serve now, as opposed to that the command is wrong."""

_MAX_WAITING = 50_000
_GRACE_S = 0.005
_NOT_YET = object()
_RESP2_TYPES = frozenset({bytes, int, list, type(None)})

Argument = bytes | str | int

pack: Callable[[tuple[Argument, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub: 1-tuples

_Waiting = tuple[asyncio.Future[object] | None, float]


def reply_error(message: str) -> StoreError:
    """Return the exception that an error reply stands for."""
    code = message.partition(" ")[0]
    if code in _REFUSALS:
        return StoreUnavailable(f"Redis refuses commands: {message}", code=code, may_have_run=False)
    return StoreReplyError(message)


class Link(asyncio.Protocol):
    """A connection that is used until its first doubt and never again.

    `on_lost` is called once, with the link and the reason, when it dies; `on_send_error` for each posted command that
    failed. `has_served` tells whether a reply came, `has_hung` whether it died because none came in time.
    """

    def __init__(self, *, on_lost: Callable[["Link", str], None], on_send_error: Callable[[], None]) -> None:
        """Make a link for `loop.create_connection`."""
        self.has_served = False
        self.opened_s = asyncio.get_running_loop().time()
        self.has_hung = False
        self.is_dead = False
        self._on_lost = on_lost
        self._on_send_error = on_send_error
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=reply_error, notEnoughData=_NOT_YET)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[_Waiting] = deque()
        self._outbox: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due = inf
        self._overdue: _Waiting | None = None
        self._is_paused = False

    def submit(self, packed: bytes, deadline: float) -> asyncio.Future[object]:
        """Send a packed command; the future holds its reply, and `deadline` is in the loop's time.

        Raises `StoreUnavailable` when the link is dead or too many commands wait.
        """
        if self.is_dead or len(self._waiting) >= _MAX_WAITING:
            trouble = "the connection to Redis is lost" if self.is_dead else "too many commands wait"
            raise StoreUnavailable(trouble, may_have_run=False)
        future: asyncio.Future[object] = self._loop.create_future()
        self._enqueue(packed, (future, deadline))
        return future

    def post(self, packed: bytes, deadline: float) -> bool:
        """Send a packed command whose reply only counts if it is an error; false when it could not be taken."""
        if self.is_dead or self._is_paused or len(self._waiting) >= _MAX_WAITING:
            return False
        self._enqueue(packed, (None, deadline))
        return True

    def _enqueue(self, packed: bytes, waiting: _Waiting) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(packed)
        self._waiting.append(waiting)
        if waiting[1] < self._due:
            self._arm(waiting[1])

    def _arm(self, due: float) -> None:
        """Set the timer; it is never put off, only brought forward, so commands with one timeout never touch it."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, self._check_deadline)

    def _flush(self) -> None:
        outbox = self._outbox
        if self._transport is not None and outbox:
            self._transport.write(outbox[0] if len(outbox) == 1 else b"".join(outbox))
        outbox.clear()

    def _check_deadline(self) -> None:
        """Leave the link if a command is overdue, else look again when the next one would be.

        A command found overdue gets one more turn of the loop: if this process stalled, its reply may lie in the
        socket, unread.
        """
        self._timer, self._due = None, inf
        if not self._waiting:
            return
        first = min(self._waiting, key=itemgetter(1))
        if first[1] > self._loop.time():
            self._arm(first[1])
        elif first is not self._overdue:
            self._overdue = first
            self._arm(self._loop.time() + _GRACE_S)
        else:
            self.has_hung = True
            self.leave("Redis did not answer in time")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio's callback)."""
        self._transport = cast("asyncio.Transport", transport)
        if self.is_dead:
            self._transport.abort()

    def pause_writing(self) -> None:
        """Take no more commands that nobody waits for (asyncio's callback)."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Take them again (asyncio's callback)."""
        self._is_paused = False

    def data_received(self, data: bytes) -> None:
        """Hand each complete reply to whoever waits for it (asyncio's callback)."""
        if self.is_dead:
            return
        try:
            self._reader.feed(data)
            self._deliver_replies()
        except (hiredis.HiredisError, MemoryError) as error:
            self.leave(f"Redis sent what is not RESP2: {error}")

    def _deliver_replies(self) -> None:
        gets, waiting = self._reader.gets, self._waiting
        while (reply := gets()) is not _NOT_YET:
            if not waiting:
                raise hiredis.ProtocolError("a reply that nobody asked for")
            if isinstance(reply, StoreError):
                self._deliver_error(reply)
                continue
            if type(reply) not in _RESP2_TYPES:
                raise hiredis.ProtocolError("a type of RESP3")
            future = waiting.popleft()[0]
            if future is not None and not future.done():
                future.set_result(reply)
        self.has_served = True

    def _deliver_error(self, error: StoreError) -> None:
        future = self._waiting.popleft()[0]
        if future is None:
            self._on_send_error()
        elif not future.done():
            future.set_exception(error)
        if isinstance(error, StoreUnavailable) and error.code in _WRONG_SERVERS:
            self.leave(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits (asyncio's callback)."""
        self.leave(f"the connection to Redis broke: {exc}" if exc else "Redis closed the connection")

    def leave(self, reason: str) -> None:
        """Die: close the connection at once and fail whatever waits with `StoreUnavailable`."""
        if self.is_dead:
            return
        self.is_dead = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._outbox.clear()
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if future is None:
                self._on_send_error()
            elif not future.done():
                future.set_exception(StoreUnavailable(reason))
        self._on_lost(self, reason)
