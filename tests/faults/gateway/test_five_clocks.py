"""The five clocks of a call: connect, first token, idle, total, and the caller's own deadline.

Each runs out alone, all others being far away; it is exact, and says its own words.
"""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from outside.caller import Caller, data_frames, user
from outside.charges import check_failed
from outside.ledger import Ledger
from servers.configs import FAKE_KEY, FAKE_KEY_NAME, PRICE
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider, Script

CLOCK_S = 1.2
SLACK_S = 8.0
"""What a loaded machine may take longer; all other clocks are far from it."""
EARLY_S = 0.02
CLOSED_WITHIN_MS = 1_000
FAR = {"connect_s": 40, "first_token_s": 50, "idle_s": 60, "total_s": 70}
CLOCKS = ("connect", "first_token", "idle", "total", "deadline")
CONNECTING = "The connection to the provider took too long."
SILENT = "The provider did not begin to answer in time."
EMPTY = "the provider sent no content in time"
STOPPED = "The provider stopped in the middle of its answer."
OVER = "the request's time ran out"

NO_HEAD = Script(head_delay_ms=60_000)
HEAD_ONLY = Script(first_chunk_delay_ms=60_000)
NO_CONTENT = Script(frames=[": nothing yet\n\n"] * 400, chunk_delay_ms=50)
STOPS = Script(fault="stall", fault_after_frames=3)
STOPS_WHOLE = Script(fault="stall", fault_after_bytes=40)
GOES_ON = Script(output_tokens=1_000, chunk_delay_ms=50)


class Row(NamedTuple):
    """What the provider does, on which clock, and what the caller is told; `script` is absent where it is not reached.

    `has_content` is whether something has come by then.
    """

    clock: str
    stream: bool
    script: Script | None
    says: str
    has_content: bool = False


ROWS = [
    Row("connect", True, None, CONNECTING),
    Row("connect", False, None, CONNECTING),
    Row("first_token", True, NO_HEAD, SILENT),
    Row("first_token", False, NO_HEAD, SILENT),
    Row("first_token", True, NO_CONTENT, EMPTY),
    Row("idle", True, HEAD_ONLY, STOPPED),
    Row("idle", True, STOPS, STOPPED, has_content=True),
    Row("idle", False, STOPS_WHOLE, STOPPED),
    Row("total", True, NO_HEAD, OVER),
    Row("total", True, NO_CONTENT, OVER),
    Row("total", True, GOES_ON, OVER, has_content=True),
    Row("total", False, NO_HEAD, OVER),
    Row("total", False, STOPS_WHOLE, OVER),
    Row("deadline", True, NO_HEAD, OVER),
    Row("deadline", True, NO_CONTENT, OVER),
    Row("deadline", True, GOES_ON, OVER, has_content=True),
    Row("deadline", False, NO_HEAD, OVER),
    Row("deadline", False, STOPS_WHOLE, OVER),
]
ROWS_BY_NAME = {f"clock-{number}-{row.clock}": row for number, row in enumerate(ROWS)}
"""By the name that the script of each is called by."""


