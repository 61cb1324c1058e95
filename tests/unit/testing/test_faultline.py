import asyncio
import time
from collections.abc import Iterator

import asyncpg
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError
from servers import postgres
from servers.proxy import Faults, TcpProxy


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def proxy():
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with TcpProxy(*server.sockets[0].getsockname()[:2]) as proxy:
        yield proxy
    server.close()


@pytest.fixture
async def link(proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.transport.abort()


@pytest.fixture
def redis_proxy(tcp_proxy, redis_url):
    return tcp_proxy(redis_url)


@pytest.fixture
def client(redis_proxy, redis_url) -> Iterator[Redis]:
    with Redis.from_url(redis_proxy.url(redis_url), socket_timeout=0.4, retry=None) as client:
        yield client


async def _roundtrip(link, data: bytes, *, size: int | None = None) -> bytes:
    reader, writer = link
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(size or len(data)), 10)


async def test_it_passes_everything_in_both_directions(link):
    data = bytes(range(256)) * 4096
    assert await _roundtrip(link, data) == data


async def test_it_passes_the_end_on(link):
    reader, writer = link
    writer.write(b"last words")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 10) == b"last words"


async def test_it_delays(link, proxy):
    proxy.down = Faults(delay_ms=120)
    began = time.monotonic()
    await _roundtrip(link, b"x")
    assert time.monotonic() - began >= 0.12


async def test_what_is_held_arrives_when_it_is_lifted(link, proxy):
    proxy.down = Faults(is_held=True)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_roundtrip(link, b"later"), 0.1)
    proxy.heal()
    assert await asyncio.wait_for(link[0].readexactly(5), 10) == b"later"


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_bytes_are_dropped_after_a_count_from_now(link, proxy, direction):
    await _roundtrip(link, b"before")
    setattr(proxy, direction, Faults(drop_after_bytes=3))
    assert await _roundtrip(link, b"abcdef", size=3) == b"abc"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(link[0].read(1), 0.1)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_connection_is_reset_after_a_count(link, proxy, direction):
    setattr(proxy, direction, Faults(reset_after_bytes=3))
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await _roundtrip(link, b"abcdef")


async def test_a_connection_is_closed_after_a_count(link, proxy):
    proxy.down = Faults(close_after_bytes=3)
    link[1].write(b"abcdef")
    assert await asyncio.wait_for(link[0].read(), 10) == b"abc"


async def test_bytes_are_corrupted_after_a_count(link, proxy):
    proxy.down = Faults(corrupt_after_bytes=2)
    assert await _roundtrip(link, b"ab\x00\xff") == b"ab\xff\x00"


async def test_pieces_are_small_if_wanted(link, proxy):
    proxy.down = Faults(piece_bytes=1)
    assert await _roundtrip(link, b"abc" * 50) == b"abc" * 50


async def test_it_refuses_and_severs(link, proxy):
    await _roundtrip(link, b"x")
    assert proxy.connections == 1
    proxy.sever()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(link[0].read(1), 10)
    proxy.refuses = True
    reader, _ = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), 10)
    assert proxy.accepted == 2


async def test_a_server_that_is_gone_is_a_reset():
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()
    async with TcpProxy(*address) as proxy:
        reader, _ = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 10)


def test_a_lost_reply_of_redis_is_an_applied_command(client, redis_proxy, redis_server):
    client.incr("n")
    redis_proxy.down = Faults(drop_after_bytes=0)
    with pytest.raises(RedisTimeoutError):
        client.incr("n")
    assert redis_server.execute("GET", "n") == "2"
    redis_proxy.heal()
    assert client.incr("n") == 3


def test_a_reset_and_a_garbled_reply_of_redis_are_errors(client, redis_proxy):
    client.ping()
    redis_proxy.down = Faults(reset_after_bytes=0)
    with pytest.raises(RedisConnectionError):
        client.ping()
    redis_proxy.down = Faults(corrupt_after_bytes=0)
    with pytest.raises((InvalidResponse, RedisConnectionError)):
        client.ping()


async def test_a_held_postgres_times_out(tcp_proxy, database_url):
    proxy = tcp_proxy(database_url)
    connection = await asyncpg.connect(postgres.dsn(proxy.url(database_url)))
    assert await connection.fetchval("SELECT 1") == 1
    proxy.down = Faults(is_held=True)
    with pytest.raises(TimeoutError):
        await connection.fetchval("SELECT 1", timeout=0.2)
    proxy.heal()
    connection.terminate()
