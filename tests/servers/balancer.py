"""What stands before servers: a TCP load balancer, round robin over those that say that they are ready, and TLS.

Law: the balancer knows nothing of HTTP but the probe, and never retries what it has begun to pass on: a connection that
a server breaks is broken for the client.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

_PROBE_EVERY_S = 0.1
_PROBE_WITHIN_S = 0.5
_READ_BYTES = 65_536
_READY = b" 200 "


class Balancer:
    """Listens on a port of its own and passes each connection to one of the servers on `ports`."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.port = 0
        self.passed = dict.fromkeys(ports, 0)
        """How many connections each server was given."""
        self.ready: set[int] = set()
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._probing: asyncio.Task[None] | None = None

    async def start(self) -> Self:
        """Listen on a free port of 127.0.0.1, having asked all servers once."""
        await self._probe_all()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self._probing = asyncio.ensure_future(self._keep_probing())
        return self

    async def aclose(self) -> None:
        """Stop listening."""
        if self._probing is not None:
            self._probing.cancel()
        if self._server is not None:
            self._server.close()

    async def _keep_probing(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_EVERY_S)
            await self._probe_all()

    async def _probe_all(self) -> None:
        await asyncio.gather(*map(self._probe, self.passed))

    async def _probe(self, port: int) -> None:
        status = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PROBE_WITHIN_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(b"GET /readyz HTTP/1.1\r\nhost: balancer\r\nconnection: close\r\n\r\n")
                    status = await reader.readline()
                finally:
                    writer.transport.abort()
        if _READY in status:
            self.ready.add(port)
        else:
            self.ready.discard(port)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the next ready server, or to another one if it refuses; raises `OSError` if all do."""
        self._turn += 1
        ports = sorted(self.passed, key=lambda port: port not in self.ready)
        ready = ports[: len(self.ready)] or ports
        start = self._turn % len(ready)
        failure: OSError | None = None
        for port in [*ready[start:], *ready[:start], *ports[len(ready) :]]:
            try:
                opened = await asyncio.open_connection("127.0.0.1", port)
            except OSError as error:
                failure = error
            else:
                self.passed[port] += 1
                return opened
        raise failure or OSError

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        await join((reader, writer), (up_reader, up_writer))


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join(one: Ends, other: Ends) -> None:
    """Pass on what comes on either connection until one ends, and end the other like it."""
    try:
        await asyncio.gather(_pass(one[0], other[1]), _pass(other[0], one[1]))
    finally:
        for _, writer in (one, other):
            writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until its end, or break as it breaks."""
    try:
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.close()
    except OSError:
        writer.transport.abort()


@contextlib.contextmanager
def loop_in_thread(name: str) -> Iterator[asyncio.AbstractEventLoop]:
    """Run a loop in a thread of its own; at the end all that still runs on it is cancelled."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)


@contextlib.contextmanager
def balancer_in_thread(ports: Sequence[int]) -> Iterator[Balancer]:
    """Run a balancer on a loop of its own."""
    balancer = Balancer(ports)
    with loop_in_thread("balancer") as loop:
        asyncio.run_coroutine_threadsafe(balancer.start(), loop).result(timeout=10)
        try:
            yield balancer
        finally:
            asyncio.run_coroutine_threadsafe(balancer.aclose(), loop).result(timeout=10)


@contextlib.contextmanager
def tls_in_thread(port: int, contexts: Mapping[str, ssl.SSLContext]) -> Iterator[dict[str, int]]:
    """Run a server for each context that ends TLS and passes on to `port`; yield their ports by the contexts' names."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join((reader, writer), await asyncio.open_connection("127.0.0.1", port))

    async def start() -> dict[str, asyncio.Server]:
        return {name: await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls) for name, tls in contexts.items()}

    with loop_in_thread("tls") as loop:
        servers = asyncio.run_coroutine_threadsafe(start(), loop).result(timeout=10)
        try:
            yield {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
        finally:
            for server in servers.values():
                loop.call_soon_threadsafe(server.close)
