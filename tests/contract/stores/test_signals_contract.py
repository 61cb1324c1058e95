import asyncio

import pytest


async def until(condition, *, within_s: float = 10.0):
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is awaited is what the test looks at
            await asyncio.sleep(0.005)


async def test_signals_are_connected_once_started(stores):
    assert stores.signals.connected


async def test_a_signal_reaches_every_process_its_sender_too(installation):
    here, there = [], []
    installation.stores.signals.subscribe("keys", here.append)
    installation.peer.signals.subscribe("keys", there.append)

    await installation.stores.signals.publish("keys", b"k1")

    await until(lambda: here == [b"k1"] and there == [b"k1"])


async def test_signals_keep_their_order_and_their_bytes(stores):
    heard: list[bytes] = []
    sent = [bytes(range(256)), b"", *(b"%d" % number for number in range(100))]
    stores.signals.subscribe("t", heard.append)

    for payload in sent:
        await stores.signals.publish("t", payload)

    await until(lambda: len(heard) == len(sent))
    assert heard == sent


async def test_a_topic_is_heard_only_by_its_subscribers(stores):
    keys, config = [], []
    stores.signals.subscribe("keys", keys.append)
    stores.signals.subscribe("config*", config.append)

    await stores.signals.publish("config", b"no")
    await stores.signals.publish("config*", b"yes")
    await stores.signals.publish("keys", b"k")

    await until(lambda: keys == [b"k"])
    assert config == [b"yes"]


async def test_who_has_unsubscribed_hears_no_more(stores):
    gone, here = [], []
    unsubscribe = stores.signals.subscribe("t", gone.append)
    stores.signals.subscribe("t", here.append)

    unsubscribe()
    unsubscribe()
    await stores.signals.publish("t", b"1")

    await until(lambda: here == [b"1"])
    assert gone == []


async def test_whoever_subscribes_is_told_of_the_gap_before(stores):
    gaps = []

    stores.signals.subscribe("t", lambda _: None, on_gap=lambda: gaps.append(1))

    await until(lambda: gaps == [1])


async def test_a_callback_that_raises_harms_nobody_else(stores):
    heard: list[bytes] = []
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def fail(_: bytes) -> None:
        raise LookupError

    stores.signals.subscribe("t", fail)
    stores.signals.subscribe("t", heard.append)
    await stores.signals.publish("t", b"1")
    await stores.signals.publish("t", b"2")

    await until(lambda: heard == [b"1", b"2"] and len(reported) == 2)
    with pytest.raises(LookupError):
        raise reported[0]


async def test_nobody_needs_to_listen(stores):
    await stores.signals.publish("void", b"x")


async def test_a_signal_to_an_address_is_heard_there_alone(installation):
    here, there = [], []
    installation.stores.signals.subscribe("calls", here.append)
    installation.peer.signals.subscribe("calls", there.append)
    address = installation.peer.signals.address

    await installation.stores.signals.publish("calls", b"for the peer", to=address)
    await installation.stores.signals.publish("calls", b"for nobody", to="nobody")
    await installation.stores.signals.publish("calls", b"for all")

    await until(lambda: b"for all" in here and b"for all" in there)
    is_one_process = installation.stores.signals.address == address
    assert there == [b"for the peer", b"for all"]
    assert here == (there if is_one_process else [b"for all"])
