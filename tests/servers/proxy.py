"""Faultline: a TCP proxy that breaks what passes through it, changed at run time.

Law: counts begin when faults are armed, over all connections of that direction, so that "after the next 100 bytes"
means the next 100, whatever passed before.
"""

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_RESET = struct.pack("ii", 1, 0)
_READ_BYTES = 65536
_HOLD_POLL_S = 0.01


@dataclass(slots=True)
class Faults:
    """What happens to one direction from the moment that this object is put in place.

    `delay_ms` waits before each piece is passed on. `is_held` passes nothing on until it is lifted, as a network that
    comes back. After so many bytes more: `drop_after_bytes` swallows the rest for good (the peer waits in vain),
    `close_after_bytes` ends and `reset_after_bytes` resets both sides. `corrupt_after_bytes` flips every bit from
    there on. `piece_bytes` passes on at most so many bytes at once.
    """

    delay_ms: int = 0
    is_held: bool = False
    drop_after_bytes: int | None = None
    close_after_bytes: int | None = None
    reset_after_bytes: int | None = None
    corrupt_after_bytes: int | None = None
    piece_bytes: int | None = None
    passed_bytes: int = field(default=0, init=False)


class _Severed(Exception):
    """The faults end the connection here."""

    def __init__(self, *, by_reset: bool) -> None:
        super().__init__()
        self.by_reset = by_reset


class TcpProxy:
    """Listens on a port of its own and passes everything on to one server, but for the faults.

    Assign to `up` (client to server) and `down` (server to client) at any time and from any thread; `heal` undoes all.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.up = Faults()
        self.down = Faults()
        self.refuses = False
        """Whether new connections are reset at once."""
        self.accepted = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._links: set[_Link] = set()

    async def start(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def aclose(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
        links = list(self._links)
        for link in links:
            link.cut(by_reset=True)
        await asyncio.gather(*(link.ended.wait() for link in links))

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def url(self, original: str) -> str:
        """Return `original`, the server's URL, with this proxy's address in place of the server's."""
        parts = urlsplit(original)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self.port}"))

    @property
    def connections(self) -> int:
        """How many connections pass through now."""
        return len(self._links)

    def heal(self) -> None:
        """Let everything pass again."""
        self.up, self.down, self.refuses = Faults(), Faults(), False

    def sever(self) -> None:
        """Reset every connection that is open now."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._sever)

    def _sever(self) -> None:
        for link in list(self._links):
            link.cut(by_reset=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refuses:
            _abort(writer)
            return
        try:
            upstream = await asyncio.open_connection(*self._target)
        except OSError:
            _abort(writer)
            return
        link = _Link(self, client=(reader, writer), server=upstream)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


_Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One connection and its other half."""

    def __init__(self, proxy: TcpProxy, *, client: _Pair, server: _Pair) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._tasks: list[asyncio.Task[None]] = []
        self._by_reset = False
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Pass bytes both ways until either side, or a fault, ends it."""
        self._tasks = [
            asyncio.ensure_future(self._pump(self._client[0], self._server[1], direction="up")),
            asyncio.ensure_future(self._pump(self._server[0], self._client[1], direction="down")),
        ]
        try:
            await asyncio.gather(*self._tasks)
        except _Severed as severed:
            self._by_reset = severed.by_reset
        except (OSError, asyncio.CancelledError):
            self._by_reset = True
        finally:
            await self._finish()

    def cut(self, *, by_reset: bool) -> None:
        """End the connection from outside."""
        self._by_reset = by_reset
        for task in self._tasks:
            task.cancel()

    async def _finish(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, writer in (self._client, self._server):
            if self._by_reset:
                _abort(writer)
            else:
                writer.close()
        self.ended.set()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, direction: str) -> None:
        while True:
            await self._held(direction)
            data = await reader.read(_READ_BYTES)
            if not data:
                break
            await self._pass(data, writer, direction=direction)
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()

    def _faults(self, direction: str) -> Faults:
        return self._proxy.up if direction == "up" else self._proxy.down

    async def _held(self, direction: str) -> None:
        # Faults are assigned from other threads, where an event could not be set.
        while self._faults(direction).is_held:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_HOLD_POLL_S)

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, *, direction: str) -> None:
        if delay_ms := self._faults(direction).delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        await self._held(direction)
        faults = self._faults(direction)
        step = faults.piece_bytes or len(data)
        for piece in (data[at : at + step] for at in range(0, len(data), step)):
            treated, end = _treat(piece, faults=faults)
            writer.write(treated)
            await writer.drain()
            if end is not None:
                raise end
            if faults.piece_bytes:
                await asyncio.sleep(0)


def _treat(data: bytes, *, faults: Faults) -> tuple[bytes, _Severed | None]:
    """Return what is passed on of `data`, and how the connection ends after it, if it does."""
    start = faults.passed_bytes
    faults.passed_bytes += len(data)
    if faults.corrupt_after_bytes is not None:
        sound = max(0, faults.corrupt_after_bytes - start)
        data = data[:sound] + bytes(byte ^ 0xFF for byte in data[sound:])
    if faults.drop_after_bytes is not None:
        return data[: max(0, faults.drop_after_bytes - start)], None
    for limit, by_reset in ((faults.reset_after_bytes, True), (faults.close_after_bytes, False)):
        if limit is not None and start + len(data) >= limit:
            return data[: max(0, limit - start)], _Severed(by_reset=by_reset)
    return data, None


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    handle = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


_numbers = itertools.count(1)


@contextlib.contextmanager
def proxy_in_thread(host: str, port: int) -> Iterator[TcpProxy]:
    """Run a proxy on a loop of its own."""
    proxy = TcpProxy(host, port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"faultline-{next(_numbers)}", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(timeout=10)
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.aclose(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
