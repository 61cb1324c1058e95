"""Whatever bytes come, a link answers each command at most once, dies of doubt, and says nothing after its death."""

import asyncio
import itertools
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.stores.errors import StoreError
from app.stores.redis.link import Link

FAR = 1e12

SCALARS = st.one_of(
    st.sampled_from(
        [b"+OK\r\n", b"+\r\n", b":0\r\n", b":-7\r\n", b"$-1\r\n", b"*-1\r\n", b"$0\r\n\r\n", b"-ERR x\r\n"]
    ),
    st.binary(max_size=20).map(lambda body: b"$%d\r\n%s\r\n" % (len(body), body)),
)
WHOLE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4).map(lambda all_: b"*%d\r\n%s" % (len(all_), b"".join(all_)))
)
# A count of millions would only measure how fast memory is given back.
HUGE_COUNT = re.compile(rb"\d{6}")
STREAMS = (
    st.lists(st.one_of(WHOLE, st.binary(max_size=12)), max_size=12)
    .map(b"".join)
    .filter(lambda stream: not HUGE_COUNT.search(stream))
)


class Transport:
    is_aborted = False

    def write(self, _: bytes) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True


async def play(stream: bytes, *, commands: int, cuts: list[int]) -> tuple[list[object], Link, list[str]]:
    lost: list[str] = []
    link = Link(on_lost=lambda _, reason: lost.append(reason), on_send_error=lambda: None)
    transport = Transport()
    link.connection_made(transport)
    futures = [link.submit(b"", FAR) for _ in range(commands)]
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(bounds):
        link.data_received(stream[start:end])
    assert transport.is_aborted == link.is_dead
    was_done = [future.done() for future in futures]
    if not link.is_dead:
        link.connection_lost(None)
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert len(lost) == 1
    first_undone = was_done.index(False) if False in was_done else commands
    assert all(was_done[:first_undone])
    assert not any(was_done[first_undone:])
    return outcomes, link, lost


def check(stream: bytes, commands: int, cuts: list[int]) -> None:
    async def once() -> list[object]:
        outcomes, _, _ = await play(stream, commands=commands, cuts=cuts)
        whole, _, _ = await play(stream, commands=commands, cuts=[])
        assert list(map(str, outcomes)) == list(map(str, whole))
        return outcomes

    for outcome in asyncio.run(once()):
        assert outcome is None or isinstance(outcome, bytes | int | list | StoreError)


GIVEN = given(stream=STREAMS, commands=st.integers(0, 12), cuts=st.lists(st.integers(0, 200), max_size=4))


@GIVEN
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes(stream, commands, cuts):
    check(stream, commands, cuts)


@pytest.mark.long
@pytest.mark.timeout(900)
@GIVEN
@settings(max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_for_long(stream, commands, cuts):
    check(stream, commands, cuts)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(replies=st.lists(WHOLE, min_size=1, max_size=8), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_well_formed_replies_never_kill_a_link_however_split(replies, cuts):
    async def once() -> None:
        stream = b"".join(replies)
        split, _, lost = await play(stream, commands=len(replies), cuts=cuts)
        whole, _, _ = await play(stream, commands=len(replies), cuts=[])
        assert list(map(str, split)) == list(map(str, whole))
        assert lost == ["Redis closed the connection"]

    asyncio.run(once())
