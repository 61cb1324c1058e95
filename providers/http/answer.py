"""One provider's answer, as its reader sees it.

Law: the bytes belong to the answer, not to the connection, so whatever happens to the connection a reader can only ever
see what was sent to it.
"""

from asyncio import Future
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from providers.errors import BadAnswer, StreamInterrupted

if TYPE_CHECKING:
    from providers.http.connection import Connection
    from providers.http.inflate import Inflater

DEFAULT_LIMIT_BYTES = 32 * 1024 * 1024


def _too_large(limit_bytes: int) -> BadAnswer:
    return BadAnswer(f"The provider's answer is larger than {limit_bytes} bytes.", code="upstream_too_large")


class Answer:
    """The answer to one request, from its head on. Whoever holds it closes it.

    `status` is the HTTP status; `headers` are its fields by lower-case name, a repeated one joined with `, `, without
    the encoding and the length that a decoded body no longer has. The attributes from `connection` on are the
    connection's side of it: only `providers.http` touches them.
    """

    __slots__ = (
        "connection",
        "error",
        "headers",
        "idle_s",
        "inflater",
        "is_complete",
        "is_headed",
        "pieces",
        "status",
        "waiter",
    )

    def __init__(self, connection: "Connection", *, idle_s: float) -> None:
        """Make an answer that `connection` will fill; `idle_s` is the longest silence within its body."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.connection: Connection | None = connection
        self.error: BaseException | None = None
        self.idle_s = idle_s
        self.inflater: Inflater | None = None
        self.is_complete = False
        self.is_headed = False
        self.pieces: list[bytes] = []
        self.waiter: Future[None] | None = None

    @property
    def at_end(self) -> bool:
        """Whether the whole body has been read, so that `read` would answer nothing."""
        if self.pieces or not self.is_complete:
            return False
        return self.inflater is None or self.inflater.is_done

    def read(self) -> Coroutine[Any, Any, bytes]:
        """Return the next bytes of the body as they came, several chunks joined; empty at the end, again and again.

        A cancelled read loses nothing. Raises `StreamInterrupted`, `BadAnswer` or `ProviderTimedOut`, after all bytes
        that came before it.
        """
        return self._read_wire() if self.inflater is None else self._read_inflated()

    async def read_all(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> bytes:
        """Return the rest of the body and give the connection back; raises `BadAnswer` when it exceeds the limit."""
        if self.is_complete and self.inflater is None:  # the usual case: it came with the head, so nothing suspends
            data = self._take()
            if len(data) > limit_bytes:
                raise _too_large(limit_bytes)
            return data
        pieces: list[bytes] = []
        size_bytes = 0
        while piece := await self.read():
            size_bytes += len(piece)
            if size_bytes > limit_bytes:
                self.close()
                pieces.clear()  # or they would live as long as the error, whose traceback holds them
                raise _too_large(limit_bytes)
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Give the connection back if all of the answer has arrived and it may live on; else cut it at once."""
        connection = self.connection
        if connection is None:
            return
        self.connection = None
        if not self.is_complete and self.error is None:
            self.error = StreamInterrupted("The answer was closed before its end.")
        connection.release()
        self.wake()

    def finish(self) -> None:
        """Let go of an answer that has said all it means, although its last bytes are still to come.

        The connection is given back if they come within a second, else it is cut. For streams: the terminator of the
        dialect often comes a moment before the end of the HTTP body.
        """
        connection = self.connection
        if connection is None:
            return
        self.connection = None
        self.pieces.clear()
        connection.linger()

    def wake(self) -> None:
        """Resume the reader, if it waits."""
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the answer with `error`, to be raised once all bytes before it have been read."""
        self.error = error
        self.connection = None
        self.wake()

    async def _read_wire(self) -> bytes:
        while not self.pieces:
            connection = self.connection
            if self.is_complete:
                self.close()
                return b""
            if connection is None:
                raise self.error or StreamInterrupted
            try:
                await connection.next_bytes(self)
            finally:
                self.waiter = None
        return self._take()

    def _take(self) -> bytes:
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self.is_complete:
            self.close()
        elif self.connection is not None:
            self.connection.drained()
        return data

    async def _read_inflated(self) -> bytes:
        inflater = self.inflater
        if inflater is None:
            return b""
        while True:
            data = inflater.take()
            if data:
                return data
            raw = await self._read_wire()
            if not raw:
                inflater.finish()
                return b""
            inflater.feed(raw)
