"""What a provider can make the gateway hold."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from providers.errors import BadAnswer
from providers.http.inflate import Inflater
from providers.types import Timeouts

MIB = 1024 * 1024


async def flood(peer, head, pieces):
    await peer.request()
    await peer.send(head)
    for piece in pieces:
        peer.writer.write(piece)
        await peer.writer.drain()
    await peer.reader.read()


def held(answer):
    return sum(len(piece) for piece in answer.pieces)


async def test_an_unread_answer_pauses_the_provider(upstream, pool, post):
    total = 32 * MIB

    async def script(peer):
        await flood(peer, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total, [b"x" * 65_536] * (total // 65_536))

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    await asyncio.sleep(0.2)
    assert 0 < held(answer) <= 768 * 1024
    received = 0
    while piece := await answer.read():
        received += len(piece)
        assert len(piece) <= 768 * 1024
    assert received == total
    assert pool.stats().idle == 1


async def test_an_unread_answer_of_tiny_chunks_is_bounded_too(upstream, pool, post):
    count = 1_000_000

    async def script(peer):
        await flood(peer, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", [b"1\r\nx\r\n" * 10_000] * 100)

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    await asyncio.sleep(0.2)
    assert 0 < len(answer.pieces) < 60_000
    received = 0
    while received < count:
        received += len(await answer.read())
    answer.close()


async def test_an_answer_left_while_paused_gives_back_a_connection_that_reads(upstream, pool, post):
    async def script(peer):
        for size in (300_000, 5):
            await peer.request()
            await peer.ok(b"x" * size)
        await peer.reader.read()

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    async with asyncio.timeout(10):
        while not answer.is_complete:  # noqa: ASYNC110 - the loop's own events change it
            await asyncio.sleep(0.002)
    answer.close()
    assert pool.stats().idle == 1
    again = await pool.send(post(server.url), timeouts=Timeouts(first_token_s=5))
    assert await again.read_all() == b"xxxxx"
    assert server.opened == 1


@pytest.mark.parametrize("framing", ["length", "chunks", "end"])
async def test_an_answer_over_its_limit_is_cut(framing, upstream, pool, post):
    async def script(peer):
        if framing == "length":
            await flood(peer, b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n", [b"x" * 90_000] * 10)
        elif framing == "chunks":
            await flood(
                peer,
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                [b"3e8\r\n" + b"x" * 1000 + b"\r\n"] * 900,
            )
        else:
            await flood(peer, b"HTTP/1.1 200 OK\r\n\r\n", [b"x" * 90_000] * 10)

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    with pytest.raises(BadAnswer) as caught:
        await answer.read_all(limit_bytes=500_000)
    assert caught.value.code == "upstream_too_large"
    assert pool.stats().active == pool.stats().idle == 0
    await server.quiet()


async def test_an_answer_at_its_limit_is_whole(upstream, pool, post):
    async def script(peer):
        await peer.request()
        await peer.ok(b"x" * 1000)
        await peer.request()
        await peer.ok(b"x" * 1001)
        await peer.reader.read()

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    assert len(await answer.read_all(limit_bytes=1000)) == 1000
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    with pytest.raises(BadAnswer):
        await answer.read_all(limit_bytes=1000)


def bomb(coding, size):
    if coding == "gzip":
        return gzip.compress(bytes(size), compresslevel=9, mtime=0)
    return zlib.compress(bytes(size), level=9)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_costs_no_memory(coding, upstream, pool, post):
    packed = bomb(coding, 64 * MIB)

    async def script(peer):
        await peer.request()
        await peer.ok(packed, extra=b"content-encoding: %b\r\n" % coding.encode())
        await peer.reader.read()

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    tracemalloc.start()
    try:
        with pytest.raises(BadAnswer) as caught:
            await answer.read_all(limit_bytes=4 * MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "upstream_too_large"
    assert peak < 10 * MIB


async def test_a_bomb_that_is_streamed_comes_in_bounded_pieces(upstream, pool, post):
    packed = bomb("gzip", 16 * MIB)

    async def script(peer):
        await peer.request()
        await peer.ok(packed, extra=b"content-encoding: gzip\r\n")
        await peer.reader.read()

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    received = 0
    while piece := await answer.read():
        assert len(piece) <= 256 * 1024
        received += len(piece)
    assert received == 16 * MIB
    assert answer.at_end


@pytest.mark.parametrize(
    "line", [b"x-a: " + b"y" * 500 + b"\r\n", b"y" * 1000, b"HTTP/1.1 102 X\r\n\r\n", b"\r\n" * 500], ids=str
)
async def test_a_head_without_end_is_cut(line, upstream, pool, post):
    async def script(peer):
        start = b"" if line.startswith((b"HTTP", b"\r")) else b"HTTP/1.1 200 OK\r\n"
        await flood(peer, start, [line] * 100_000)

    server = await upstream(script)
    with pytest.raises(BadAnswer):
        await pool.send(post(server.url), timeouts=Timeouts(first_token_s=20))
    assert pool.stats().active == 0
    await server.quiet()


def test_a_piece_that_is_just_full_hides_nothing():
    for size in range(262_144 - 3, 262_144 + 300):
        inflater = Inflater("gzip")
        inflater.feed(gzip.compress(bytes(size), mtime=0))
        received = 0
        while piece := inflater.take():
            received += len(piece)
        inflater.finish()
        assert received == size
