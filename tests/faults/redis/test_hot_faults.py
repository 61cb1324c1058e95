import asyncio
import time

import pytest

from app.stores.errors import StoreReplyError, StoreUnavailable
from app.stores.redis.connection import HotConnection
from app.stores.redis.endpoint import fixed
from app.stores.redis.scripts import Script
from app.stores.url import parse_url

FAST_S = 0.005


async def fails_fast(hot) -> bool:
    """Whether calls fail within 5 ms: the quickest of ten, as this machine may be busy with others."""
    took = []
    for _ in range(10):
        started = time.perf_counter()
        with pytest.raises(StoreUnavailable):
            await hot.call("PING")
        took.append(time.perf_counter() - started)
    return min(took) < FAST_S


async def until_answers(hot, *, within_s: float) -> float:
    """Seconds until Redis answers again."""
    started = time.perf_counter()
    async with asyncio.timeout(within_s):
        while not await hot.ping():  # noqa: ASYNC110 - each look is a call of its own
            await asyncio.sleep(0.01)
    return time.perf_counter() - started


async def echo(peer, command):
    await peer.write(b"$%d\r\n%s\r\n" % (len(command[1]), command[1]))


def then_echo(*first):
    """An answer that plays `first`, one for each command, and echoes afterwards."""
    script = list(first)

    async def answer(peer, command):
        await (script.pop(0) if script else echo)(peer, command)

    return answer


def writes(data: bytes):
    async def answer(peer, _):
        await peer.write(data)

    return answer


async def stays_silent(_peer, _command):
    pass


async def test_a_hung_server_costs_one_timeout_and_then_fails_fast_and_comes_back(private_redis, connect):
    hot = connect(private_redis.url)
    await hot.start()
    private_redis.pause()
    started = time.perf_counter()

    outcomes = await asyncio.gather(*[hot.call("ECHO", n) for n in range(20)], return_exceptions=True)

    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert 0.24 <= time.perf_counter() - started < 2
    assert not hot.connected
    assert await fails_fast(hot)
    assert hot.statistics.hangs == 1

    private_redis.resume()
    assert await until_answers(hot, within_s=20) < 10
    assert [await hot.call("ECHO", n) for n in range(20)] == [b"%d" % n for n in range(20)]


async def test_a_killed_server_fails_what_waits_at_once_and_comes_back(private_redis, connect):
    hot = connect(private_redis.url, timeout_s=30)
    await hot.start()
    blocked = [asyncio.create_task(hot.call("BLPOP", "nothing", 0)) for _ in range(5)]
    await asyncio.sleep(0.05)

    private_redis.kill()

    outcomes = await asyncio.wait_for(asyncio.gather(*blocked, return_exceptions=True), 10)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    with pytest.raises(StoreUnavailable):
        await hot.call("PING")
    assert await fails_fast(hot)

    await asyncio.to_thread(private_redis.start)
    assert await until_answers(hot, within_s=20) < 10


