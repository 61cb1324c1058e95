"""When a connection lives on, when it dies, and what a request on a dead one does."""

import asyncio
from ipaddress import ip_address

import pytest

from providers.errors import ConnectFailed, ProviderTimedOut, StreamInterrupted
from providers.http import Network, Pool, PoolLimits
from providers.http.connection import Connection
from providers.http.resolver import Resolver
from providers.types import Timeouts

QUICK = Timeouts(connect_s=5, first_token_s=5, idle_s=5)


async def serving(peer):
    while True:
        await peer.ok(await peer.request())


async def fetch(pool, request):
    answer = await pool.send(request, timeouts=QUICK)
    try:
        return await answer.read_all()
    finally:
        answer.close()


async def drained(pool, *, idle):
    """Wait until the pool has heard of what happened to its idle connections."""
    async with asyncio.timeout(10):
        while pool.stats().idle != idle:  # noqa: ASYNC110 - the loop's own events change it
            await asyncio.sleep(0.002)


async def test_one_connection_serves_request_after_request(upstream, pool, post):
    server = await upstream(serving)
    for number in range(20):
        assert await fetch(pool, post(server.url, b"%d" % number)) == b"%d" % number
    assert server.opened == 1
    assert pool.stats().idle == 1


async def test_the_connection_used_last_is_used_first(upstream, pool, post):
    async def script(peer):
        while True:
            await peer.request()
            await peer.ok(b"%d" % peer.number)

    server = await upstream(script)
    answers = [await pool.send(post(server.url), timeouts=QUICK) for _ in range(3)]
    bodies = [await answer.read_all() for answer in answers]
    assert bodies == [b"1", b"2", b"3"]
    assert [await fetch(pool, post(server.url)) for _ in range(3)] == [b"3"] * 3


async def test_an_answer_that_is_whole_but_unread_keeps_its_connection(upstream, pool, post):
    server = await upstream(serving)
    first = await pool.send(post(server.url, b"first"), timeouts=QUICK)
    await asyncio.sleep(0.02)
    assert first.is_complete
    assert pool.stats().idle == 0
    assert await fetch(pool, post(server.url, b"second")) == b"second"
    assert server.opened == 2
    assert await first.read_all() == b"first"
    assert pool.stats().idle == 2


async def test_closing_a_whole_answer_unread_gives_the_connection_back(upstream, pool, post):
    server = await upstream(serving)
    answer = await pool.send(post(server.url), timeouts=QUICK)
    await asyncio.sleep(0.02)
    answer.close()
    answer.close()
    assert pool.stats().idle == 1


async def test_closing_half_an_answer_cuts_the_connection_at_once(upstream, pool, post):
    gone = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        assert await peer.reader.read() == b""
        gone.set()

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=QUICK)
    assert await answer.read() == b"half"
    answer.close()
    assert pool.stats().active == pool.stats().idle == 0
    await asyncio.wait_for(gone.wait(), 5)
    with pytest.raises(StreamInterrupted):
        await answer.read()


async def test_a_waiting_reader_wakes_when_its_answer_is_closed(upstream, pool, post):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        await peer.request()

    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=QUICK)
    reading = asyncio.ensure_future(answer.read())
    await asyncio.sleep(0.01)
    answer.close()
    with pytest.raises(StreamInterrupted):
        await asyncio.wait_for(reading, 5)


async def test_an_idle_connection_that_the_provider_closes_leaves_the_pool(upstream, pool, post):
    async def script(peer):
        await peer.ok(await peer.request())

    server = await upstream(script)
    assert await fetch(pool, post(server.url)) == b"{}"
    await drained(pool, idle=0)
    assert await fetch(pool, post(server.url)) == b"{}"


