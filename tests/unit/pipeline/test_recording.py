"""The answer that several clients follow: everybody gets all of it, and no more of it is held than may be."""

import asyncio

import pytest

from app.kernel.errors import UpstreamFailed
from app.pipeline.recording import Head, Recording

HEAD = Head(is_live=True, content_type=b"text/event-stream", replayed=())


async def read_all(follower):
    parts = []
    while not follower.is_finished:
        parts.append(await follower.read())
    return parts


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_everybody_gets_everything_whenever_he_comes():
    recording = Recording(held_bytes=100)
    early = asyncio.create_task(read_all(recording.follow()))
    recording.begin(HEAD)
    await recording.write(b"one")
    await settled()
    await recording.write(b"two")
    late = asyncio.create_task(read_all(recording.follow()))
    await settled()
    await recording.write(b"three")
    recording.end()
    assert await early == [b"one", b"two", b"three"]
    assert await late == [b"onetwo", b"three"]
    assert await read_all(recording.follow()) == [b"onetwothree"]
    assert recording.body() == b"onetwothree"


async def test_who_is_far_behind_gets_a_part_at_a_time():
    recording = Recording(held_bytes=1 << 20)
    for _ in range(8):
        await recording.write(b"x" * 30_000)
    recording.end()
    assert [len(part) for part in await read_all(recording.follow())] == [90_000, 90_000, 60_000]


async def test_a_failure_comes_after_all_that_was_said_before():
    recording = Recording(held_bytes=100)
    recording.begin(HEAD)
    await recording.write(b"one")
    recording.end(UpstreamFailed("it broke"))
    follower = recording.follow()
    assert (await follower.read(), follower.is_finished) == (b"one", False)
    with pytest.raises(UpstreamFailed, match="it broke"):
        await follower.read()


async def test_an_answer_that_never_began_has_no_head():
    recording = Recording(held_bytes=100)
    waiting = asyncio.create_task(recording.beginning())
    await settled()
    assert not waiting.done()
    recording.end(UpstreamFailed())
    assert await waiting is None


async def test_beyond_the_bound_the_writer_waits_for_the_slowest():
    recording = Recording(held_bytes=100)
    fast, slow = recording.follow(), recording.follow()
    for _ in range(2):
        await recording.write(b"x" * 50)
    assert not recording.is_too_large
    writing = asyncio.create_task(recording.write(b"x" * 50))
    assert len(await fast.read()) == 100
    await settled()
    assert recording.is_too_large
    assert recording.body() is None
    assert not writing.done()
    assert len(await slow.read()) in {100, 150}
    await asyncio.wait_for(writing, 1)
    recording.end()
    assert b"".join(await read_all(fast)) == b"x" * 50


async def test_a_follower_who_leaves_holds_nobody_up():
    recording = Recording(held_bytes=100)
    slow = recording.follow()
    writing = asyncio.create_task(recording.write(b"x" * 150))
    await settled()
    assert not writing.done()
    slow.close()
    await asyncio.wait_for(writing, 1)
    for _ in range(1_000):
        await asyncio.wait_for(recording.write(b"x" * 50), 1)
    assert len(recording._chunks) == 0


async def test_what_is_not_live_is_given_whole():
    recording = Recording(held_bytes=100)
    follower = recording.follow()
    asking = asyncio.create_task(follower.answer(Head(is_live=False, content_type=b"image/png", replayed=())))
    await recording.write(b"one")
    await settled()
    assert not asking.done()
    await recording.write(b"two")
    recording.end()
    answer = await asking
    assert (answer.body, answer.live, answer.content_type) == (b"onetwo", None, b"image/png")
    assert not recording.followers


async def test_an_empty_answer_is_an_answer():
    recording = Recording(held_bytes=100)
    recording.begin(HEAD)
    await recording.write(b"")
    recording.end()
    assert await read_all(recording.follow()) == [b""]
    assert recording.body() == b""


async def test_who_waits_for_the_end_is_told_once_or_at_once():
    recording, told = Recording(held_bytes=100), []
    recording.then(lambda: told.append("waiting"))
    assert told == []
    recording.end()
    recording.end(UpstreamFailed())
    recording.then(lambda: told.append("late"))
    assert told == ["waiting", "late"]
    assert recording.failure is None