@pytest.fixture(scope="module")
def silence() -> Iterator[int]:
    """The port of a listener whose backlog is full, so that connects are neither accepted nor refused."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = listener.getsockname()
    clients = []
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(address)
        clients.append(client)
    yield address[1]
    for each in (listener, *clients):
        each.close()


@pytest.fixture(scope="module")
def clocked(session_provider: FakeProvider, silence: int) -> Iterator[GatewayProcess]:
    """A gateway with a model for each clock, and one that tries again."""
    key = f"env:{FAKE_KEY_NAME}"
    fake = {"adapter": "openai", "base_url": session_provider.url, "api_key": key}
    models: dict[str, Any] = {}
    for clock in CLOCKS:
        timeouts = FAR if clock == "deadline" else {**FAR, f"{clock}_s": CLOCK_S}
        provider = "silent" if clock == "connect" else "fake"
        target = {"provider": provider, "model": clock}
        models[clock] = {"targets": [target], "timeouts": timeouts, "retries": 0, "breaker": False}
        models[clock]["price"] = dict(PRICE)
    quick = {**FAR, "first_token_s": CLOCK_S * 0.4}
    models["again"] = {**models["deadline"], "timeouts": quick, "retries": 10}
    models["elsewhere"] = {**models["again"], "retries": 0, "fallbacks": ["again"]}
    tree = {
        "providers": {"fake": fake, "silent": {**fake, "base_url": f"http://127.0.0.1:{silence}/v1"}},
        "models": models,
    }
    environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET, FAKE_KEY_NAME: FAKE_KEY}
    running = GatewayProcess.launch(tree, environ=environ)
    try:
        yield running
        running.stop()
    finally:
        running.close()


class Told(NamedTuple):
    """What a caller was told, when, and what the ledger has of it."""

    status: int
    text: str
    began_s: float
    ended_s: float
    event: dict[str, Any]


def ask(gateway: GatewayProcess, name: str) -> Told:
    """Ask with a key of its own, so that the event is that of the row."""
    row = ROWS_BY_NAME[name]
    with Caller(gateway) as caller:
        headers = {"x_gateway_timeout_s": str(CLOCK_S)} if row.clock == "deadline" else {}
        body = {"model": row.clock, "messages": user(f"Say it [[script {name}]]"), "stream": row.stream}
        began_s = time.monotonic()
        answer = caller.post(body, **headers)
        ended_s = time.monotonic()
        [event] = Ledger(gateway).wait(1, key_id=caller.key_id, within_s=20)
        return Told(answer.status_code, answer.text, began_s, ended_s, event)


def test_each_clock_ends_what_it_watches_in_time(clocked: GatewayProcess, fake_provider: FakeProvider):
    for name, row in ROWS_BY_NAME.items():
        if row.script is not None:
            fake_provider.script(row.script, model=name)
    with ThreadPoolExecutor(len(ROWS)) as pool:
        for name, told in zip(ROWS_BY_NAME, pool.map(lambda name: ask(clocked, name), ROWS_BY_NAME), strict=True):
            check(name, told, fake_provider)


def check(name: str, told: Told, provider: FakeProvider) -> None:
    row = ROWS_BY_NAME[name]
    took_s = told.ended_s - told.began_s
    assert CLOCK_S - EARLY_S <= took_s < CLOCK_S + SLACK_S, (row, took_s)
    if row.has_content:
        assert told.status == 200
        *said, last = data_frames(told.text)
        assert any(frame["choices"][0]["delta"].get("content") for frame in said)
        assert "[DONE]" not in told.text
        error = last["error"]
    else:
        assert told.status == 504, (row, told.text)
        error = json.loads(told.text)["error"]
    assert (error["code"], error["message"]) == ("upstream_timeout", row.says), row
    event = told.event
    assert (event["outcome"], event["error_code"]) == ("timeout", "upstream_timeout"), row
    assert (event["output_tokens"] > 0) == row.has_content, row
    assert CLOCK_S - EARLY_S <= event["duration_ms"] / 1_000 + 0.05 < CLOCK_S + SLACK_S, row
    if row.clock in {"total", "deadline"}:
        assert event["cost_nusd"] > 0, "the provider had the prompt, whether it had begun or not"
    else:
        check_failed(event, row.script)
    if row.script is None:
        return
    entry = provider.journal.for_script(name)[-1]
    assert provider.journal.wait_for(lambda _: entry.peer_closed_after_ms is not None, within_s=15), row
    closed_s = entry.received_ns / 1e9 + (entry.peer_closed_after_ms or 0) / 1e3
    assert closed_s - told.ended_s < CLOSED_WITHIN_MS / 1_000, row


@pytest.mark.parametrize("model", ["again", "elsewhere"])
def test_the_callers_deadline_bounds_all_tries_together(
    clocked: GatewayProcess, fake_provider: FakeProvider, model: str
):
    fake_provider.script(NO_HEAD)
    with Caller(clocked) as caller:
        body = {"model": model, "messages": user("hello")}
        began_s = time.monotonic()
        answer = caller.post(body, x_gateway_timeout_s=str(CLOCK_S))
        took_s = time.monotonic() - began_s
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "upstream_timeout"
        assert took_s < CLOCK_S + SLACK_S
        events = Ledger(clocked).wait(1, key_id=caller.key_id, within_s=20)
        assert events[-1]["outcome"] == "timeout"
        entries = len(fake_provider.journal.entries)
        assert len(events) == entries <= 3
        time.sleep(0.5)
        assert len(fake_provider.journal.entries) == entries
