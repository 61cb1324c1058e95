"""One connection to the fake provider: HTTP/1.1 by hand, so that it shares no bug with the clients it tests.

Law: what was handed to the socket, and when the peer left, is known exactly.
"""

import asyncio
import contextlib
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any, cast

import msgspec

from providers.testing.journal import Entry
from providers.testing.reply import Frame, Reply
from providers.testing.script import Script

_HEAD_LIMIT_BYTES = 1 << 20
_RESET = struct.pack("ii", 1, 0)
_REASONS = {200: "OK", 204: "No Content", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A whole request. `headers` by lower-case name; `wire_bytes` counts its head and body as they came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    wire_bytes: int


class PeerClosed(Exception):
    """The client left."""


Answering = Callable[[Request], tuple[Entry, Reply, Script]]
"""Decides what to send; called once for each request."""


class Connection(asyncio.Protocol):
    """Reads requests and sends what it is told to, one after the other, until someone closes."""

    def __init__(self, answering: Answering, open_connections: set["Connection"]) -> None:
        self._answering = answering
        self._all = open_connections
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._has_eof = False
        self.closed_ns: int | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast("asyncio.Transport", transport)
        self._all.add(self)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        """Keep the bytes and wake the reader."""
        self._buffer += data
        self._news.set()

    def eof_received(self) -> bool:
        """Note that the peer sends no more; a client that does so in the middle of an answer has left."""
        self._left()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone."""
        del exc
        self._left()
        self._all.discard(self)
        self._may_write.set()

    def pause_writing(self) -> None:
        """Stop: the peer reads too slowly."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._may_write.set()

    def _left(self) -> None:
        self._has_eof = True
        if self.closed_ns is None:
            self.closed_ns = time.monotonic_ns()
        self._news.set()

    async def aclose(self) -> None:
        """Abort the connection and wait for its task."""
        self._socket.abort()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def _socket(self) -> asyncio.Transport:
        if self._transport is None:
            raise PeerClosed
        return self._transport

    # --- Reading

    async def _serve(self) -> None:
        try:
            while await self._serve_one():
                pass
        except PeerClosed:
            pass
        finally:
            self._socket.close()

    async def _serve_one(self) -> bool:
        """Serve the next request; say whether another may follow."""
        request = await self._read_request()
        entry, reply, script = self._answering(request)
        sending = _Sending(self, entry=entry, reply=reply, script=script)
        try:
            return await sending.run() and request.headers.get("connection", "").lower() != "close"
        finally:
            entry.finished_after_ms = entry.elapsed_ms()
            if not entry.is_complete and self.closed_ns is not None:
                entry.peer_closed_after_ms = max(0, (self.closed_ns - entry.received_ns) // 1_000_000)

    async def _read_request(self) -> Request:
        head = await self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _version = first.split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            key = name.lower()
            headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self._socket.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, framing_bytes = await self._read_body(headers)
        size = len(head) + 4 + len(body) + framing_bytes
        return Request(method=method, path=path, headers=headers, body=body, wire_bytes=size)

    async def _read_body(self, headers: dict[str, str]) -> tuple[bytes, int]:
        """Return the body, and how many bytes its framing took."""
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            return await self._exactly(int(headers.get("content-length", "0"))), 0
        body, framing = bytearray(), 0
        while True:
            line = await self._until(b"\r\n")
            size = int(line.split(b";")[0], 16)
            framing += len(line) + 4
            body += await self._exactly(size)
            if size == 0:
                while trailer := await self._until(b"\r\n"):
                    framing += len(trailer) + 2
                return bytes(body), framing
            await self._exactly(2)

    async def _until(self, end: bytes) -> bytes:
        """Return the bytes before `end`, and drop `end`."""
        while (at := self._buffer.find(end)) < 0:
            if len(self._buffer) > _HEAD_LIMIT_BYTES:
                raise PeerClosed
            await self._more()
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return found

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    async def _more(self) -> None:
        if self._has_eof:
            raise PeerClosed
        self._news.clear()
        await self._news.wait()

    # --- Writing, for `_Sending`

    def require_peer(self) -> None:
        """Raise `PeerClosed` if the peer has left; a `write` that follows at once will not."""
        if self._has_eof or self._socket.is_closing():
            raise PeerClosed

    async def write(self, data: bytes) -> None:
        """Hand bytes to the socket once it takes some; raises `PeerClosed` when the peer has left."""
        self.require_peer()
        self._socket.write(data)
        await self._may_write.wait()

    async def pause(self, milliseconds: int | None) -> None:
        """Wait, for ever if `None`; raises `PeerClosed` as soon as the peer leaves."""
        deadline = None if milliseconds is None else time.monotonic() + milliseconds / 1000
        while not self._has_eof:
            self._news.clear()
            left_s = None if deadline is None else deadline - time.monotonic()
            try:
                await asyncio.wait_for(self._news.wait(), left_s)
            except TimeoutError:
                return
        raise PeerClosed

    def reset(self) -> None:
        """Close with RST: what was not sent yet is lost, and the peer's read fails."""
        handle: Any = self._socket.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.abort()


class _Sending:
    """Sends one reply under one script, and writes down what went out."""

    def __init__(self, connection: Connection, *, entry: Entry, reply: Reply, script: Script) -> None:
        self._connection = connection
        self._entry = entry
        self._reply = reply
        self._script = script
        bits = _WINDOW_BITS.get(script.encoding)
        self._deflate = None if bits is None else zlib.compressobj(wbits=bits)
        self._is_chunked = reply.is_stream and script.framing == "keep"

    async def run(self) -> bool:
        """Send the reply; say whether the connection may serve another request."""
        script = self._script
        if script.head_delay_ms:
            await self._connection.pause(script.head_delay_ms)
        if script.raw is not None:
            await self._connection.write(script.raw.encode("latin-1"))
            return False
        if script.fault is not None and script.fault_after_frames is None and script.fault_after_bytes is None:
            return await self._break()
        await (self._stream() if self._reply.is_stream else self._whole())
        if script.fault is not None and not self._entry.is_complete:
            return await self._break()
        return script.keeps_alive and script.framing == "keep"

    async def _break(self) -> bool:
        if self._script.fault == "stall":
            await self._connection.pause(None)
        if self._script.fault == "reset":
            # Let the bytes before the break reach the peer: a reset may overtake and destroy them.
            await self._connection.pause(20)
            self._connection.reset()
        return False

    # --- The head

    async def _head(self, length: int | None) -> None:
        reply, script = self._reply, self._script
        fields = {"content-type": script.content_type or reply.content_type, **reply.headers, **script.headers}
        if script.encoding != "identity":
            fields["content-encoding"] = script.encoding
        if self._is_chunked:
            fields["transfer-encoding"] = "chunked"
        elif length is not None and script.framing == "keep":
            fields["content-length"] = str(length)
        if not script.keeps_alive or script.framing == "close":
            fields["connection"] = "close"
        status = f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Status')}\r\n"
        head = status + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        self._entry.status = reply.status
        await self._connection.write(head.encode("latin-1"))
        self._entry.head_after_ms = self._entry.elapsed_ms()

    # --- The body

    async def _whole(self) -> None:
        frames = list(self._reply.frames)
        body = b"".join(frame.data for frame in frames)
        if self._deflate is not None:
            body = self._deflate.compress(body) + self._deflate.flush()
        await self._head(len(body))
        limit = self._limit()
        if limit is not None and limit < len(body):
            await self._pieces(body[:limit])
            return
        await self._pieces(body, frames, is_last=True)

    def _limit(self) -> int | None:
        """Return after how many bytes an unstreamed body breaks."""
        script = self._script
        if script.fault is None:
            return None
        return script.fault_after_bytes if script.fault_after_bytes is not None else 0

    async def _stream(self) -> None:
        await self._head(None)
        script = self._script
        if script.first_chunk_delay_ms:
            await self._connection.pause(script.first_chunk_delay_ms)
        frames = iter(self._reply.frames)
        if script.joins_frames:
            await self._send(list(frames))
        else:
            for frame in frames:
                if self._is_broken():
                    return
                await self._send([frame])
                if script.chunk_delay_ms:
                    await self._connection.pause(script.chunk_delay_ms)
        if not self._is_broken():
            await self._end()

    def _is_broken(self) -> bool:
        script, entry = self._script, self._entry
        if script.fault is None:
            return False
        if script.fault_after_frames is not None and entry.frames_sent >= script.fault_after_frames:
            return True
        return script.fault_after_bytes is not None and entry.bytes_sent >= script.fault_after_bytes

    async def _send(self, frames: list[Frame]) -> None:
        data = b"".join(frame.data for frame in frames)
        if self._deflate is not None:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        limit = self._script.fault_after_bytes
        if self._script.fault is not None and limit is not None and self._entry.bytes_sent + len(data) > limit:
            await self._pieces(data[: limit - self._entry.bytes_sent])
            return
        await self._pieces(data, frames)

    async def _end(self) -> None:
        if self._deflate is not None:
            await self._pieces(self._deflate.flush())
        self._connection.require_peer()
        self._entry.is_complete = True
        if self._is_chunked:
            await self._connection.write(b"0\r\n\r\n")

    async def _pieces(self, data: bytes, frames: Iterable[Frame] = (), *, is_last: bool = False) -> None:
        """Write bytes of the body, in one piece or as many as the script wants; with the last go `frames`.

        The journal is written before the bytes are, so that whoever has read them finds it up to date.
        """
        step = max(1, self._script.write_bytes or len(data))
        for at in range(0, max(1, len(data)), step):
            piece = data[at : at + step]
            self._connection.require_peer()
            self._entry.bytes_sent += len(piece)
            if at + step >= len(data):
                self._count(frames)
                self._entry.is_complete = is_last
            if piece:
                await self._connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece)
            if self._script.write_bytes:
                # Give the peer a chance to read each piece by itself.
                await asyncio.sleep(0)

    def _count(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self._entry.frames_sent += 1
            self._entry.tokens_served += frame.tokens