@pytest.mark.parametrize("junk", [b"x", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n", b"\r\n"])
async def test_bytes_on_an_idle_connection_end_it(junk, upstream, pool, post):
    async def script(peer):
        await peer.ok(await peer.request())
        await asyncio.sleep(0.01)
        await peer.send(junk)
        await peer.request()

    server = await upstream(script)
    await fetch(pool, post(server.url))
    await drained(pool, idle=0)
    assert await fetch(pool, post(server.url, b"next")) == b"next"
    assert server.opened == 2


async def test_a_kept_connection_that_dies_unheard_is_replaced_once(upstream, pool, post):
    async def script(peer):
        await peer.ok(await peer.request())
        if peer.number == 1:
            await peer.request()
            peer.cut()
        else:
            await serving(peer)

    server = await upstream(script)
    await fetch(pool, post(server.url))
    assert await fetch(pool, post(server.url, b"again")) == b"again"
    assert server.opened == 2
    (origin,) = pool.stats().origins.values()
    assert origin.retried == 1
    assert origin.active == 0


async def test_the_replacement_is_a_new_connection_even_when_others_are_idle(upstream, pool, post):
    dying = asyncio.Event()

    async def script(peer):
        await peer.ok(await peer.request())
        if peer.number <= 3:
            await peer.request()
            dying.set()
            peer.cut()
        await serving(peer)

    server = await upstream(script)
    answers = [await pool.send(post(server.url), timeouts=QUICK) for _ in range(3)]
    for answer in answers:
        await answer.read_all()
    assert pool.stats().idle == 3
    assert await fetch(pool, post(server.url, b"again")) == b"again"
    assert dying.is_set()
    assert server.opened == 4


async def test_a_replacement_that_dies_too_is_an_error(upstream, pool, post):
    requests = []

    async def script(peer):
        if peer.number == 1:
            await peer.ok(await peer.request())
        requests.append(await peer.request())
        peer.cut()

    server = await upstream(script)
    await fetch(pool, post(server.url))
    with pytest.raises(StreamInterrupted, match="before it answered"):
        await fetch(pool, post(server.url))
    assert len(requests) == 2


async def test_a_new_connection_that_dies_is_not_tried_again(upstream, pool, post):
    async def script(peer):
        await peer.request()
        peer.cut()

    server = await upstream(script)
    with pytest.raises(StreamInterrupted):
        await fetch(pool, post(server.url))
    assert server.opened == 1


@pytest.mark.parametrize("heard", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n"])
async def test_a_kept_connection_that_answered_a_byte_is_not_tried_again(heard, upstream, pool, post):
    async def script(peer):
        await peer.ok(await peer.request())
        await peer.request()
        await peer.send(heard)
        await asyncio.sleep(0.01)
        peer.writer.close()

    server = await upstream(script)
    await fetch(pool, post(server.url))
    with pytest.raises(StreamInterrupted):
        await fetch(pool, post(server.url))
    assert server.opened == 1


async def test_a_timeout_on_a_kept_connection_is_not_tried_again(upstream, pool, post):
    async def script(peer):
        await peer.ok(await peer.request())
        await peer.request()
        await peer.request()

    server = await upstream(script)
    await fetch(pool, post(server.url))
    with pytest.raises(ProviderTimedOut):
        await pool.send(post(server.url), timeouts=Timeouts(first_token_s=0.05))
    assert server.opened == 1


async def test_idle_connections_expire(upstream, post):
    pool = Pool(limits=PoolLimits(idle_expiry_s=0.05))
    server = await upstream(serving)
    await fetch(pool, post(server.url))
    assert pool.stats().idle == 1
    await drained(pool, idle=0)
    await server.quiet()
    await pool.aclose()


async def test_use_puts_the_expiry_off(upstream, post):
    pool = Pool(limits=PoolLimits(idle_expiry_s=2))
    server = await upstream(serving)
    connection = None
    for _ in range(3):
        await fetch(pool, post(server.url))
        (origin,) = pool._origins.values()
        (connection,) = origin.idle
        connection._on_timer()  # as if the timer had been set for an earlier deadline
        assert pool.stats().idle == 1
    assert server.opened == 1
    await pool.aclose()


async def test_no_more_than_max_idle_are_kept(upstream, post):
    pool = Pool(limits=PoolLimits(max_idle=2))
    server = await upstream(serving)
    answers = [await pool.send(post(server.url), timeouts=QUICK) for _ in range(5)]
    for answer in answers:
        await answer.read_all()
    assert pool.stats().idle == 2
    await pool.aclose()


async def test_origins_do_not_share_connections(upstream, pool, post):
    servers = [await upstream(serving) for _ in range(3)]
    for server in servers:
        await fetch(pool, post(server.url))
    assert [server.opened for server in servers] == [1, 1, 1]
    assert len(pool.stats().origins) == 3


async def test_max_connections_makes_requests_wait_their_turn(upstream, post):
    pool = Pool(limits=PoolLimits(max_connections=3))
    server = await upstream(serving)
    bodies = await asyncio.gather(*(fetch(pool, post(server.url, b"%d" % n)) for n in range(60)))
    assert bodies == [b"%d" % n for n in range(60)]
    assert server.opened == 3
    assert pool.stats().active == 0
    await pool.aclose()


async def test_waiting_for_a_connection_ends_with_the_connect_timeout(upstream, post):
    pool = Pool(limits=PoolLimits(max_connections=1))
    server = await upstream(serving)
    held = await pool.send(post(server.url), timeouts=QUICK)
    with pytest.raises(ProviderTimedOut) as caught:
        await pool.send(post(server.url), timeouts=Timeouts(connect_s=0.05))
    assert caught.value.phase == "connect"
    assert pool.stats().active == 1
    held.close()
    assert pool.stats().active == 0
    assert await fetch(pool, post(server.url, b"free")) == b"free"
    await pool.aclose()


async def test_a_place_freed_by_a_cut_connection_goes_to_who_waits(upstream, post):
    pool = Pool(limits=PoolLimits(max_connections=1))

    async def script(peer):
        await peer.request()
        if peer.number == 1:
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
            await peer.request()
        await peer.ok(b"second")

    server = await upstream(script)
    held = await pool.send(post(server.url), timeouts=QUICK)
    waiting = asyncio.ensure_future(fetch(pool, post(server.url)))
    await asyncio.sleep(0.01)
    held.close()
    assert await waiting == b"second"
    await pool.aclose()


async def test_a_stale_connection_is_replaced_even_when_the_origin_is_full(upstream, post):
    pool = Pool(limits=PoolLimits(max_connections=1))

    async def script(peer):
        await peer.ok(await peer.request())
        if peer.number == 1:
            await peer.request()
            peer.cut()
        else:
            await serving(peer)

    server = await upstream(script)
    await fetch(pool, post(server.url))
    assert await fetch(pool, post(server.url, b"x")) == b"x"
    assert pool.stats().active == 0
    await pool.aclose()


async def test_a_turn_passes_on_when_who_had_it_leaves(upstream, post):
    pool = Pool(limits=PoolLimits(max_connections=1))
    server = await upstream(serving)
    held = await pool.send(post(server.url), timeouts=QUICK)
    await held.read_all()
    held = await pool.send(post(server.url), timeouts=QUICK)
    leaving = asyncio.ensure_future(fetch(pool, post(server.url, b"leaving")))
    staying = asyncio.ensure_future(fetch(pool, post(server.url, b"staying")))
    await asyncio.sleep(0.01)
    assert pool.stats().active == 3
    await held.read_all()  # wakes the first of the two
    leaving.cancel()
    assert await asyncio.wait_for(staying, 5) == b"staying"
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert pool.stats().active == 0
    await pool.aclose()


async def test_a_connection_that_is_not_made_leaves_its_place_to_who_waits(upstream, post):
    asked = asyncio.Event()

    async def lookup(_host):
        if not asked.is_set():
            asked.set()
            await asyncio.sleep(0.01)
            raise OSError
        return (ip_address("127.0.0.1"),)

    pool = Pool(limits=PoolLimits(max_connections=1), network=Network(resolver=Resolver(lookup=lookup)))
    server = await upstream(serving)
    url = server.url.replace("127.0.0.1", "api.test")
    failing = asyncio.ensure_future(fetch(pool, post(url)))
    await asked.wait()
    waiting = asyncio.ensure_future(fetch(pool, post(url, b"waiting")))
    with pytest.raises(ConnectFailed):
        await failing
    assert await asyncio.wait_for(waiting, 3) == b"waiting"
    await pool.aclose()


async def test_an_upload_to_a_full_origin_takes_the_place_of_an_idle_connection(upstream, post):
    async def chunks():
        yield b"ab"
        yield b""
        yield b"cd"

    pool = Pool(limits=PoolLimits(max_connections=1))
    server = await upstream(serving)
    await fetch(pool, post(server.url))
    answer = await pool.upload(post(server.url), chunks(), length_bytes=None, timeouts=QUICK)
    assert await answer.read_all() == b"abcd"
    assert server.opened == 2
    await pool.aclose()


async def test_a_connection_made_after_it_was_cut_is_closed(bench):
    line = bench()
    await line.settle()
    line.exchange.cancel()
    await line.settle()
    assert not line.origin.open
    connection = Connection(line.origin, loop=asyncio.get_running_loop())
    connection.abort()
    wire = type(line.wire)(asyncio.get_running_loop(), connection)
    connection.connection_made(wire)
    assert wire.is_cut
    assert not line.origin.open


async def test_the_end_of_an_idle_connection_takes_it_out_before_its_socket_closes(bench):
    line = bench()
    await line.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    (await line.exchange).close()
    assert line.connection in line.origin.idle
    line.connection.eof_received()
    assert not line.origin.idle
    await line.end()


async def test_closing_the_pool_ends_what_is_under_way(upstream, post):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
        await peer.request()

    pool = Pool(limits=PoolLimits(max_connections=1))
    server = await upstream(script)
    answer = await pool.send(post(server.url), timeouts=QUICK)
    reading = asyncio.ensure_future(answer.read())
    waiting = asyncio.ensure_future(pool.send(post(server.url), timeouts=QUICK))
    await asyncio.sleep(0.01)
    await pool.aclose()
    with pytest.raises(StreamInterrupted):
        await reading
    with pytest.raises(ConnectFailed):
        await waiting
    with pytest.raises(ConnectFailed):
        await pool.send(post(server.url), timeouts=QUICK)
    await server.quiet()
    assert pool.stats().active == pool.stats().idle == 0


async def test_an_early_answer_is_heard_and_its_connection_not_kept(upstream, pool, post):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.ok(b"too much")
        await asyncio.sleep(5)

    server = await upstream(script)
    answer = await pool.send(post(server.url, b"x" * 16_000_000), timeouts=QUICK)
    assert await answer.read_all() == b"too much"
    assert pool.stats().idle == pool.stats().active == 0


async def test_a_large_request_arrives_whole(upstream, pool, post):
    async def script(peer):
        while True:
            body = await peer.request()
            await peer.ok(b"%d" % sum(body))

    server = await upstream(script)
    for size in (65_535, 65_536, 65_537, 8_000_000):
        body = bytes(range(256)) * (size // 256) + b"\x01" * (size % 256)
        assert await fetch(pool, post(server.url, body)) == b"%d" % sum(body)
    assert server.opened == 1


async def test_small_segments_are_not_delayed(upstream, pool, post):
    server = await upstream(serving)
    await fetch(pool, post(server.url))
    (origin,) = pool._origins.values()
    (connection,) = origin.idle
    sock = connection._transport.get_extra_info("socket")
    assert sock.getsockopt(6, 1) != 0  # IPPROTO_TCP, TCP_NODELAY


async def test_unused_origins_are_forgotten(upstream, pool, post):
    server = await upstream(serving)
    await fetch(pool, post(server.url))
    for number in range(600):
        pool._encode(post(f"http://tenant-{number}.test/"))
    assert len(pool._origins) <= 512
    assert await fetch(pool, post(server.url, b"still")) == b"still"
    assert server.opened == 1