async def test_nothing_listening_fails_fast(connect):
    hot = connect("redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await hot.call("PING")

    assert await fails_fast(hot)


async def test_a_server_that_accepts_and_says_nothing_costs_one_timeout(scripted, connect):
    hot = connect((await scripted(echo, greet=stays_silent)).url)
    started = time.perf_counter()

    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await hot.call("PING")

    assert 0.24 <= time.perf_counter() - started < 2
    assert await fails_fast(hot)


async def test_a_slow_server_is_served_and_the_connection_stays(private_redis, proxied, connect):
    hot = connect((await proxied(private_redis.port, delay_s=0.1)).url, timeout_s=5)
    await hot.start()

    assert await asyncio.gather(*[hot.call("ECHO", n) for n in range(50)]) == [b"%d" % n for n in range(50)]
    assert hot.statistics.connections == 1
    assert hot.statistics.losses == 0


BREAKS = {
    "closed": lambda peer: peer.close(),
    "reset": lambda peer: peer.reset(),
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("sent", [b"", b"$", b"$5\r\nhel", b"$5\r\nhello\r"])
async def test_a_connection_that_ends_mid_reply_is_left_and_the_next_call_gets_another(scripted, connect, how, sent):
    async def breaks(peer, _):
        await peer.write(sent)
        BREAKS[how](peer)

    server = await scripted(then_echo(echo, breaks))
    hot = connect(server.url, timeout_s=10)
    assert await hot.call("ECHO", "first") == b"first"

    with pytest.raises(StoreUnavailable):
        await hot.call("ECHO", "lost")

    assert await hot.call("ECHO", "next") == b"next"
    assert server.connections == 2
    assert [command[1] for command in server.commands] == [b"first", b"lost", b"next"]


GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\xff\xfe",
    b":twelve\r\n",
    b"$-5\r\n",
    b"*-2\r\n",
    b"*99999999999999\r\n",
    b"%1\r\n+a\r\n:1\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"+one\r\n+two that nobody asked for\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_is_the_end_of_a_connection_never_of_the_next(scripted, connect, garbage):
    server = await scripted(then_echo(echo, writes(garbage)))
    hot = connect(server.url, timeout_s=10)
    assert await hot.call("ECHO", "first") == b"first"

    if not garbage.startswith(b"+one"):
        with pytest.raises(StoreUnavailable, match="not RESP2"):
            await hot.call("ECHO", "garbled")
    else:
        assert await hot.call("ECHO", "one too many") == b"one"
        async with asyncio.timeout(10):
            while hot.statistics.losses == 0:  # noqa: ASYNC110 - the surplus reply may come a moment later
                await asyncio.sleep(0.001)

    assert hot.statistics.losses == 1
    assert await hot.call("ECHO", "next") == b"next"
    assert server.connections == 2


async def test_garbage_fails_everything_behind_it(scripted, connect):
    async def answers_with_garbage(peer, _):
        await peer.write(b"?")

    hot = connect((await scripted(then_echo(echo, answers_with_garbage))).url, timeout_s=10)
    assert await hot.call("ECHO", "first") == b"first"

    outcomes = await asyncio.gather(*[hot.call("ECHO", n) for n in range(10)], return_exceptions=True)

    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)


async def test_a_server_that_only_ever_sends_garbage_is_not_hammered(scripted, connect):
    server = await scripted(writes(b"?"))
    hot = connect(server.url, timeout_s=10)
    for _ in range(200):
        with pytest.raises(StoreUnavailable):
            await hot.call("ECHO", "x")

    assert server.connections < 20


@pytest.mark.parametrize(
    "code", ["BUSY", "CLUSTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "TRYAGAIN", "UNKILLABLE", "LOADING", "READONLY"]
)
async def test_a_refusal_to_serve_is_unavailability(scripted, connect, code):
    server = await scripted(then_echo(echo, writes(f"-{code} sorry\r\n".encode())))
    hot = connect(server.url, timeout_s=10)
    assert await hot.call("ECHO", "first") == b"first"

    with pytest.raises(StoreUnavailable, match=f"{code} sorry") as caught:
        await hot.call("SET", "a", "b")

    assert caught.value.code == code
    assert await hot.call("ECHO", "next") == b"next"
    assert server.connections == (2 if code in {"LOADING", "READONLY"} else 1)


async def test_a_real_replica_is_left_for_the_master(private_redis, connect):
    hot = connect(private_redis.url, timeout_s=5)
    await hot.call("SET", "a", "1")
    private_redis.execute("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await hot.call("SET", "a", "2")
    finally:
        private_redis.execute("REPLICAOF", "NO", "ONE")

    assert await hot.call("SET", "a", "3") == b"OK"
    assert hot.statistics.connections == 2


async def test_a_real_server_out_of_memory_is_unavailable_for_scripts_too(private_redis, connect):
    hot = connect(private_redis.url, timeout_s=5)
    source = b"return redis.call('SET', KEYS[1], 'x')"
    script = Script("set", source, private_redis.execute("SCRIPT", "LOAD", source))
    private_redis.execute("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable, match="OOM"):
            await hot.call("SET", "a", "x")
        with pytest.raises(StoreUnavailable, match="OOM"):
            await hot.script(script, ("a",), ())
    finally:
        private_redis.execute("CONFIG", "SET", "maxmemory", "0")

    assert await hot.script(script, ("a",), ()) == b"OK"


async def test_a_stall_of_this_process_is_not_the_server_s_hang(private_redis, connect):
    hot = connect(private_redis.url)
    await hot.start()
    calls = [asyncio.create_task(hot.call("ECHO", n)) for n in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    time.sleep(0.5)  # noqa: ASYNC251 - the stall under test

    assert await asyncio.gather(*calls) == [b"%d" % n for n in range(5)]
    assert hot.statistics.hangs == 0


async def test_each_command_has_its_own_deadline(scripted, connect):
    async def answers_the_first_late(peer, _):
        await asyncio.sleep(0.2)
        await peer.write(b"+late\r\n")

    hot = connect((await scripted(then_echo(echo, answers_the_first_late))).url, timeout_s=10)
    await hot.start()

    assert await hot.call("ECHO", "x", timeout_s=5) == b"x"
    assert await hot.call("ECHO", "x", timeout_s=5) == b"late"
    assert await hot.call("ECHO", "x") == b"x"


async def test_the_earliest_deadline_counts_whichever_command_is_in_front(scripted, connect):
    hot = connect((await scripted(stays_silent)).url)
    await hot.start()
    started = time.perf_counter()

    outcomes = await asyncio.gather(
        hot.call("ECHO", "x", timeout_s=30), hot.call("ECHO", "x", timeout_s=0.1), return_exceptions=True
    )

    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert 0.09 <= time.perf_counter() - started < 10


async def test_a_lost_connection_counts_what_nobody_waited_for(scripted, connect):
    async def closes(peer, _):
        peer.close()

    hot = connect((await scripted(then_echo(echo, closes))).url, timeout_s=10)
    assert await hot.call("ECHO", "x") == b"x"
    hot.send("SET", "a", "b")
    hot.send("SET", "a", "b")
    with pytest.raises(StoreUnavailable):
        await hot.call("ECHO", "x")

    assert hot.statistics.send_errors == 2


async def test_closing_fails_what_waits_and_everything_after(scripted, connect):
    hot = connect((await scripted(stays_silent)).url, timeout_s=30)
    await hot.start()
    waiting = asyncio.create_task(hot.call("ECHO", "x"))
    await asyncio.sleep(0.01)

    await hot.aclose()

    with pytest.raises(StoreUnavailable):
        await waiting
    with pytest.raises(StoreUnavailable, match="closed"):
        await hot.call("ECHO", "x")
    hot.send("ECHO", "x")
    assert not await hot.ping()


async def test_closing_while_connecting_leaves_nothing_behind(scripted, connect):
    server = await scripted(echo, greet=stays_silent)
    hot = connect(server.url, timeout_s=30)
    waiting = asyncio.create_task(hot.call("ECHO", "x"))
    while server.connections == 0:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.001)

    await hot.aclose()

    with pytest.raises(StoreUnavailable, match="closed"):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task(), *(t for t in asyncio.all_tasks() if "_accept" in repr(t))}


async def test_a_script_s_error_of_ours_is_told_from_unavailability(private_redis, connect):
    hot = connect(private_redis.url, timeout_s=5)
    with pytest.raises(StoreReplyError) as caught:
        await hot.call("NOSUCHCOMMAND")
    assert caught.value.code == "ERR"


async def test_an_idle_connection_that_the_server_closes_is_replaced_when_needed(private_redis, connect):
    hot = connect(private_redis.url, timeout_s=10)
    await hot.start()
    hot._link.opened_s -= 60
    private_redis.execute("CLIENT", "KILL", "TYPE", "normal")
    async with asyncio.timeout(10):
        while hot.connected:  # noqa: ASYNC110 - what is awaited is what the test looks at
            await asyncio.sleep(0.001)

    assert await hot.call("ECHO", "x") == b"x"


async def test_an_unforeseen_failure_of_the_look_up_is_survived(private_redis):
    where = fixed(parse_url(private_redis.url))
    failures = [ZeroDivisionError(), KeyError("x")]

    async def locate():
        if failures:
            raise failures.pop()
        return await where()

    hot = HotConnection(locate, timeout_s=10)
    with pytest.raises(StoreUnavailable):
        await hot.call("PING")

    await until_answers(hot, within_s=20)
    await hot.aclose()


async def test_another_server_process_is_noticed(private_redis, connect):
    hot = connect(private_redis.url, timeout_s=10)
    noticed = []
    hot.on_new_server(lambda: noticed.append(1))
    await hot.start()
    hot.discard()
    assert await hot.ping()
    assert noticed == []

    await asyncio.to_thread(private_redis.restart)

    await until_answers(hot, within_s=20)
    assert noticed == [1]
