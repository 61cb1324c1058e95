"""Every phase has its clock, and only its own."""

import asyncio
import time

import pytest

from providers.errors import ConnectFailed, ProviderTimedOut
from providers.http import Network, Pool
from providers.http.resolver import Resolver
from providers.types import Timeouts

LATE_S = 3.0
"""How late a clock may ring on a loaded machine."""


async def timed_out(operation, *, phase, after_s):
    begun = time.monotonic()
    with pytest.raises(ProviderTimedOut) as caught:
        await operation
    took_s = time.monotonic() - begun
    assert caught.value.phase == phase
    assert after_s - 0.02 <= took_s < after_s + LATE_S


async def silent(peer):
    await peer.reader.read()


async def test_the_head_comes_in_first_token_time(upstream, pool, post):
    server = await upstream(silent)
    sending = pool.send(post(server.url), timeouts=Timeouts(connect_s=9, first_token_s=0.1, idle_s=9))
    await timed_out(sending, phase="first_token", after_s=0.1)
    assert pool.stats().active == 0
    await server.quiet()


async def test_informational_answers_do_not_put_the_clock_off(upstream, pool, post):
    async def script(peer):
        await peer.request()
        for _ in range(10):
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0.05)
        await silent(peer)

    server = await upstream(script)
    await timed_out(
        pool.send(post(server.url), timeouts=Timeouts(first_token_s=0.2, idle_s=9)), phase="first_token", after_s=0.2
    )


async def test_the_body_comes_in_idle_time(upstream, pool, post):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        await silent(peer)

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts(first_token_s=9, idle_s=0.1))
    assert await answer.read() == b"abc"
    await timed_out(answer.read(), phase="idle", after_s=0.1)
    assert pool.stats().active == 0
    await server.quiet()


async def test_framing_without_content_does_not_put_the_idle_clock_off(upstream, pool, post):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.02)

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts(first_token_s=9, idle_s=0.2))
    await timed_out(answer.read(), phase="idle", after_s=0.2)


async def test_the_idle_clock_starts_anew_with_each_read(upstream, pool, post):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.1)
            await peer.send(b"x")
        await silent(peer)

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts(first_token_s=0.3, idle_s=0.6))
    assert await answer.read_all() == b"xxxxxxxx"


async def test_a_reader_that_takes_its_time_is_not_the_providers_fault(upstream, pool, post):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nabcd")
        await asyncio.sleep(0.3)
        await peer.send(b"efgh")
        await silent(peer)

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts(first_token_s=0.1, idle_s=0.1))
    await asyncio.sleep(0.25)
    assert await answer.read() == b"abcd"
    assert await answer.read() == b"efgh"


async def test_a_cancelled_read_loses_nothing(upstream, pool, post):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n")
        for number in range(20):
            await asyncio.sleep(0.005)
            await peer.send(b"%02d" % number)
        await silent(peer)

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    body = b""
    while not answer.at_end:
        try:
            body += await asyncio.wait_for(answer.read(), 0.001)
        except TimeoutError:
            continue
    assert body == b"".join(b"%02d" % number for number in range(20))
    assert pool.stats().idle == 1


async def test_a_provider_that_takes_nothing_is_a_write_timeout(upstream, pool, post):
    async def script(_peer):
        await asyncio.sleep(30)

    server = await upstream(script)
    sending = pool.send(post(server.url, b"x" * 32_000_000), timeouts=Timeouts(first_token_s=30, idle_s=0.2))
    await timed_out(sending, phase="write", after_s=0.2)
    assert pool.stats().active == 0


async def test_a_provider_that_takes_slowly_is_waited_for(upstream, pool, post):
    async def script(peer):
        received = 0
        while received < 32_000_000:
            received += len(await peer.reader.read(1_000_000))
            await asyncio.sleep(0.005)
        await peer.ok()

    server = await upstream(script, limit=1_000_000)
    answer = await pool.send(post(server.url, b"x" * 32_000_000), timeouts=Timeouts(first_token_s=9, idle_s=0.15))
    assert await answer.read_all() == b"ok"


async def test_the_first_token_clock_starts_when_the_request_is_written(upstream, pool, post):
    async def script(peer):
        received = 0
        while received < 16_000_000:
            received += len(await peer.reader.read(1_000_000))
            await asyncio.sleep(0.02)
        await silent(peer)

    server = await upstream(script, limit=1_000_000)
    begun = time.monotonic()
    with pytest.raises(ProviderTimedOut) as caught:
        await pool.send(post(server.url, b"x" * 16_000_000), timeouts=Timeouts(first_token_s=0.1, idle_s=9))
    assert caught.value.phase == "first_token"
    assert time.monotonic() - begun > 0.12


async def test_connecting_includes_the_name(post):
    async def lookup(_host):
        await asyncio.sleep(30)
        return ()

    pool = Pool(network=Network(resolver=Resolver(lookup=lookup)))
    await timed_out(
        pool.send(post("http://slow.test/"), timeouts=Timeouts(connect_s=0.1)), phase="connect", after_s=0.1
    )
    assert pool.stats().active == 0
    await pool.aclose()


async def test_connecting_includes_tls(upstream, pool, post):
    server = await upstream(silent)
    url = server.url.replace("http:", "https:")
    await timed_out(pool.send(post(url), timeouts=Timeouts(connect_s=0.3)), phase="connect", after_s=0.3)
    assert pool.stats().active == 0
    await server.quiet()


async def test_a_refused_connection_is_unreachable(pool, post, unused_tcp_port):
    with pytest.raises(ConnectFailed) as caught:
        await pool.send(post(f"http://127.0.0.1:{unused_tcp_port}/"), timeouts=Timeouts())
    assert caught.value.code == "upstream_unreachable"
    assert pool.stats().active == 0
