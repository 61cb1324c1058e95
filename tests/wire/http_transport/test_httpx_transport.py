"""The pool behind httpx's interface does what httpx's users expect."""

import asyncio
import gzip
import sys

import httpx
import pytest

from providers.http.transport import PoolTransport


async def serving(peer):
    while True:
        await peer.ok(await peer.request(), extra=b"x-a: 1\r\nx-a: 2\r\n")


@pytest.fixture
async def client(pool):
    async with httpx.AsyncClient(transport=PoolTransport(pool), timeout=10) as client:
        yield client


async def test_a_request_is_answered_and_its_connection_kept(upstream, pool, client):
    server = await upstream(serving)
    for number in range(3):
        response = await client.post(server.url, json={"n": number})
        assert response.status_code == 200
        assert response.json() == {"n": number}
        assert response.headers["x-a"] == "1, 2"
        assert response.http_version == "HTTP/1.1"
    assert server.opened == 1
    assert pool.stats().idle == 1


async def test_a_get_has_no_body(upstream, client):
    async def script(peer):
        head = await peer.reader.readuntil(b"\r\n\r\n")
        await peer.ok(head)
        await peer.reader.read()

    server = await upstream(script)
    head = (await client.get(server.url, params={"q": "ü x"})).text.lower()
    assert head.startswith(("get /v1/chat?q=%c3%bc%20x http/1.1\r\n", "get /v1/chat?q=%c3%bc+x http/1.1\r\n"))
    assert head.count("host:") == head.count("accept-encoding: identity") == 1
    assert "content-length" not in head
    assert "connection" not in head


async def test_an_answer_is_streamed(upstream, pool, client):
    more = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await more.wait()
        await peer.send(b"6\r\nsecond\r\n0\r\n\r\n")
        await peer.reader.read()

    server = await upstream(script)
    async with client.stream("POST", server.url) as response:
        pieces = response.aiter_raw()
        assert await anext(pieces) == b"first"
        more.set()
        assert [piece async for piece in pieces] == [b"second"]
    assert pool.stats().idle == 1


async def test_leaving_a_stream_cuts_its_connection(upstream, pool, client):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
        await peer.reader.read()

    server = await upstream(script)
    async with client.stream("GET", server.url):
        assert pool.stats().active == 1
    assert pool.stats().active == pool.stats().idle == 0


@pytest.mark.parametrize("length", [None, "30"])
async def test_a_body_is_streamed(length, upstream, client):
    async def chunks():
        for number in range(10):
            yield b"%03d" % number
            await asyncio.sleep(0)

    async def script(peer):
        await peer.ok(await peer.request())
        await peer.reader.read()

    server = await upstream(script)
    headers = {} if length is None else {"content-length": length}
    response = await client.post(server.url, content=chunks(), headers=headers)
    assert response.text == "".join(f"{number:03d}" for number in range(10))


@pytest.mark.parametrize("length", ["29", "31"])
async def test_a_streamed_body_of_another_length_is_refused(length, upstream, pool, client):
    async def chunks():
        for _ in range(10):
            yield b"abc"

    server = await upstream(serving)
    with pytest.raises(httpx.LocalProtocolError):
        await client.post(server.url, content=chunks(), headers={"content-length": length})
    assert pool.stats().active == 0
    await server.quiet()


async def test_a_streamed_body_waits_for_a_slow_provider(upstream, client):
    produced = 0

    async def chunks():
        nonlocal produced
        for _ in range(400):
            produced += 1
            yield bytes(100_000)

    async def script(peer):
        await asyncio.sleep(0.1)
        assert produced < 400
        await peer.ok(b"%d" % len(await peer.request()))
        await peer.reader.read()

    server = await upstream(script)
    response = await client.post(server.url, content=chunks())
    assert response.text == "40000000"


async def test_an_early_answer_ends_a_streamed_body(upstream, pool, client):
    async def chunks():
        for _ in range(1_000_000):
            yield bytes(1000)
            await asyncio.sleep(0)

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        while await peer.reader.read(65_536):
            pass

    server = await upstream(script)
    response = await client.post(server.url, content=chunks())
    assert response.status_code == 413
    assert pool.stats().idle == pool.stats().active == 0


async def test_an_encoded_answer_arrives_decoded(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.ok(gzip.compress(b"hello"), extra=b"content-encoding: gzip\r\n")
        await peer.reader.read()

    server = await upstream(script)
    assert (await client.get(server.url)).text == "hello"


async def test_redirects_are_httpxs_to_follow(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
        await peer.reader.read()

    server = await upstream(script)
    assert (await client.get(server.url)).status_code == 307


async def silent(peer):
    await peer.reader.read()


async def cut(peer):
    await peer.request()
    peer.cut()


async def half(peer):
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab")
    peer.writer.close()


async def stalled(peer):
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab")
    await peer.reader.read()


async def garbage(peer):
    await peer.request()
    await peer.send(b"garbage\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (silent, httpx.ReadTimeout),
        (stalled, httpx.ReadTimeout),
        (cut, httpx.ReadError),
        (half, httpx.ReadError),
        (garbage, httpx.RemoteProtocolError),
    ],
)
async def test_the_providers_failures_are_httpx_errors(script, error, upstream, pool, client):
    server = await upstream(script)
    with pytest.raises(error):
        await client.post(server.url, timeout=httpx.Timeout(10, read=0.1))
    assert pool.stats().active == 0


async def test_a_body_that_is_not_taken_is_a_write_timeout(upstream, client):
    async def script(_peer):
        await asyncio.sleep(30)

    server = await upstream(script)
    with pytest.raises(httpx.WriteTimeout):
        await client.post(server.url, content=bytes(32_000_000), timeout=httpx.Timeout(0.2))


async def test_no_connection_is_a_connect_error(client, unused_tcp_port, upstream):
    with pytest.raises(httpx.ConnectError):
        await client.get(f"http://127.0.0.1:{unused_tcp_port}/")
    server = await upstream(silent)
    with pytest.raises(httpx.ConnectTimeout):
        await client.get(server.url.replace("http:", "https:"), timeout=httpx.Timeout(10, connect=0.1))


async def test_a_request_without_timeouts_is_sent(upstream, pool):
    server = await upstream(serving)
    async with httpx.AsyncClient(transport=PoolTransport(pool), timeout=None) as client:
        assert (await client.post(server.url, content=b"x")).content == b"x"


async def test_the_pool_does_not_need_httpx():
    code = "import sys, providers.http; sys.exit('httpx' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
