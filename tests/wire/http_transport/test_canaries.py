"""Every answer belongs to its request, whatever the others do."""

import asyncio
import random

import pytest

from providers.errors import ProviderError
from providers.types import Timeouts

QUICK = Timeouts(connect_s=10, first_token_s=10, idle_s=10)


def script_of(seed):
    rng = random.Random(seed)

    async def script(peer):
        while True:
            canary = await peer.request()
            body = canary * rng.choice((1, 3, 400))
            fate = rng.random()
            if fate < 0.03:
                peer.cut()
                return
            extra = b"connection: close\r\n" if fate < 0.06 else b""
            if (
                0.06 < fate < 0.09
            ):  # surplus in the same segment; later it would be the next request's answer, for anyone
                sent = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(canary), canary)
                await peer.send(sent + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen")
            elif fate < 0.5:
                await peer.ok(body, extra=extra)
            else:
                await peer.send(b"HTTP/1.1 200 OK\r\n" + extra + b"transfer-encoding: chunked\r\n\r\n")
                for start in range(0, len(body), 97 + len(body) // 3):
                    piece = body[start : start + 97 + len(body) // 3]
                    await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                await peer.send(b"0\r\n\r\n")
            if extra:
                return

    return script


async def ask(pool, request, rng, swaps):
    """Send one request and treat its answer as a careless or a careful caller would."""
    answer = await pool.send(request, timeouts=QUICK)
    try:
        if rng.random() < 0.2:
            await asyncio.sleep(rng.random() * 0.002)
        if rng.random() < 0.2:
            return
        body = await answer.read_all()
        if body.replace(request.body, b""):
            swaps.append((request.body, body))
    finally:
        answer.close()


async def caller(pool, requests, *, rng, swaps):
    for request in requests:
        task = asyncio.ensure_future(ask(pool, request, rng, swaps))
        if rng.random() < 0.15:
            await asyncio.sleep(rng.random() * 0.004)
            task.cancel()
        try:
            await task
        except (ProviderError, asyncio.CancelledError):
            continue


async def storm(upstream, pool, post, *, rounds, seed):
    swaps = []
    server = await upstream(script_of(seed))
    callers = []
    for number in range(64):
        requests = [post(server.url, b"<%d:%d>" % (number, turn)) for turn in range(rounds)]
        callers.append(caller(pool, requests, rng=random.Random(f"{seed}/{number}"), swaps=swaps))
    await asyncio.gather(*callers)
    stats = pool.stats()
    assert [(asked, got[:40]) for asked, got in swaps[:5]] == []
    assert stats.active == 0
    assert stats.idle <= 64
    assert server.opened < 64 * rounds  # connections were in fact shared
    await pool.aclose()
    await server.quiet()


async def test_no_answer_reaches_another_caller(upstream, pool, post):
    await storm(upstream, pool, post, rounds=100, seed=1)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(10))
async def test_no_answer_reaches_another_caller_for_long(seed, upstream, pool, post):
    await storm(upstream, pool, post, rounds=1500, seed=seed)
