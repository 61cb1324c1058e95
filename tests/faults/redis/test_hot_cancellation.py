import asyncio
import random

import pytest

from app.stores.errors import StoreUnavailable


async def test_32_cancellations_mid_command_never_shift_a_reply(private_redis, proxied, connect):
    proxy = await proxied(private_redis.port, delay_s=0.05)
    hot = connect(proxy.url, timeout_s=30)
    await hot.start()
    wrong, dice = [], random.Random(32)

    async def ask(word: str) -> None:
        if await hot.call("ECHO", word) != word.encode():
            wrong.append(word)

    for turn in range(32):
        doomed = asyncio.create_task(ask(f"doomed{turn}"))
        others = [asyncio.create_task(ask(f"{turn}.{n}")) for n in range(3)]
        await asyncio.sleep(dice.random() * 0.03)
        doomed.cancel()
        await asyncio.wait([doomed])
        assert doomed.cancelled()
        if turn % 8 == 0:
            await asyncio.gather(*others)
    await ask("last")

    assert wrong == []
    assert hot.statistics.connections == 1
    assert hot.statistics.losses == 0


@pytest.mark.parametrize("ticks", range(12))
async def test_a_call_cancelled_at_any_point_leaves_the_connection_whole(private_redis, connect, ticks):
    """A cold call passes: start of the connector, look-up, connect, greeting, flush, reply; cancel after each."""
    hot = connect(private_redis.url, timeout_s=10)
    doomed = asyncio.create_task(hot.call("ECHO", "doomed"))
    for _ in range(ticks):
        await asyncio.sleep(0)
    doomed.cancel()
    await asyncio.wait([doomed])

    replies = await asyncio.gather(*[hot.call("ECHO", n) for n in range(10)])

    assert replies == [b"%d" % n for n in range(10)]
    assert hot.statistics.connections == 1


async def test_one_of_many_that_wait_for_a_connection_may_leave(private_redis, proxied, connect):
    hot = connect((await proxied(private_redis.port, delay_s=0.02)).url, timeout_s=10)
    calls = [asyncio.create_task(hot.call("ECHO", n)) for n in range(10)]
    await asyncio.sleep(0.01)
    calls[0].cancel()
    calls[5].cancel()

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert [o for o in outcomes if not isinstance(o, asyncio.CancelledError)] == [
        b"%d" % n for n in (1, 2, 3, 4, 6, 7, 8, 9)
    ]
    assert hot.statistics.connections == 1


async def test_all_cancelled_in_flight_and_the_next_is_right(private_redis, proxied, connect):
    hot = connect((await proxied(private_redis.port, delay_s=0.02)).url, timeout_s=10)
    await hot.start()
    for turn in range(10):
        calls = [asyncio.create_task(hot.call("ECHO", f"{turn}.{n}")) for n in range(20)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert await hot.call("ECHO", f"kept{turn}") == f"kept{turn}".encode()
    assert hot.statistics.connections == 1


async def test_a_cancelled_caller_of_a_hung_server_leaves_its_deadline_behind(scripted, connect):
    async def silent(_peer, _command):
        pass

    hot = connect((await scripted(silent)).url)
    await hot.start()
    doomed = asyncio.create_task(hot.call("ECHO", "x"))
    await asyncio.sleep(0.01)
    doomed.cancel()

    async with asyncio.timeout(10):
        while hot.statistics.hangs == 0:  # noqa: ASYNC110 - what is awaited is what the test looks at
            await asyncio.sleep(0.01)

    with pytest.raises(StoreUnavailable):
        await hot.call("ECHO", "x", timeout_s=0.01)
