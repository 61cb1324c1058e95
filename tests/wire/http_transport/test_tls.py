"""TLS is verified, under the name that was asked for, and there is no way around it."""

from ipaddress import ip_address

import pytest

from providers.errors import ConnectFailed, StreamInterrupted
from providers.http import Network, Pool
from providers.http.resolver import Resolver
from providers.types import Timeouts

QUICK = Timeouts(connect_s=10, first_token_s=10, idle_s=10)


async def serving(peer):
    while True:
        await peer.ok(await peer.request())


async def here(_host):
    return (ip_address("127.0.0.1"),)


@pytest.fixture
async def secure(upstream, authority):
    """Serve a name over TLS and return its URL with a pool that trusts our authority there."""
    pools = []

    async def start(script=serving, *, certified="api.test", asked="api.test", days=2, is_trusted=True):
        server = await upstream(script, ssl=authority.server(certified, days=days))
        url = f"https://{asked}:{server.port}/v1"
        ca_files = {url: authority.path} if is_trusted else {}
        pool = Pool(network=Network(ca_files=ca_files, resolver=Resolver(lookup=here)))
        pools.append(pool)
        return pool, url, server

    yield start
    for pool in pools:
        await pool.aclose()


async def test_a_verified_provider_is_used_and_its_connection_kept(secure, post):
    pool, url, server = await secure()
    for size in (2, 100_000, 3_000_000):
        answer = await pool.send(post(url, b"x" * size), timeouts=QUICK)
        assert len(await answer.read_all()) == size
    assert server.opened == 1


async def test_an_address_can_be_the_name(secure, post):
    pool, url, _ = await secure(certified="127.0.0.1", asked="127.0.0.1")
    answer = await pool.send(post(url), timeouts=QUICK)
    assert await answer.read_all() == b"{}"


@pytest.mark.parametrize(
    "setting",
    [{"certified": "other.test"}, {"days": -1}, {"is_trusted": False}],
    ids=["another host", "expired", "unknown authority"],
)
async def test_a_provider_that_cannot_prove_itself_is_refused(setting, secure, post):
    pool, url, server = await secure(**setting)
    with pytest.raises(ConnectFailed) as caught:
        await pool.send(post(url), timeouts=QUICK)
    assert caught.value.code == "upstream_tls_error"
    assert pool.stats().active == pool.stats().idle == 0
    await server.quiet()


async def test_a_provider_without_tls_is_refused(upstream, pool, post):
    async def script(peer):
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await upstream(script)
    with pytest.raises(ConnectFailed) as caught:
        await pool.send(post(server.url.replace("http:", "https:")), timeouts=QUICK)
    assert caught.value.code in {"upstream_tls_error", "upstream_unreachable"}


async def test_a_missing_authority_file_is_a_tls_error(post):
    pool = Pool(network=Network(ca_files={"https://api.test": "/nonexistent/ca.pem"}))
    with pytest.raises(ConnectFailed) as caught:
        await pool.send(post("https://api.test/"), timeouts=QUICK)
    assert caught.value.code == "upstream_tls_error"


async def test_an_answer_cut_within_tls_is_interrupted(secure, post):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        peer.cut()

    pool, url, _ = await secure(script)
    answer = await pool.send(post(url), timeouts=QUICK)
    assert await answer.read() == b"abc"
    with pytest.raises(StreamInterrupted):
        await answer.read()
    assert pool.stats().active == 0


async def test_an_unread_answer_over_tls_pauses_the_provider(secure, post):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 16000000\r\n\r\n")
        for _ in range(160):
            await peer.send(bytes(100_000))
        await peer.reader.read()

    pool, url, _ = await secure(script)
    answer = await pool.send(post(url), timeouts=QUICK)
    received = 0
    while piece := await answer.read():
        assert len(piece) < 2_000_000
        received += len(piece)
    assert received == 16_000_000
    assert pool.stats().idle == 1
