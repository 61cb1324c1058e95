import asyncio

import pytest

from app.stores.errors import StoreReplyError, StoreUnavailable
from app.stores.redis.slots import slot_of

SLOTS_TO = b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$%d\r\n%b\r\n:%d\r\n$4\r\nnode\r\n"
SLOT = slot_of("k")


@pytest.fixture
def node(scripted):
    """Start scripted nodes that say that one of them, or another port, serves every slot."""

    async def start(answer, *, primary=None, host=b"127.0.0.1"):
        async def respond(peer, command):
            if command[:2] == [b"CLUSTER", b"SLOTS"]:
                server.commands.remove(command)
                await peer.write(SLOTS_TO % (len(host), host, primary or server.port))
            else:
                await answer(peer, command)

        server = await scripted(respond)
        return server

    return start


def at(server) -> str:
    return f"redis+cluster://127.0.0.1:{server.port}"


async def ok(peer, _):
    await peer.write(b"+OK\r\n")


async def test_a_moved_command_runs_where_the_reply_says_and_the_next_goes_there_at_once(node, connect_cluster):
    new = await node(ok)

    async def moved(peer, _):
        await peer.write(b"-MOVED %d 127.0.0.1:%d\r\n" % (SLOT, new.port))

    old = await node(moved)
    connection = connect_cluster(at(old))

    assert await connection.call("SET", "k", 1) == b"OK"
    assert await connection.call("SET", "k", 2) == b"OK"

    assert [old.commands, new.commands] == [[[b"SET", b"k", b"1"]], [[b"SET", b"k", b"1"], [b"SET", b"k", b"2"]]]


async def test_an_asked_command_follows_its_asking_in_one_write_and_the_next_does_not(node, connect_cluster):
    new = await node(ok)
    replies = [b"-ASK %d 127.0.0.1:%d\r\n" % (SLOT, new.port), b"+OK\r\n"]

    async def ask(peer, _):
        await peer.write(replies.pop(0))

    old = await node(ask)
    connection = connect_cluster(at(old))

    assert await connection.call("SET", "k", 1) == b"OK"
    assert await connection.call("SET", "k", 2) == b"OK"

    assert new.commands == [[b"ASKING"], [b"SET", b"k", b"1"]]
    assert len(old.commands) == 2


async def test_commands_that_are_asked_at_once_each_keep_their_asking(node, connect_cluster):
    new = await node(ok)

    async def ask(peer, _):
        await peer.write(b"-ASK %d 127.0.0.1:%d\r\n" % (SLOT, new.port))

    connection = connect_cluster(at(await node(ask)))

    await asyncio.gather(*[connection.call("SET", "k", number) for number in range(50)])

    assert [command[0] for command in new.commands] == [b"ASKING", b"SET"] * 50


async def test_a_redirection_without_a_host_means_the_host_that_was_asked(node, connect_cluster):
    new = await node(ok)

    async def moved(peer, _):
        await peer.write(b"-MOVED %d :%d\r\n" % (SLOT, new.port))

    connection = connect_cluster(at(await node(moved, host=b"")))

    assert await connection.call("SET", "k", 1) == b"OK"


async def test_a_command_that_is_sent_around_ends(node, connect_cluster):
    async def moved(peer, _):
        await peer.write(b"-MOVED %d 127.0.0.1:%d\r\n" % (SLOT, server.port))

    server = await node(moved)
    connection = connect_cluster(at(server))

    with pytest.raises(StoreUnavailable, match="sends a command around"):
        await connection.call("SET", "k", 1)
    assert len(server.commands) == 4


@pytest.mark.parametrize("code", ["CLUSTERDOWN", "TRYAGAIN"])
async def test_a_node_that_cannot_serve_now_is_unavailability_and_is_not_asked_twice(node, connect_cluster, code):
    async def refuse(peer, _):
        await peer.write(f"-{code} The cluster is down\r\n".encode())

    server = await node(refuse)
    connection = connect_cluster(at(server))

    with pytest.raises(StoreUnavailable) as caught:
        await connection.call("SET", "k", 1)
    assert caught.value.code == code
    assert len(server.commands) == 1


