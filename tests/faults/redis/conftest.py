"""What breaks Redis: a private server, a scripted one, and a proxy that delays, drops, cuts and resets."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Self

import hiredis
import pytest
import uvloop
from servers.redis import RedisProcess
from servers.redis_cluster import RedisCluster

from app.stores.redis.cluster import ClusterConnection
from app.stores.redis.connection import HotConnection
from app.stores.redis.endpoint import fixed
from app.stores.url import parse_url

BOTH_LOOPS = {"test_hot_faults.py", "test_hot_cancellation.py", "test_hot_reach.py", "test_cluster_redirections.py"}
GREETING = (b"HELLO", b"SELECT", b"PING", b"INFO")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Break the connection on both loops that it runs on: their timers, writes and aborts differ."""
    factories = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return factories if item.path.name in BOTH_LOOPS else {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def _private_redis() -> Iterator[RedisProcess]:
    server = RedisProcess.launch(durable=True)
    yield server
    server.close()


@pytest.fixture
def private_redis(_private_redis: RedisProcess) -> Iterator[RedisProcess]:
    """A Redis (AOF everysec) that a test may kill, stop and wipe; whole and empty again for the next one."""
    _private_redis.flush()
    yield _private_redis
    with contextlib.suppress(Exception):
        _private_redis.resume()
    if not _private_redis._process.is_alive:
        _private_redis.start()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., HotConnection]]:
    """Make hot connections that are closed in the end."""
    opened: list[HotConnection] = []

    def make(url: str, *, timeout_s: float = 0.25) -> HotConnection:
        opened.append(HotConnection(fixed(parse_url(url)), timeout_s=timeout_s))
        return opened[-1]

    yield make
    for connection in opened:
        await connection.aclose()


@dataclass
class Peer:
    """One client of the scripted server."""

    writer: asyncio.StreamWriter

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Answer = Callable[[Peer, list[bytes]], Awaitable[None]]


class Listener:
    """A server on a free port of 127.0.0.1 whose handlers end with it."""

    def __init__(self) -> None:
        self.port = 0
        self._handlers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def open(self, tls: ssl.SSLContext | None = None) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        if self._handlers:
            await asyncio.wait(self._handlers)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handlers.add(asyncio.current_task())
        try:
            await self.serve(reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class ScriptedServer(Listener):
    """Greets like Redis, or as `greet` says; `answer` says what happens to every other command."""

    def __init__(self, answer: Answer, *, greet: Answer | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.greet = greet or greet_like_redis
        self.connections = 0
        self.commands: list[list[bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer, parser = Peer(writer), hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                if command[0] in GREETING:
                    await self.greet(peer, command)
                else:
                    self.commands.append(command)
                    await self.answer(peer, command)


async def greet_like_redis(peer: Peer, command: list[bytes]) -> None:
    replies = {b"HELLO": b"*0\r\n", b"PING": b"+PONG\r\n", b"INFO": b"$16\r\n\r\nrun_id:abc\r\n..\r\n"}
    await peer.write(replies.get(command[0], b"+OK\r\n"))


class Proxy(Listener):
    """A proxy before Redis: `delay_s` holds replies back, `is_deaf` swallows them, `cut` resets everybody."""

    def __init__(self, upstream_port: int, *, delay_s: float = 0.0) -> None:
        super().__init__()
        self.upstream_port = upstream_port
        self.delay_s = delay_s
        self.is_deaf = False
        self.forwarded_bytes = 0
        self._clients: list[Peer] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.append(Peer(writer))
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._requests(reader, up_writer))
                pumps.create_task(self._replies(up_reader, writer))
        except* ConnectionError:
            pass
        finally:
            up_writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
            self.forwarded_bytes += len(data)
        writer.close()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await asyncio.sleep(self.delay_s)
            if not self.is_deaf:
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Reset every client."""
        for client in self._clients:
            client.reset()
        self._clients.clear()


@pytest.fixture
async def listeners() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def scripted(listeners) -> Callable[..., Awaitable[ScriptedServer]]:
    """Start scripted servers."""

    async def start(answer: Answer, *, greet: Answer | None = None) -> ScriptedServer:
        server = await ScriptedServer(answer, greet=greet).open()
        listeners.push_async_callback(server.close)
        return server

    return start


@pytest.fixture
def proxied(listeners) -> Callable[..., Awaitable[Proxy]]:
    """Start proxies before a port of 127.0.0.1."""

    async def start(upstream_port: int, *, delay_s: float = 0.0, tls: ssl.SSLContext | None = None) -> Proxy:
        proxy = await Proxy(upstream_port, delay_s=delay_s).open(tls)
        listeners.push_async_callback(proxy.close)
        return proxy

    return start


@pytest.fixture(scope="module")
def _private_cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster.launch()
    yield cluster
    cluster.close()


@pytest.fixture
def private_cluster(_private_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """A cluster (AOF everysec) whose nodes and slots a test may break and move; whole and empty for the next one."""
    _private_cluster.flush()
    yield _private_cluster
    for node in _private_cluster.primaries:
        with contextlib.suppress(Exception):
            node.resume()
        if not node._process.is_alive:
            node.start()
    _private_cluster.wait_whole()


@pytest.fixture
async def connect_cluster() -> AsyncIterator[Callable[..., ClusterConnection]]:
    """Make connections to clusters that are closed in the end."""
    opened: list[ClusterConnection] = []

    def make(url: str, *, timeout_s: float = 0.25, refresh_s: float = 30.0) -> ClusterConnection:
        opened.append(ClusterConnection(parse_url(url), timeout_s=timeout_s, refresh_s=refresh_s))
        return opened[-1]

    yield make
    for connection in opened:
        await connection.aclose()
