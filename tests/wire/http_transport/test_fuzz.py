"""Whatever a provider sends, a caller sees an answer or a `ProviderError`, the same at every split, and no hang."""

import asyncio
import gzip
import itertools
import random

import pytest

from providers.errors import ProviderError

SEEDS = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{"object":"chat"}',
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n7;ext=1\r\n [DONE]\r\n0\r\nx-sum: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\nno",
    b"HTTP/1.0 500 Oops\r\nserver: x\r\n\r\n<html></html>",
    b"HTTP/1.1 204 No Content\r\nconnection: keep-alive\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 31\r\n\r\n" + gzip.compress(b"hello fuzz", mtime=0),
    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-encoding: deflate\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
)
WORDS = (
    b"\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b":",
    b"chunked",
    b"content-length: 3\r\n",
    b"transfer-encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"\x00",
    b"\xff",
    b"content-encoding: gzip\r\n",
    b"upgrade: h2c\r\nconnection: upgrade\r\n",
    b"ffffffff\r\n",
    b"-1",
    b"connection: close\r\n",
    b" ",
    b"\t",
)


def mutated(rng):
    """Return bytes that were an answer once."""
    data = rng.choice(SEEDS)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.randrange(12))
        fate = rng.randrange(6)
        if fate == 0:
            data = data[:at] + rng.choice(WORDS) + data[at:]
        elif fate == 1:
            data = data[:at] + data[end:]
        elif fate == 2:
            data = data[:at] + data[at:end] * rng.randrange(2, 5) + data[end:]
        elif fate == 3:
            data = data[:at] + rng.randbytes(end - at) + data[end:]
        elif fate == 4:
            data = data[:at]
        else:
            data += rng.choice(SEEDS)
    return data


def cut(rng, data):
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(8)))
    bounds = [0, *cuts, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]


async def seen_by_caller(exchange):
    seen = []
    try:
        answer = await exchange
        seen += [answer.status, answer.headers]
        body = []
        try:
            while piece := await answer.read():
                body.append(piece)
        finally:
            seen.append(b"".join(body))
            answer.close()
    except ProviderError as error:
        if seen and answer.inflater is not None:
            seen.pop()  # how much zlib tells before it meets the damage depends on what it was fed
        seen.append((type(error).__name__, error.code))
    return seen


async def judged(bench, method, parts):
    line = bench(method)
    seeing = asyncio.ensure_future(seen_by_caller(line.exchange))
    await line.feed(*parts)
    await line.end()
    async with asyncio.timeout(5):
        seen = await seeing
    assert not line.origin.open
    assert not line.origin.idle
    assert line.connection.answer is None
    return seen


async def rounds(bench, count, seed):
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        data = mutated(rng)
        method = rng.choice(("POST", "POST", "POST", "HEAD"))
        whole = await judged(bench, method, [data] if data else [])
        parts = cut(rng, data)
        assert await judged(bench, method, parts) == whole, (seed, number, data, parts)


async def test_damaged_answers_are_answers_or_errors(bench):
    await rounds(bench, 2500, "short")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(8))
async def test_damaged_answers_are_answers_or_errors_for_long(seed, bench):
    await rounds(bench, 60_000, seed)
