"""A call cancelled at any await leaves nothing: no active connection, no half-read one, no waiter."""

import asyncio

from providers.errors import ProviderError
from providers.http import Network, Pool, PoolLimits
from providers.types import Timeouts

QUICK = Timeouts(connect_s=10, first_token_s=10, idle_s=10)


async def dribbling(peer):
    """Answer in many small segments."""
    while True:
        body = await peer.request()
        await peer.send(b"HTTP/1.1 ", b"200 OK\r\n", b"transfer-encoding: ", b"chunked\r\n", b"\r\n")
        for byte in body:
            await peer.send(b"1\r\n", bytes((byte,)), b"\r\n")
        await peer.send(b"0\r\n", b"\r\n")


async def fetch(pool, request):
    answer = await pool.send(request, timeouts=QUICK)
    try:
        return await answer.read_all()
    finally:
        answer.close()


async def cancel_after(ticks, work):
    """Run `work` for so many turns of the loop, cancel it, and say whether it had ended before."""
    task = asyncio.ensure_future(work)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except (asyncio.CancelledError, ProviderError):
        return False
    return True


async def sweep(pool, server, post, work, *, most=400):
    """Cancel `work` after 0, 1, 2, … turns until it ends by itself; the pool must be whole each time."""
    done = 0
    for ticks in range(most):
        done += await cancel_after(ticks, work(b"canary-%d" % ticks))
        assert pool.stats().active == 0, ticks
        assert await fetch(pool, post(server.url, b"control-%d" % ticks)) == b"control-%d" % ticks
        if done >= 3:
            break
    assert done >= 3, "the sweep never reached the end of the exchange"
    await pool.aclose()
    await server.quiet()


async def test_on_new_connections(upstream, pool, post):
    server = await upstream(dribbling)

    async def work(canary):
        for origin in pool._origins.values():
            while connection := origin.take():
                connection.abort()
        assert await fetch(pool, post(server.url, canary)) == canary

    await sweep(pool, server, post, work)


async def test_on_kept_connections(upstream, pool, post):
    server = await upstream(dribbling)

    async def work(canary):
        assert await fetch(pool, post(server.url, canary)) == canary

    await sweep(pool, server, post, work)


async def test_on_kept_connections_that_are_dead(upstream, pool, post):
    async def script(peer):
        await dribbling_once(peer)
        if peer.number % 2:
            await peer.request()
            peer.cut()
        await dribbling(peer)

    async def dribbling_once(peer):
        await peer.ok(await peer.request())

    server = await upstream(script)

    async def work(canary):
        assert await fetch(pool, post(server.url, canary)) == canary

    await sweep(pool, server, post, work)


async def test_while_a_name_is_looked_up(upstream, post):
    server = await upstream(dribbling)
    pool = Pool(network=Network())

    async def work(canary):
        pool._network._resolver._answers.clear()
        for origin in pool._origins.values():
            while connection := origin.take():
                connection.abort()
        assert await fetch(pool, post(server.url.replace("127.0.0.1", "localhost"), canary)) == canary

    await sweep(pool, server, post, work, most=3000)


async def test_while_waiting_for_a_place(upstream, post):
    server = await upstream(dribbling)
    pool = Pool(limits=PoolLimits(max_connections=1))

    async def work(canary):
        first, second = await asyncio.gather(
            fetch(pool, post(server.url, canary)), fetch(pool, post(server.url, canary + b"!"))
        )
        assert (first, second) == (canary, canary + b"!")

    await sweep(pool, server, post, work, most=1000)


async def test_while_a_large_request_is_written(upstream, pool, post):
    async def script(peer):
        while True:
            body = await peer.request()
            await peer.ok(body[:20])

    server = await upstream(script)

    async def work(canary):
        body = canary.ljust(20) + bytes(3_000_000)
        assert await fetch(pool, post(server.url, body)) == canary.ljust(20)

    await sweep(pool, server, post, work, most=2000)


async def test_while_a_body_is_uploaded(upstream, pool, post):
    async def script(peer):
        while True:
            await peer.ok(await peer.request())

    server = await upstream(script)

    async def chunks(canary):
        for byte in canary:
            yield bytes((byte,))
            await asyncio.sleep(0)

    async def work(canary):
        answer = await pool.upload(post(server.url), chunks(canary), length_bytes=None, timeouts=QUICK)
        try:
            assert await answer.read_all() == canary
        finally:
            answer.close()

    await sweep(pool, server, post, work)


async def test_while_tls_is_agreed(upstream, post, authority):
    server = await upstream(dribbling, ssl=authority.server("127.0.0.1"))
    server.scheme = "https"
    pool = Pool(network=Network(ca_files={server.url: authority.path}))

    async def work(canary):
        for origin in pool._origins.values():
            while connection := origin.take():
                connection.abort()
        assert await fetch(pool, post(server.url, canary)) == canary

    await sweep(pool, server, post, work, most=1500)
