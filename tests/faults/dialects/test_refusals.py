"""Answers that are none: refusals, other types, garbage and nothing, asked for whole and as a stream."""

import json
from typing import Any, NamedTuple

import pytest
from faults.dialects.asking import Cell, Said, for_all
from faults.dialects.clients import CLIENTS, Client, Failure
from faults.dialects.every_wire import WIRES
from faults.dialects.hall import Hall, check_refused
from faults.dialects.vendors import SAYS, TOO_LONG
from faults.dialects.wires import Wire
from outside.charges import check_failed

from providers.testing import Script

BAD = Failure(502, "upstream_bad_response")
CUT = Failure(502, "upstream_interrupted")
LIMITED = Failure(429, "upstream_rate_limited")
HTML = "<html><body>It works, says nobody</body></html>"
JSON = "application/json"
LARGE = "large"
"""Tried with one client alone, for the gateway's memory is not what is tried here."""


class Fault(NamedTuple):
    """What a provider does in place of answering, and what is told of it to the client and in the ledger.

    `failures` are what the client may be told; `wait_s` is how long it is told to wait.
    """

    script: Script
    failures: tuple[Failure, ...]
    outcome: str
    wait_s: int | None = None


def refusals_of(wire: Wire) -> dict[str, Fault]:
    """Return what the provider answers alike to all requests."""
    broke = Failure(502, "upstream_error")
    return {
        "limited": Fault(wire.refused(429, "slow down", wait_s=7), (LIMITED,), "rate_limited", 7),
        "limited-for-long": Fault(wire.refused(429, "slow down", wait_s=900), (LIMITED,), "rate_limited", 60),
        "limited-in-html": Fault(
            Script(status=429, body=HTML, content_type="text/html", headers={"retry-after": "3"}),
            (LIMITED,),
            "rate_limited",
            3,
        ),
        "unauthorised": Fault(wire.refused(401, SAYS), (Failure(502, "upstream_auth_failed"),), "error"),
        "too-long": Fault(wire.refused(400, TOO_LONG), (Failure(400, "context_length_exceeded"),), "refused"),
        "broke": Fault(wire.refused(500, SAYS), (broke,), "error"),
        "overloaded": Fault(wire.refused(503, SAYS, wait_s=7), (broke,), "error"),
        "broke-in-html": Fault(Script(status=502, body=HTML + SAYS, content_type="text/html"), (broke,), "error"),
        "moved": Fault(
            Script(status=307, body="", headers={"location": "http://127.0.0.1:1/"}),
            (Failure(502, "upstream_redirect_blocked"),),
            "error",
        ),
        "html": Fault(Script(body=HTML, content_type="text/html"), (BAD,), "error"),
        "left": Fault(Script(fault="close"), (CUT,), "interrupted"),
        "reset": Fault(Script(fault="reset"), (CUT,), "interrupted"),
        "no-http": Fault(Script(raw="SSH-2.0-OpenSSH_9.2\r\n\r\n"), (BAD,), "error"),
        "endless-head": Fault(
            Script(raw="HTTP/1.1 200 OK\r\nx: " + "x" * (1 << 17)), (Failure(502, "upstream_too_large"), BAD), "error"
        ),
    }


def whole_of(wire: Wire) -> dict[str, Fault]:
    """Return what breaks an answer that is not streamed."""
    whole = wire.whole.decode()
    return {
        "empty": Fault(Script(body="", content_type=JSON), (BAD, CUT), "error"),
        "truncated": Fault(Script(body=whole[: len(whole) * 2 // 3], content_type=JSON), (BAD,), "error"),
        "all-but-a-byte": Fault(Script(body=whole.rstrip()[:-1], content_type=JSON), (BAD,), "error"),
        "a-list": Fault(Script(body="[]", content_type=JSON), (BAD,), "error"),
        "garbage": Fault(Script(body="\x00\x01 neither", content_type=JSON), (BAD,), "error"),
        "nested": Fault(Script(body="[" * 100_000, content_type=JSON), (BAD,), "error"),
        "cut": Fault(
            Script(body=whole, content_type=JSON, fault="close", fault_after_bytes=len(whole) // 2),
            (CUT,),
            "interrupted",
        ),
        "torn": Fault(
            Script(body=whole, content_type=JSON, fault="reset", fault_after_bytes=len(whole) // 2),
            (CUT,),
            "interrupted",
        ),
        "error": Fault(
            Script(body=json.dumps(wire.refusal(500, SAYS)), content_type=JSON),
            (BAD, Failure(502, "upstream_error")),
            "error",
        ),
        LARGE: Fault(
            Script(body=" " * (32 << 20) + "{", content_type=JSON), (Failure(502, "upstream_too_large"),), "error"
        ),
    }


def streams_of(wire: Wire) -> dict[str, Fault]:
    """Return what breaks a stream at its head."""
    return {
        "whole": Fault(Script(body=wire.whole.decode(), content_type=JSON), (BAD,), "error"),
        "whole-stalls": Fault(
            wire.script(wire.frames, content_type=JSON, fault="stall", fault_after_frames=1), (BAD,), "error"
        ),
        "html-stream": Fault(wire.script(wire.frames, content_type="text/html"), (BAD,), "error"),
        "empty": Fault(wire.script([]), (BAD, CUT), "error"),
        "blank": Fault(wire.script([*wire.noise]), (BAD, CUT), "error"),
        "brotli": Fault(wire.script(wire.frames, headers={"content-encoding": "br"}), (BAD,), "error"),
    }


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
async def test_what_is_no_answer_is_an_error_in_the_clients_words(hall: Hall, wire: Wire, stream: bool):
    faults = refusals_of(wire) | (streams_of(wire) if stream else whole_of(wire))
    clients = clients_of(wire, stream)
    cells = {f"{wire.name}.{client.name}.{name}": (client, name) for client in clients for name in faults}
    for client in clients[1:]:
        cells.pop(f"{wire.name}.{client.name}.{LARGE}", None)

    async def check(cell: Cell) -> Said:
        fault = faults[cells[cell.name][1]]
        said = await hall.ask(cell, fault.script, stream=stream)
        await hall.check_closed(cell)
        check_fault(cell, said, fault)
        return said

    heard = await for_all([Cell(wire, client, name) for name, (client, _) in cells.items()], check)
    events = hall.events(len(cells))
    for name, said in heard.items():
        fault, event = faults[cells[name][1]], events[said.request_id]
        assert event["outcome"] == ("interrupted" if event["error_code"] == CUT.code else fault.outcome), name
        assert event["error_code"] in [failure.code for failure in fault.failures], name
        assert (event["attempt"], event["output_tokens"]) == (1, 0), name
        check_failed(event, fault.script)


def clients_of(wire: Wire, stream: bool) -> list[Client]:
    """Return the clients; one that is not streamed has no framing."""
    return [client for client in CLIENTS if client.name not in wire.unasked and (stream or not client.is_array)]


def check_fault(cell: Cell, said: Said, fault: Fault) -> None:
    """The client is told one of the failures, how long to wait, and nothing of the provider's own page."""
    failures: list[Any] = [failure for failure in fault.failures if failure.code.upper() in said.body.decode().upper()]
    check_refused(cell, said, failures[0] if failures else fault.failures[0])
    assert said.headers.get("retry-after") == (None if fault.wait_s is None else str(fault.wait_s))
    assert said.headers["x-gateway-attempts"] == "1"
    assert b"nobody" not in said.body
    assert "x-should-retry" not in said.headers
    assert json.loads(said.body)