async def test_a_command_whose_reply_was_lost_is_not_sent_again(node, connect_cluster):
    async def hang_up(peer, _):
        peer.reset()

    server = await node(hang_up)
    connection = connect_cluster(at(server))

    with pytest.raises(StoreUnavailable):
        await connection.call("INCR", "k")
    await asyncio.sleep(0.4)
    assert server.commands == [[b"INCR", b"k"]]


async def test_a_command_that_was_lost_after_a_redirection_is_not_sent_again(node, connect_cluster):
    async def hang_up(peer, _):
        peer.reset()

    new = await node(hang_up)

    async def moved(peer, _):
        await peer.write(b"-MOVED %d 127.0.0.1:%d\r\n" % (SLOT, new.port))

    old = await node(moved)
    connection = connect_cluster(at(old))

    with pytest.raises(StoreUnavailable):
        await connection.call("INCR", "k")
    assert [len(old.commands), len(new.commands)] == [1, 1]


async def test_an_error_that_redirects_nowhere_is_the_caller_s(node, connect_cluster):
    async def wrong(peer, _):
        await peer.write(b"-WRONGTYPE of value\r\n")

    connection = connect_cluster(at(await node(wrong)))

    with pytest.raises(StoreReplyError, match="WRONGTYPE of value"):
        await connection.call("INCR", "k")


async def test_a_command_sent_and_forgotten_that_missed_has_the_map_asked_for(node, connect_cluster):
    new = await node(ok)

    async def moved(peer, _):
        await peer.write(b"-MOVED %d 127.0.0.1:%d\r\n" % (SLOT, new.port))

    connection = connect_cluster(at(await node(moved)))
    await connection.start()
    looks = connection._map.looks
    connection.send("SET", "k", 1)

    async with asyncio.timeout(10):
        while connection._map.looks == looks:  # noqa: ASYNC110 - what is awaited is what the test looks at
            await asyncio.sleep(0.01)
    assert connection.statistics.send_errors == 1


async def test_a_node_that_is_no_cluster_s_is_named(scripted, connect_cluster):
    async def refuse(peer, _):
        await peer.write(b"-ERR This instance has cluster support disabled\r\n")

    server = await scripted(refuse)
    connection = connect_cluster(at(server))

    with pytest.raises(StoreUnavailable, match=rf"127.0.0.1:{server.port} names no node.*support disabled"):
        await connection.start()
    assert not await connection.ping()


async def test_slots_without_a_node_fail_at_once_and_the_others_are_served(scripted, connect_cluster):
    async def half(peer, command):
        if command[:2] == [b"CLUSTER", b"SLOTS"]:
            await peer.write((SLOTS_TO % (9, b"127.0.0.1", server.port)).replace(b":16383", b":8000"))
        else:
            await peer.write(b"+OK\r\n")

    server = await scripted(half)
    connection = connect_cluster(at(server))
    served, unserved = ("k", "a") if slot_of("k") <= 8000 else ("a", "k")
    assert slot_of(served) <= 8000 < slot_of(unserved)

    with pytest.raises(StoreUnavailable, match="8383 slots of the cluster have no node"):
        await connection.start()
    assert await connection.call("GET", served) == b"OK"
    with pytest.raises(StoreUnavailable, match="8383 slots of the cluster have no node"):
        await connection.call("GET", unserved)
    assert not await connection.ping()


async def test_a_cluster_that_hangs_at_the_first_look_fails_in_time_and_then_at_once(scripted, connect_cluster):
    async def silence(peer, command):
        pass

    connection = connect_cluster(at(await scripted(silence)))
    loop = asyncio.get_running_loop()

    began = loop.time()
    with pytest.raises(StoreUnavailable):
        await connection.call("GET", "k")
    assert loop.time() - began < 3
    await asyncio.sleep(0.3)

    took_s = []
    for _ in range(5):
        began = loop.time()
        with pytest.raises(StoreUnavailable):
            await connection.call("GET", "k")
        took_s.append(loop.time() - began)
    assert min(took_s) < 0.1, "the machine may be busy, but not each time"


async def test_a_closed_connection_says_so(node, connect_cluster):
    connection = connect_cluster(at(await node(ok)))
    assert await connection.call("SET", "k", 1) == b"OK"

    await connection.aclose()
    await connection.aclose()

    assert not connection.connected
    with pytest.raises(StoreUnavailable, match="closed"):
        await connection.call("SET", "k", 1)
    connection.send("SET", "k", 1)
    assert connection.statistics.send_errors == 1
