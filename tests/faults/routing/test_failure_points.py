"""Every point at which a call may fail, for clients of every dialect, with and without somewhere else to go.

A failure before the first content is retried, falls back, or has its true status; one after it is one error event and
no end; nothing of an attempt that failed is ever in the answer; and the ledger has every attempt.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from faults.dialects.asking import Said, ask
from faults.dialects.clients import Client
from faults.dialects.hall import check_broken
from faults.routing.cells import CLIENTS, Cell, cells_of
from faults.routing.points import SICK, SPARE, WELL, Kind
from faults.routing.ward import Ward, opened
from outside.caller import Caller
from outside.charges import check_failed
from outside.ledger import Ledger
from outside.wire import request

AT_ONCE = 48
WAITS_S = 30
"""What the provider asks for that is full."""


@pytest.fixture(scope="module")
def ward() -> Iterator[Ward]:
    with opened() as found:
        yield found


@pytest.mark.parametrize("client", CLIENTS, ids=[client.name for client in CLIENTS])
async def test_a_failure_is_answered_by_the_rules(ward: Ward, client: Client):
    cells = list(cells_of(client))
    gate = asyncio.Semaphore(AT_ONCE)
    with Caller(ward.gateway) as caller:

        async def asked(cell: Cell) -> Said:
            async with gate:
                return await _ask(ward, cell, key=caller.key)

        # Those that a clock ends come first, so that the others fill the time.
        ordered = sorted(cells, key=lambda cell: not cell.point.hangs)
        heard = list(zip(ordered, await asyncio.gather(*map(asked, ordered)), strict=True))
        count = sum(len(cell.legs) for cell in cells)
        rows = Ledger(ward.gateway).wait(count, key_id=caller.key_id, within_s=10)
    events: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        events[str(row["request_id"])].append(row)
    failures = {}
    for cell, said in heard:
        try:
            check_answer(cell, said)
            check_events(cell, events[said.request_id])
            check_calls(cell, ward)
        except AssertionError as error:
            failures[cell.name] = str(error)
    assert not failures, f"{len(failures)} of {len(cells)}:\n\n" + "\n\n".join(
        f"{name}\n{text[:1200]}" for name, text in list(failures.items())[:8]
    )


async def _ask(ward: Ward, cell: Cell, *, key: str) -> Said:
    if cell.point.script is not None:
        ward.providers[SICK].script(cell.point.script(cell.tongue, cell.stream), model=cell.name)
    for word in (WELL, SPARE):
        ward.providers[word].script(cell.tongue.says(word, stream=cell.stream), model=cell.name)
    body = cell.client.ask(cell.name, f"Say it [[script {cell.name}]]", cell.stream)
    pairs = [("authorization", f"Bearer {key}"), ("content-type", "application/json"), ("connection", "close")]
    path = cell.client.path(cell.name, cell.stream)
    return await ask(ward.gateway.port, request("POST", path, pairs, json.dumps(body).encode()))


def check_answer(cell: Cell, said: Said) -> None:
    """The client hears who served, or the truth about why nobody did."""
    legs, text = cell.legs, said.body.decode()
    last = legs[-1]
    words = {word for word in (SICK, WELL, SPARE) if word in text}
    assert said.headers["x-gateway-attempts"] == str(len(legs)), said.raw
    assert (said.headers["x-gateway-provider"], said.headers["x-gateway-model"]) == (last.provider, last.model)
    assert not said.is_torn
    if last.outcome == "ok":
        assert said.status == 200, said.raw
        assert words == {last.word}, said.body
        assert not cell.stream or cell.client.is_whole(said.body), said.body
    elif cell.point.kind is Kind.LATE:
        before = check_broken(cell, said, cell.point.failure)
        assert not [frame for frame in before if _is_error(frame)], "it is said once"
        assert words == {SICK}
    else:
        check_refused(cell, said)
        assert words == set(), said.body


def _is_error(frame: Any) -> bool:
    return isinstance(frame, dict) and (bool(frame.get("error")) or frame.get("type") in {"error", "response.failed"})


def check_refused(cell: Cell, said: Said) -> None:
    """The status is true, the error is in the client's dialect, and whoever is to wait is told for how long."""
    failure = cell.point.failure
    assert said.status == failure.status, said.raw
    assert said.headers["content-type"].startswith("application/json")
    body = json.loads(said.body)
    if failure.code:
        cell.client.check_error(body, failure)
    else:
        assert body["error"]["message"]
    waits = said.headers.get("retry-after")
    if failure.status != 429:
        assert waits is None or failure.status == 503
    elif cell.point.kind is Kind.FULL:
        assert 0 < int(waits or 0) <= WAITS_S
    else:
        assert waits is not None


def check_events(cell: Cell, events: list[dict[str, Any]]) -> None:
    """The ledger has every attempt once, and knows which is the answer."""
    legs = cell.legs
    ordered = sorted(events, key=lambda event: int(event["attempt"]))
    found = [(each["provider"], each["model"], each["outcome"]) for each in ordered]
    assert found == [(leg.provider, leg.model, leg.outcome) for leg in legs]
    assert [bool(each["is_final"]) for each in ordered] == [False] * (len(legs) - 1) + [True]
    for event, leg in zip(ordered, legs, strict=True):
        if leg.outcome == "ok":
            assert event["cost_nusd"] > 0, event
            continue
        script = cell.point.script
        check_failed(event, None if script is None else script(cell.tongue, cell.stream))
        assert (event["output_tokens"] > 0) == (cell.point.kind is Kind.LATE), event
        if cell.point.failure.code:
            assert event["error_code"] == cell.point.failure.code


def check_calls(cell: Cell, ward: Ward) -> None:
    """As many calls reached the providers as there were attempts at them."""
    for word, provider in ward.providers.items():
        reached = [leg for leg in cell.legs if leg.word == word]
        if word == SICK and cell.point.script is None:
            reached = []
        assert len(provider.journal.for_script(cell.name)) == len(reached), word
