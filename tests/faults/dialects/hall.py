"""Where all the parties of a fault meet, and what must hold of every one of them."""

import asyncio
import json
import time
from typing import Any, NamedTuple, Protocol

from faults.dialects.asking import Cell, Said, ask
from faults.dialects.clients import Client, Failure
from faults.dialects.wires import CREDENTIAL
from outside.caller import Caller
from outside.ledger import Ledger
from servers.gateway import GatewayProcess

from providers.testing import Entry, FakeProvider, Script

CLOSED_WITHIN_MS = 1000
_LINGERS_MS = 500
_LOST_AFTER_S = 5


class Hall(NamedTuple):
    """The gateway, the provider behind it, and a caller whose events are those of one test."""

    gateway: GatewayProcess
    provider: FakeProvider
    caller: Caller
    ledger: Ledger

    async def ask(self, cell: Cell, script: Script, *, stream: bool, headers: dict[str, str] | None = None) -> Said:
        """Ask once, with the provider under `script`; what must never be in an answer is not in this one."""
        self.provider.script(script, model=cell.name)
        data = cell.bytes(self.caller.key, stream=stream, headers=(headers or {}).items())
        said = await ask(self.gateway.port, data)
        check_secrets(said, self.provider)
        return said

    def entry(self, cell: Cell) -> Entry:
        """Return what the provider wrote down of a cell's request.

        A kept connection that was closed on it is no answer, so the request came again on a new one.
        """
        return self.provider.journal.for_script(cell.name)[-1]

    async def check_closed(self, cell: Cell, *, since_s: float | None = None) -> None:
        """The provider's connection is let go of within a second of `since_s`, when the client left.

        Without it, of now, and a bit later: a stream that was told its end may have a second to end its body.
        """
        entry = self.entry(cell)
        within_ms = CLOSED_WITHIN_MS + (_LINGERS_MS if since_s is None else 0)
        since_s = time.monotonic() if since_s is None else since_s
        while entry.finished_after_ms is None:
            assert time.monotonic() - since_s < _LOST_AFTER_S, "the upstream call is not closed"
            await asyncio.sleep(0.01)
        closed_after_ms = entry.received_ns / 1e6 + entry.finished_after_ms - since_s * 1000
        assert closed_after_ms < within_ms, "the upstream call was closed late"

    def events(self, count: int) -> dict[str, dict[str, Any]]:
        """Return the test's usage events by request; there are `count`, one for each."""
        events = self.ledger.wait(count, key_id=self.caller.key_id, within_s=20)
        found = {str(event["request_id"]): event for event in events}
        assert len(events) == len(found) == count
        return found


def check_secrets(said: Said, provider: FakeProvider) -> None:
    """Neither the provider's credential nor its address is in an answer, head or body."""
    for secret in (CREDENTIAL, provider.origin.partition("//")[2]):
        at = said.raw.find(secret.encode())
        assert at < 0, f"it is told: {said.raw[max(0, at - 200) : at + 100]!r}"


def check_refused(cell: Cell, said: Said, failure: Failure) -> None:
    """The answer is an error in the client's dialect."""
    assert said.status == failure.status, said.body
    assert said.headers["content-type"].startswith("application/json")
    assert not said.is_torn
    cell.client.check_error(json.loads(said.body), failure)


class Heard(Protocol):
    """A cell of any matrix, as far as it matters who heard an answer."""

    @property
    def client(self) -> Client:
        """Whose dialect it is."""
        ...


def check_broken(cell: Heard, said: Said, failure: Failure) -> list[Any]:
    """The answer is a stream that ends with an error, and with nothing that could be taken for its end.

    Return what it said before.
    """
    assert said.status == 200, said.body
    assert not said.is_torn
    assert not cell.client.is_whole(said.body), said.body
    frames = cell.client.frames(said.body)
    cell.client.check_late(frames, failure)
    return frames[: -cell.client.late_frames]
