"""What a provider may do to its stream without a client hearing anything else for it."""

import itertools
from typing import Any

import pytest
from faults.dialects.asking import Cell, comparable, for_all
from faults.dialects.clients import CLIENTS
from faults.dialects.every_wire import WIRES
from faults.dialects.hall import Hall
from faults.dialects.wires import Wire

from providers.testing import Script

PLAIN = "plain"


def _crlf(frames: list[bytes]) -> list[bytes]:
    return [frame.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for frame in frames]


def _cr(frames: list[bytes]) -> list[bytes]:
    return [frame.replace(b"\r\n", b"\n").replace(b"\n", b"\r") for frame in frames]


def _noisy(wire: Wire, frames: list[bytes]) -> list[bytes]:
    noise = itertools.cycle(wire.noise)
    return [piece for frame in frames for piece in (next(noise), frame)] + list(wire.noise)


def variants(wire: Wire, frames: list[bytes]) -> dict[str, Script]:
    """Return the scripts that say the same as the plain one."""
    found = {
        "noise": wire.script(_noisy(wire, frames)),
        "bytes": wire.script(frames, write_bytes=1),
        "sevens": wire.script(frames, write_bytes=7),
        "joined": wire.script(frames, joins_frames=True),
        "gzip": wire.script(frames, encoding="gzip"),
        "until-close": wire.script(frames, framing="close"),
    }
    if wire.kind == "text/event-stream":
        found |= {"crlf": wire.script(_crlf(frames)), "cr": wire.script(_cr(frames))}
        found["crlf-noise"] = wire.script(_crlf(_noisy(wire, frames)), write_bytes=5)
    elif wire.kind == "application/x-ndjson":
        found["crlf"] = wire.script(_crlf(frames))
    return found


@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
async def test_a_stream_says_the_same_however_it_comes(hall: Hall, wire: Wire):
    """The first stream comes in every way to every client, each other one to one client after the other."""
    clients = [client for client in CLIENTS if client.name not in wire.unasked]
    turn = itertools.cycle(clients)
    scripts: dict[str, Script] = {}
    sent: dict[str, bytes] = {}
    cells = []
    for number, frames in enumerate(wire.streams.values()):
        for client in clients if number == 0 else [next(turn)]:
            for name, script in {PLAIN: wire.script(frames), **variants(wire, frames)}.items():
                cells.append(Cell(wire, client, f"{wire.name}.{client.name}.{number}.{name}"))
                scripts[cells[-1].name] = script
                if name == PLAIN and cells[-1].is_relayed and not client.is_array:
                    sent[cells[-1].name] = b"".join(frames)

    async def check(cell: Cell) -> list[Any]:
        said = await hall.ask(cell, scripts[cell.name], stream=True)
        assert said.status == 200, said.body
        assert not said.is_torn
        assert cell.client.is_whole(said.body), said.body
        assert said.body == sent.get(cell.name, said.body)
        return comparable(cell.client.frames(said.body))

    heard = await for_all(cells, check)
    for name, frames in heard.items():
        assert frames == heard[f"{name.rpartition('.')[0]}.{PLAIN}"], name
    for event in hall.events(len(cells)).values():
        assert (event["outcome"], event["status"], event["error_code"]) == ("ok", 200, None)
