import asyncio
import functools

import pytest

from app.stores.errors import StoreReplyError, StoreUnavailable
from app.stores.redis.link import Link
from app.stores.redis.scripts import Script, load_script

BIG = bytes(range(256)) * 32_768  # 8 MiB


def nested(depth: int) -> str:
    return "return " + "{1," * depth + "'x'" + "}" * depth


def expected_nest(depth: int) -> object:
    return functools.reduce(lambda inner, _: [1, inner], range(depth), b"x")


REPLIES = [
    (("PING",), b"PONG"),
    (("ECHO", "grüße"), "grüße".encode()),
    (("ECHO", b"\x00\r\n\xff"), b"\x00\r\n\xff"),
    (("ECHO", ""), b""),
    (("ECHO", BIG), BIG),
    (("ECHO", -12), b"-12"),
    (("GET", "absent"), None),
    (("BLPOP", "absent", "0.001"), None),
    (("INCRBY", "n", 2**63 - 1), 2**63 - 1),
    (("EVAL", "return -1", 0), -1),
    (("EVAL", "return {}", 0), []),
    (("EVAL", "return {1, 'a', {2, {}}, false}", 0), [1, b"a", [2, []], None]),
    (("EVAL", nested(7), 0), expected_nest(7)),
    (("EVAL", "local t = {} for i = 1, 20000 do t[i] = i end return t", 0), list(range(1, 20_001))),
    (("MGET", "absent", "absent"), [None, None]),
]


@pytest.mark.parametrize(("command", "expected"), REPLIES, ids=range(len(REPLIES)))
async def test_every_reply_of_resp2_arrives(redis_url, connect, command, expected):
    hot = connect(redis_url, timeout_s=10)

    assert await hot.call(*command) == expected


async def test_an_error_reply_is_raised_with_its_code_and_the_connection_goes_on(redis_url, connect):
    hot = connect(redis_url)
    await hot.call("SET", "text", "x")

    with pytest.raises(StoreReplyError, match="not an integer") as caught:
        await hot.call("INCR", "text")

    assert caught.value.code == "ERR"
    assert await hot.call("GET", "text") == b"x"
    assert hot.statistics.connections == 1


async def test_an_error_inside_a_list_is_an_element(redis_url, connect):
    hot = connect(redis_url)
    replies = await asyncio.gather(
        hot.call("MULTI"), hot.call("SET", "a", "x"), hot.call("INCR", "a"), hot.call("EXEC")
    )

    ok, error = replies[3]
    assert ok == b"OK"
    assert isinstance(error, StoreReplyError)


async def test_a_thousand_concurrent_calls_each_get_their_own_reply(redis_url, connect):
    hot = connect(redis_url, timeout_s=10)

    replies = await asyncio.gather(*[hot.call("ECHO", number) for number in range(1000)])

    assert replies == [b"%d" % number for number in range(1000)]


async def test_a_sent_command_runs_and_its_error_counts(redis_url, connect):
    hot = connect(redis_url)
    await hot.start()

    hot.send("SET", "a", "x")
    hot.send("INCR", "a")

    assert await hot.call("GET", "a") == b"x"
    assert hot.statistics.send_errors == 1


async def test_a_command_sent_while_unconnected_is_dropped_and_counts(redis_url, connect):
    hot = connect(redis_url)

    hot.send("SET", "a", "x")

    assert hot.statistics.send_errors == 1
    assert await hot.call("GET", "a") is None


@pytest.mark.parametrize("argument", [None, ["x"], object()])
async def test_an_argument_of_a_wrong_type_harms_only_its_caller(redis_url, connect, argument):
    hot = connect(redis_url)
    await hot.start()

    with pytest.raises(TypeError):
        await hot.call("ECHO", argument)

    assert await hot.call("ECHO", "fine") == b"fine"


async def test_a_script_is_loaded_when_the_server_does_not_know_it(redis_url, redis_server, connect):
    hot = connect(redis_url)
    source = b"return {redis.call('INCR', KEYS[1]), ARGV[1]}"
    script = Script("count", source, redis_server.execute("EVAL", "return redis.sha1hex(ARGV[1])", 0, source))
    redis_server.execute("SCRIPT", "FLUSH")

    assert await hot.script(script, ("k",), ("x",)) == [1, b"x"]
    assert await hot.script(script, ("k",), ("y",)) == [2, b"y"]
    assert redis_server.execute("SCRIPT", "EXISTS", script.sha) == [1]


async def test_a_script_s_own_error_is_raised_and_nothing_runs_twice(redis_url, redis_server, connect):
    hot = connect(redis_url)
    source = b"redis.call('INCR', KEYS[1]) return redis.call('GET', 'a', 'b')"
    script = Script("bad", source, redis_server.execute("SCRIPT", "LOAD", source))

    with pytest.raises(StoreReplyError, match="Wrong number of args"):
        await hot.script(script, ("k",), ())

    assert await hot.call("GET", "k") == b"1"


