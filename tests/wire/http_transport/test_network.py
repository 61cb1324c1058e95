"""Names, addresses and which of them may be connected to."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from providers.errors import ConnectFailed, ProviderTimedOut
from providers.http import Network, Pool, PublicOnly, anything
from providers.http.resolver import Resolver
from providers.types import Timeouts

REFUSED = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.1.2.3",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "4000::1",
]
ALLOWED = ["1.1.1.1", "8.8.8.8", "104.18.7.192", "2606:4700::6812:7c0", "2a00:1450:4001:80b::200e"]


@pytest.mark.parametrize("text", REFUSED)
def test_only_public_addresses_refuse(text):
    assert not PublicOnly()(ip_address(text))
    assert anything(ip_address(text))


@pytest.mark.parametrize("text", ALLOWED)
def test_public_addresses_are_allowed(text):
    assert PublicOnly()(ip_address(text))


def test_named_private_ranges_are_allowed_and_no_more():
    policy = PublicOnly(["10.2.0.0/16", "fd12::/32"])
    assert policy(ip_address("10.2.3.4"))
    assert policy(ip_address("fd12::1"))
    assert policy(ip_address("8.8.8.8"))
    assert not policy(ip_address("10.3.0.1"))
    assert not policy(ip_address("::ffff:10.2.3.4"))
    with pytest.raises(ValueError, match="host bits"):
        PublicOnly(["10.2.3.4/16"])


class Names:
    """A resolver's other end: scripted answers, counted questions, a clock that is moved."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0
        self.now_s = 1000.0
        self.resolver = Resolver(lookup=self.lookup, now_s=lambda: self.now_s)

    async def lookup(self, _host):
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.sleep(3600)
        return tuple(ip_address(text) for text in answer)


async def ask(names):
    return [str(address) for address in await names.resolver.addresses("api.test")]


async def test_an_answer_is_fresh_for_a_minute():
    names = Names(["1.1.1.1"], ["2.2.2.2"])
    assert await ask(names) == ["1.1.1.1"]
    names.now_s += 59
    assert await ask(names) == ["1.1.1.1"]
    assert names.asked == 1
    names.now_s += 2
    assert await ask(names) == ["2.2.2.2"]


@pytest.mark.parametrize("failure", [OSError("down"), socket.gaierror(-3, "again"), UnicodeError("label"), [], None])
async def test_a_stale_answer_serves_for_five_minutes_while_the_resolver_fails(failure):
    names = Names(["1.1.1.1"], failure)
    await ask(names)
    names.now_s += 299
    assert await ask(names) == ["1.1.1.1"]
    names.resolver.close()
    await asyncio.sleep(0)
    names.now_s += 2
    names.answers = [OSError("down")]
    with pytest.raises(ConnectFailed) as caught:
        await ask(names)
    assert caught.value.code == "upstream_unreachable"


async def test_many_askers_are_one_question():
    names = Names(["1.1.1.1"])
    assert await asyncio.gather(*(ask(names) for _ in range(50))) == [["1.1.1.1"]] * 50
    assert names.asked == 1


async def test_an_asker_that_leaves_takes_no_one_with_it():
    names = Names(["1.1.1.1"])
    asking = [asyncio.ensure_future(ask(names)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert await asyncio.gather(*asking[1:]) == [["1.1.1.1"]] * 2
    with pytest.raises(asyncio.CancelledError):
        await asking[0]


async def test_an_address_is_not_asked_for():
    names = Names(OSError("never"))
    assert await names.resolver.addresses("127.0.0.1") == (ip_address("127.0.0.1"),)
    assert await names.resolver.addresses("::1") == (ip_address("::1"),)
    assert names.asked == 0


async def test_the_system_resolver_knows_localhost():
    assert ip_address("127.0.0.1") in await Resolver().addresses("localhost")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".test", "a..b"])
async def test_a_name_that_does_not_resolve_is_unreachable(host, pool, post):
    with pytest.raises(ConnectFailed) as caught:
        await pool.send(post(f"http://{host}/"), timeouts=Timeouts(connect_s=20))
    assert caught.value.code == "upstream_unreachable"


async def serving(peer):
    while True:
        await peer.ok(await peer.request())


async def send(names, server, post, *, allow=anything, timeouts=None):
    pool = Pool(network=Network(allow=allow, resolver=names.resolver))
    try:
        answer = await pool.send(post(f"http://api.test:{server.port}/"), timeouts=timeouts or Timeouts())
        return await answer.read_all()
    finally:
        assert pool.stats().active == 0
        await pool.aclose()


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["::1"]])
async def test_a_name_with_any_refused_address_is_blocked(addresses, upstream, post):
    server = await upstream(serving)
    with pytest.raises(ConnectFailed) as caught:
        await send(Names(addresses), server, post, allow=PublicOnly())
    assert caught.value.code == "upstream_address_blocked"
    assert server.opened == 0


async def test_a_name_that_is_rebound_is_blocked_at_its_next_connect(upstream, post):
    server = await upstream(serving)
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    pool = Pool(network=Network(allow=PublicOnly(["127.0.0.1/32"]), resolver=names.resolver))
    answer = await pool.send(post(f"http://api.test:{server.port}/"), timeouts=Timeouts())
    await answer.read_all()
    names.now_s += 61
    held = [await pool.send(post(f"http://api.test:{server.port}/"), timeouts=Timeouts())]
    with pytest.raises(ConnectFailed) as caught:
        await pool.send(post(f"http://api.test:{server.port}/"), timeouts=Timeouts())
    assert caught.value.code == "upstream_address_blocked"
    held[0].close()
    await pool.aclose()


async def test_a_literal_address_is_judged_too(upstream, post):
    server = await upstream(serving)
    pool = Pool(network=Network(allow=PublicOnly()))
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"):
        with pytest.raises(ConnectFailed) as caught:
            await pool.send(post(f"http://{host}:{server.port}/"), timeouts=Timeouts())
        assert caught.value.code == "upstream_address_blocked"
    await pool.aclose()


async def test_the_next_address_is_tried_when_one_refuses(upstream, post):
    server = await upstream(serving)
    assert await send(Names(["127.0.0.2", "127.0.0.3", "127.0.0.1"]), server, post) == b"{}"


async def test_the_next_address_is_tried_when_one_is_silent(upstream, post):
    server = await upstream(serving)
    with silent_listener("127.0.0.2", server.port):
        names = Names(["127.0.0.2", "127.0.0.1"])
        assert await send(names, server, post, timeouts=Timeouts(connect_s=2)) == b"{}"


async def test_silence_everywhere_is_a_connect_timeout(upstream, post):
    server = await upstream(serving)
    with silent_listener("127.0.0.2", server.port), pytest.raises(ProviderTimedOut) as caught:
        await send(Names(["127.0.0.2"]), server, post, timeouts=Timeouts(connect_s=0.3))
    assert caught.value.phase == "connect"


class silent_listener:  # noqa: N801 - used as a function
    """Listens with a full backlog, so that connects are neither accepted nor refused."""

    def __init__(self, host, port):
        self.listener = socket.socket()
        self.listener.bind((host, port))
        self.listener.listen(0)
        self.clients = []

    def __enter__(self):
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(self.listener.getsockname())
            self.clients.append(client)

    def __exit__(self, *_):
        for sock in (self.listener, *self.clients):
            sock.close()


async def test_the_environment_names_no_proxy(monkeypatch, upstream, pool, post):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = await upstream(serving)
    answer = await pool.send(post(server.url), timeouts=Timeouts())
    assert await answer.read_all() == b"{}"
