"""What a provider may say in a stream instead of going on, before the first content and after it."""

from typing import Any, NamedTuple

import pytest
from faults.dialects.asking import Cell, Said, comparable, for_all
from faults.dialects.clients import CLIENTS, Failure
from faults.dialects.every_wire import WIRES
from faults.dialects.hall import Hall, check_broken, check_refused
from faults.dialects.wires import Wire
from outside.charges import check_failed

from providers.testing import Script


class Fault(NamedTuple):
    """A frame of a wire by its name there, what a client is told of it, and the word for it in the ledger."""

    frame: str
    failure: Failure
    outcome: str


FAULTS = {
    fault.frame: fault
    for fault in (
        Fault("breaks", Failure(502, "upstream_error"), "error"),
        Fault("limits", Failure(429, "upstream_rate_limited"), "rate_limited"),
        Fault("refuses", Failure(400, "context_length_exceeded"), "refused"),
        Fault("garbage", Failure(502, "upstream_bad_response"), "error"),
        Fault("torn", Failure(502, "upstream_bad_response"), "error"),
        Fault("huge", Failure(502, "upstream_too_large"), "error"),
    )
}
PLAIN = "plain"


def scripts_of(wire: Wire) -> dict[str, Script]:
    """Return what the provider does, by the name of the fault and where it is.

    After the fault it says nothing more and does not leave, so that only the gateway can have ended the call; unless
    all of the stream comes at once.
    """
    before, after = wire.frames[: wire.said], wire.frames[wire.said :]
    found = {PLAIN: wire.script(wire.frames)}
    for name in FAULTS:
        frame = getattr(wire, name)
        if frame is None:
            continue
        late = [*before, frame]
        found[f"{name}.early"] = wire.script([frame], fault="stall", fault_after_frames=1)
        # Far enough apart that a busy gateway does not read both at once.
        found[f"{name}.late"] = wire.script(late, chunk_delay_ms=300, fault="stall", fault_after_frames=len(late))
        found[f"{name}.amid"] = wire.script([*late, *after], joins_frames=True)
    return found


@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
async def test_before_content_it_is_an_error_and_after_it_an_event(hall: Hall, wire: Wire):
    scripts = scripts_of(wire)
    clients = [client for client in CLIENTS if client.name not in wire.unasked]
    keys = {f"{wire.name}.{client.name}.{key}": (client, key) for client in clients for key in scripts}

    async def check(cell: Cell) -> tuple[Said, list[Any]]:
        key = keys[cell.name][1]
        said = await hall.ask(cell, scripts[key], stream=True)
        await hall.check_closed(cell)
        if key == PLAIN:
            return said, comparable(cell.client.frames(said.body))
        failure = FAULTS[key.partition(".")[0]].failure
        if said.status != 200:
            check_refused(cell, said, failure)
            return said, []
        return said, comparable(check_broken(cell, said, failure))

    heard = await for_all([Cell(wire, client, name) for name, (client, _) in keys.items()], check)
    events = hall.events(len(keys))
    for name, (client, key) in keys.items():
        said, frames = heard[name]
        kind, _, place = key.partition(".")
        assert frames == heard[f"{wire.name}.{client.name}.{PLAIN}"][1][: len(frames)], name
        assert bool(frames) == (said.status == 200), name
        assert said.status == 200 or place != "late", name
        assert said.status != 200 or place != "early", name
        event = events[said.request_id]
        expected = ("ok", None) if key == PLAIN else (FAULTS[kind].outcome, FAULTS[kind].failure.code)
        assert (event["outcome"], event["error_code"]) == expected, name
        if key == PLAIN:
            assert event["cost_nusd"] > 0, name
        else:
            check_failed(event, scripts[key])