@pytest.mark.parametrize("name", ["settle", "acknowledge", "lease_acquire", "lease_renew", "lease_release"])
def test_each_script_says_its_units_and_its_sha_is_what_redis_computes(redis_server, name):
    script = load_script(name)

    assert script.source.startswith(b"-- units:")
    assert redis_server.execute("SCRIPT", "LOAD", script.source) == script.sha


class Wire:
    """A transport that keeps what was written and lets a test play the server."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_aborted = False
        self.lost: list[str] = []
        self.link = Link(on_lost=lambda _, reason: self.lost.append(reason), on_send_error=lambda: None)
        self.link.connection_made(self)

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def abort(self) -> None:
        self.is_aborted = True


FAR = 1e12

CONVERSATION = [
    (b"+OK\r\n", b"OK"),
    (b":-42\r\n", -42),
    (b"$-1\r\n", None),
    (b"$0\r\n\r\n", b""),
    (b"$12\r\na\r\n$3\r\nxyz\r\n\r\n", b"a\r\n$3\r\nxyz\r\n"),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n+x\r\n", [1, [b"a", None], b"x"]),
    (b"-ERR no\r\n", "ERR no"),
    (b":9223372036854775807\r\n", 2**63 - 1),
    (b"+\r\n", b""),
]
TRANSCRIPT = b"".join(reply for reply, _ in CONVERSATION)


async def replies_of(link: Link, feed) -> list[object]:
    futures = [link.submit(b"?", FAR) for _ in CONVERSATION]
    feed()
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    return [str(outcome) if isinstance(outcome, StoreReplyError) else outcome for outcome in outcomes]


async def test_replies_do_not_depend_on_how_their_bytes_are_split():
    expected = [reply for _, reply in CONVERSATION]
    for cut in range(len(TRANSCRIPT) + 1):
        wire = Wire()

        def feed(wire: Wire = wire, cut: int = cut) -> None:
            wire.link.data_received(TRANSCRIPT[:cut])
            wire.link.data_received(TRANSCRIPT[cut:])

        assert await replies_of(wire.link, feed) == expected
        assert not wire.lost


async def test_replies_may_come_byte_by_byte():
    wire = Wire()

    def feed() -> None:
        for position in range(len(TRANSCRIPT)):
            wire.link.data_received(TRANSCRIPT[position : position + 1])

    assert await replies_of(wire.link, feed) == [reply for _, reply in CONVERSATION]


async def test_replies_split_over_a_socket_at_every_byte(scripted, connect):
    async def answer(peer, command):
        cut = int(command[1])
        await peer.write(TRANSCRIPT[:cut])
        await asyncio.sleep(0.001)
        await peer.write(TRANSCRIPT[cut:])

    hot = connect((await scripted(answer)).url, timeout_s=10)
    await hot.start()
    link = hot._link
    for cut in range(len(TRANSCRIPT) + 1):
        first = link.submit(b"*2\r\n$3\r\nCUT\r\n$%d\r\n%d\r\n" % (len(str(cut)), cut), FAR)
        rest = [link.submit(b"", FAR) for _ in CONVERSATION[1:]]
        outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [str(o) if isinstance(o, StoreReplyError) else o for o in outcomes] == [r for _, r in CONVERSATION]
    assert hot.statistics.connections == 1


async def test_all_commands_of_a_tick_leave_in_one_write():
    wire = Wire()
    for number in range(32):
        wire.link.submit(b"%d," % number, FAR)
    wire.link.post(b"end", FAR)
    assert wire.writes == []

    await asyncio.sleep(0)

    assert wire.writes == [b"".join(b"%d," % number for number in range(32)) + b"end"]


async def test_too_many_waiting_commands_are_refused_not_hoarded():
    wire = Wire()
    for _ in range(50_000):
        wire.link.submit(b"", FAR)

    with pytest.raises(StoreUnavailable, match="too many"):
        wire.link.submit(b"", FAR)
    assert not wire.link.post(b"", FAR)


async def test_commands_nobody_waits_for_are_not_hoarded_while_redis_does_not_read():
    wire = Wire()
    wire.link.pause_writing()
    assert not wire.link.post(b"", FAR)

    wire.link.resume_writing()
    assert wire.link.post(b"", FAR)


async def test_a_reply_too_large_for_memory_is_the_end_of_a_connection():
    class Reader:
        def feed(self, _):
            raise MemoryError

    wire = Wire()
    wire.link._reader = Reader()
    future = wire.link.submit(b"", FAR)

    wire.link.data_received(b"*4294967295\r\n")

    assert wire.is_aborted
    with pytest.raises(StoreUnavailable):
        await future


async def test_one_timer_serves_any_number_of_commands():
    wire = Wire()
    wire.link.submit(b"", FAR)
    timer = wire.link._timer

    for _ in range(100):
        wire.link.submit(b"", FAR)

    assert wire.link._timer is timer
