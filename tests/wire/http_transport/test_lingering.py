"""A stream that said its terminator gives its connection back, although the end of its body comes a moment later."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from providers.http import Pool
from providers.types import Timeouts, UpstreamRequest

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"e\r\ndata: [DONE]\n\n\r\n"
END = b"0\r\n\r\n"


class Server:
    """Answers each request with the scripted writes, waiting for `go` before the last."""

    def __init__(self) -> None:
        self.connections = 0
        self.go = asyncio.Event()
        self.ending = END

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(HEAD + DONE)
                await self.go.wait()
                writer.write(self.ending)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    scripted = Server()
    listening = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    yield scripted, f"http://127.0.0.1:{port}"
    scripted.go.set()
    listening.close()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool()
    yield made
    await made.aclose()


async def finish_one(pool: Pool, url: str) -> None:
    request = UpstreamRequest(method="GET", url=f"{url}/stream", headers=())
    answer = await pool.send(request, timeouts=Timeouts())
    assert b"[DONE]" in await answer.read()
    answer.finish()
    answer.finish()


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110 - the loop's own events change it
            await asyncio.sleep(0.01)


async def test_the_connection_is_used_again_once_the_end_has_come(server: tuple[Server, str], pool: Pool):
    scripted, url = server
    await finish_one(pool, url)
    assert (pool.stats().idle, pool.stats().active) == (0, 1), "not free before its end has come"
    scripted.go.set()
    await until(lambda: pool.stats().idle == 1)
    await finish_one(pool, url)
    await until(lambda: pool.stats().idle == 1)
    assert scripted.connections == 1


async def test_an_end_that_does_not_come_costs_the_connection(server: tuple[Server, str], pool: Pool):
    _, url = server
    await finish_one(pool, url)
    await until(lambda: pool.stats().active == 0)
    assert pool.stats().idle == 0


async def test_more_than_an_end_costs_the_connection(server: tuple[Server, str], pool: Pool):
    scripted, url = server
    scripted.ending = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    await finish_one(pool, url)
    scripted.go.set()
    await until(lambda: pool.stats().active == 0)
    assert pool.stats().idle == 0
