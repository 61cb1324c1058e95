"""Scripted upstreams for the transport: raw sockets on both of the event loops that we run on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httptools
import pytest
import uvloop
from servers.certificates import Authority

from providers.http import Pool
from providers.http.connection import Connection
from providers.http.origin import Origin
from providers.http.request import encode_head, origin_of
from providers.types import Timeouts, UpstreamRequest

Script = Callable[["Peer"], Awaitable[None]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        self.message_done = False
        self.body = bytearray()
        self.url = b""

    async def request(self) -> bytes:
        """Read one request and return its body; raises `EOFError` when the client is gone."""
        self.message_done, self.body, self.url = False, bytearray(), b""
        parser = httptools.HttpRequestParser(self)
        while not self.message_done:
            data = await self.reader.read(65_536)
            if not data:
                raise EOFError
            parser.feed_data(data)
        return bytes(self.body)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.message_done = True

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def ok(self, body: bytes = b"ok", *, extra: bytes = b"") -> None:
        await self.send(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (extra, len(body), body))

    def cut(self) -> None:
        self.writer.transport.abort()


class Upstream:
    """A raw TCP server that runs its script on each connection."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.opened = 0
        self.peers: set[Peer] = set()
        self.port = 0
        self.scheme = "http"
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/v1/chat"

    async def start(self, **options) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, **options)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def quiet(self) -> None:
        """Wait until no client is connected."""
        async with asyncio.timeout(10):
            while self.peers:  # noqa: ASYNC110 - the peers end by themselves
                await asyncio.sleep(0.002)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.opened += 1
        peer = Peer(reader, writer, self.opened)
        self.peers.add(peer)
        try:
            await self.script(peer)
        except (EOFError, ConnectionError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self.peers.discard(peer)
            writer.close()


class Wire(asyncio.Transport):
    """A transport that keeps what is written and closes when told to: the split tests feed its protocol by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.loop = loop
        self.protocol = protocol
        self.written = b""
        self.is_cut = False
        self.is_paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces) -> None:
        self.written += b"".join(pieces)

    def is_closing(self) -> bool:
        return self.is_cut

    def abort(self) -> None:
        if not self.is_cut:
            self.is_cut = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Bench:
    """One connection on a `Wire`, and an exchange on it."""

    def __init__(self, method: str = "POST") -> None:
        loop = asyncio.get_running_loop()
        request = UpstreamRequest(method=method, url="http://upstream.test/", headers=())
        key = origin_of(request.url)
        self.origin = Origin(key, max_idle=8, max_connections=None, idle_expiry_s=60)
        self.connection = Connection(self.origin, loop=loop)
        self.wire = Wire(loop, self.connection)
        self.connection.connection_made(self.wire)
        head = encode_head(request, origin=key)
        self.exchange = asyncio.ensure_future(self.connection.exchange(head, b"", timeouts=Timeouts()))

    async def feed(self, *parts: bytes) -> None:
        await asyncio.sleep(0)
        for part in parts:
            if self.wire.is_cut:
                return
            self.connection.data_received(part)
            await asyncio.sleep(0)
        await self.settle()

    async def settle(self) -> None:
        """Let the reader do all that it can."""
        for _ in range(6):
            await asyncio.sleep(0)

    async def end(self) -> None:
        if not self.wire.is_cut:
            self.connection.eof_received()
            self.wire.abort()
        await self.settle()


@pytest.fixture
async def upstream() -> AsyncIterator[Callable[..., Awaitable[Upstream]]]:
    """Start an upstream that runs a script on each connection."""
    async with AsyncExitStack() as stack:

        async def start(script: Script, **options) -> Upstream:
            server = Upstream(script)
            await server.start(**options)
            stack.push_async_callback(server.stop)
            return server

        yield start


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool with its defaults, closed after the test."""
    pool = Pool()
    yield pool
    await pool.aclose()


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def post() -> Callable[..., UpstreamRequest]:
    """Make a POST request."""

    def make(url: str, body: bytes = b"{}", *, method: str = "POST", headers=()) -> UpstreamRequest:
        return UpstreamRequest(method=method, url=url, headers=tuple(headers), body=body)

    return make


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
