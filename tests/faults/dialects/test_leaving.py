"""Clients that leave, and clocks that run out: the provider is let go of at once, and the ledger says why."""

import itertools
import time
from collections import Counter
from typing import Any, NamedTuple

import pytest
from faults.dialects.asking import Cell, Said, for_all, leave
from faults.dialects.clients import CLIENTS, Failure
from faults.dialects.every_wire import WIRES
from faults.dialects.hall import Hall, check_broken, check_refused

from providers.testing import Script

TIMED_OUT = Failure(504, "upstream_timeout")
DEADLINE_S = 1.5
QUICK_S = 1.5
"""The clocks of the quick models."""
SLACK_S = 5.0
"""What a loaded machine may take longer; all other clocks are far from it."""
JSON = "application/json"


class Hang(NamedTuple):
    """A provider that says no more: before its head, before the end of a whole answer, or within a stream."""

    cell: Cell
    stream: bool
    is_headed: bool

    @property
    def script(self) -> Script:
        """What hangs."""
        wire = self.cell.wire
        if not self.is_headed:
            return Script(head_delay_ms=60_000)
        if self.stream:
            return wire.script(wire.frames[: wire.said], fault="stall", fault_after_frames=wire.said)
        return Script(
            body=wire.whole.decode(), content_type=JSON, fault="stall", fault_after_bytes=len(wire.whole) // 2
        )

    @property
    def has_content(self) -> bool:
        """Whether the client has had something."""
        return self.stream and self.is_headed


def hangs(*ways: str, is_quick: bool = False) -> dict[str, Hang]:
    """Return every hang of every wire for every client, once for each of the ways that it may end."""
    found = {}
    for wire, client, stream, is_headed, way in itertools.product(WIRES, CLIENTS, [False, True], [False, True], ways):
        if client.name in wire.unasked or (client.is_array and not stream):
            continue
        name = (
            f"{wire.name}.{client.name}.{'stream' if stream else 'whole'}.{'headed' if is_headed else 'silent'}.{way}"
        )
        found[name] = Hang(Cell(wire, client, name, is_quick), stream, is_headed)
    return found


@pytest.mark.parametrize("way", ["closes", "resets"])
async def test_a_client_that_leaves_takes_the_upstream_call_with_it(hall: Hall, way: str):
    known = hangs(way)

    async def check(cell: Cell) -> None:
        hang = known[cell.name]
        hall.provider.script(hang.script, model=cell.name)

        async def until(came: bytes) -> bool:
            if hang.has_content:
                return len(came.partition(b"\r\n\r\n")[2]) > 0
            entries = hall.provider.journal.for_script(cell.name)
            return bool(entries) and (not hang.is_headed or entries[-1].bytes_sent > 0)

        request = cell.bytes(hall.caller.key, stream=hang.stream)
        left_at = await leave(hall.gateway.port, request, until=until, by_reset=way == "resets")
        await hall.check_closed(cell, since_s=left_at)

    await for_all([hang.cell for hang in known.values()], check, at_once=24)
    events = hall.events(len(known)).values()
    assert {event["outcome"] for event in events} == {"cancelled"}
    for event in events:
        assert event["cost_nusd"] > 0
        assert event["error_code"] is None
    told = Counter((event["provider"], event["stream"], event["output_tokens"] > 0) for event in events)
    assert told == Counter((hang.cell.wire.name, hang.stream, hang.has_content) for hang in known.values())


async def test_the_requests_own_deadline_ends_both_sides(hall: Hall):
    await _check_time(hall, hangs("deadline"), headers={"x-gateway-timeout-s": str(DEADLINE_S)}, within_s=DEADLINE_S)


async def test_the_routes_clocks_end_both_sides(hall: Hall):
    await _check_time(hall, hangs("clock", is_quick=True), headers={}, within_s=QUICK_S)


async def _check_time(hall: Hall, known: dict[str, Hang], *, headers: dict[str, str], within_s: float) -> None:
    """Every hang ends in time, as an error or as an event, and the provider is let go of with the client."""

    async def check(cell: Cell) -> Said:
        hang = known[cell.name]
        began = time.monotonic()
        said = await hall.ask(cell, hang.script, stream=hang.stream, headers=headers)
        took_s = time.monotonic() - began
        await hall.check_closed(cell, since_s=began + took_s)
        if hang.has_content:
            assert check_broken(cell, said, TIMED_OUT)
        else:
            check_refused(cell, said, TIMED_OUT)
        assert within_s <= took_s + 0.01
        assert took_s < within_s + SLACK_S, took_s
        return said

    heard = await for_all([hang.cell for hang in known.values()], check)
    events = hall.events(len(known))
    for name, said in heard.items():
        event: dict[str, Any] = events[said.request_id]
        assert event["outcome"] == "timeout", name
        assert (event["output_tokens"] > 0) == known[name].has_content, name
        assert event["duration_ms"] < (within_s + SLACK_S) * 1000, name


@pytest.mark.parametrize("fault", ["stall", "close"])
async def test_what_follows_the_end_of_an_answer_keeps_nobody(hall: Hall, fault: str):
    """The body of the stream never ends, or is torn, behind a complete answer."""
    cells = [
        Cell(wire, client, f"{wire.name}.{client.name}.{fault}")
        for wire, client in itertools.product(WIRES, CLIENTS)
        if client.name not in wire.unasked and wire.has_terminator
    ]

    async def check(cell: Cell) -> Said:
        frames = cell.wire.frames
        began = time.monotonic()
        said = await hall.ask(cell, cell.wire.script(frames, fault=fault, fault_after_frames=len(frames)), stream=True)
        assert cell.client.is_whole(said.body)
        assert not said.is_torn
        assert time.monotonic() - began < SLACK_S
        await hall.check_closed(cell)
        return said

    heard = await for_all(cells, check)
    assert {event["outcome"] for event in hall.events(len(heard)).values()} == {"ok"}
