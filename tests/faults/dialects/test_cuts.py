"""Streams that are cut: after every frame and inside it, in every manner; nothing that is heard is made up."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from faults.dialects.asking import Cell, Said, comparable, for_all
from faults.dialects.clients import CLIENTS, Failure
from faults.dialects.every_wire import WIRES
from faults.dialects.hall import Hall, check_broken, check_refused
from faults.dialects.wires import Wire
from outside.charges import check_failed

from providers.testing import Script

INTERRUPTED = Failure(502, "upstream_interrupted")
EMPTY = Failure(502, "upstream_bad_response")
MANNERS = ("ends", "close", "reset", "half-ends", "half-close")


class Cut(NamedTuple):
    """A cell, and where its stream is cut: `frames` came whole, and perhaps half of the next."""

    cell: Cell
    stream: str
    frames: int
    manner: str

    @property
    def script(self) -> Script:
        """What cuts it."""
        wire = self.cell.wire
        frames = wire.streams[self.stream]
        sent = frames[: self.frames]
        manner = self.manner
        if manner.startswith("half"):
            following = frames[self.frames].rstrip()
            sent = [*sent, following[: max(1, len(following) // 2)]]
            manner = manner.removeprefix("half-")
        if manner == "ends":
            return wire.script(sent)
        if not sent:
            return wire.script([b""], fault=manner, fault_after_frames=1)
        return wire.script(sent, fault=manner, fault_after_frames=len(sent))

    @property
    def rest(self) -> list[bytes]:
        """What did not come whole."""
        return self.cell.wire.streams[self.stream][self.frames :]


def cuts_of(wire: Wire) -> Iterator[Cut]:
    """Cut the first stream for every client; the others for one client after the other, that all are cut everywhere."""
    clients = [client for client in CLIENTS if client.name not in wire.unasked]
    turn = itertools.cycle(clients)
    for number, (stream, frames) in enumerate(wire.streams.items()):
        for at, manner in itertools.product(range(len(frames)), MANNERS):
            for client in clients if number == 0 else [next(turn)]:
                name = f"{wire.name}.{client.name}.{number}.{at}.{manner}"
                yield Cut(Cell(wire, client, name), stream, at, manner)


@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
async def test_a_stream_that_is_cut_is_not_taken_for_a_whole_one(hall: Hall, wire: Wire):
    cuts = {cut.cell.name: cut for cut in cuts_of(wire)}
    plain = await _plain(hall, wire)

    async def check(cell: Cell) -> Said:
        cut = cuts[cell.name]
        said = await hall.ask(cell, cut.script, stream=True)
        check_cut(cut, said, plain[cell.client.name, cut.stream])
        return said

    heard = await for_all([cut.cell for cut in cuts.values()], check)
    events = hall.events(len(cuts) + len(plain))
    for name, said in heard.items():
        event = events[said.request_id]
        is_whole = said.status == 200 and cuts[name].cell.client.is_whole(said.body)
        assert event["outcome"] in ({"ok"} if is_whole else {"interrupted", "error"}), (name, event)
        assert event["error_code"] in ({None} if is_whole else {INTERRUPTED.code, EMPTY.code}), (name, event)
        if is_whole:
            assert event["cost_nusd"] > 0, (name, event)
        else:
            check_failed(event, cuts[name].script)
    statuses = {said.status for said in heard.values()}
    assert statuses == {200, 502}


async def _plain(hall: Hall, wire: Wire) -> dict[tuple[str, str], list[Any]]:
    """Return what each client hears of each stream that is not cut."""
    cells = {
        (client.name, stream): Cell(wire, client, f"{wire.name}.{client.name}.{number}.plain")
        for client in CLIENTS
        for number, stream in enumerate(wire.streams)
        if client.name not in wire.unasked
    }
    streams = {cell.name: stream for (_, stream), cell in cells.items()}

    async def check(cell: Cell) -> list[Any]:
        said = await hall.ask(cell, wire.script(wire.streams[streams[cell.name]]), stream=True)
        assert cell.client.is_whole(said.body), said.body
        return comparable(cell.client.frames(said.body))

    heard = await for_all(cells.values(), check)
    return {key: heard[cell.name] for key, cell in cells.items()}


def check_cut(cut: Cut, said: Said, plain: list[Any]) -> None:
    """Nothing came before the first content; after it, what came was said, and an error, or nothing was missing."""
    cell = cut.cell
    if said.status != 200:
        is_interrupted = INTERRUPTED.code.upper().encode() in said.body.upper()
        check_refused(cell, said, INTERRUPTED if is_interrupted else EMPTY)
        return
    if cell.client.is_whole(said.body):
        spares = cell.wire.trailers + (cell.wire.spares if cut.manner == "ends" else ())
        assert all(any(spare in frame for spare in spares) for frame in cut.rest), cut.rest
        return
    frames = comparable(check_broken(cell, said, INTERRUPTED))
    assert frames
    assert frames == plain[: len(frames)]
