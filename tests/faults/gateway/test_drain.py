"""A shutdown: not ready first, then nobody new, and whoever is being answered is answered, or told why not."""

import asyncio
import itertools
import json
import random
import signal
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from faults.dialects.asking import Said, read
from faults.dialects.clients import CHAT, GEMINI, MESSAGES, Client, Failure
from outside.caller import Caller
from outside.ledger import Ledger
from outside.wire import request
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.redis import Redis

from providers.testing import FakeProvider, Script

CLIENTS = (CHAT, MESSAGES, GEMINI)
SHUTTING_DOWN = Failure(503, "server_shutting_down")
PACE_MS = 100
MARGIN_S = 1.0
"""Streams that would end so close to the end of the drain may end either way."""
CLOSED_AFTER_S = 1.0
EXITS_AFTER_S = 10
ENVIRON = {
    "GATEWAY_ADMIN_KEY": ADMIN_KEY,
    "GATEWAY_MASTER_SECRET": MASTER_SECRET,
    configs.FAKE_KEY_NAME: configs.FAKE_KEY,
}


class Shutdown(NamedTuple):
    """How long the gateway may drain, which streams it serves, and when it is told to end, after their beginning."""

    drain_s: float
    streams: int
    shortest_s: float
    longest_s: float
    told_after_s: float

    def lengths_s(self) -> list[float]:
        """Return how long each stream takes; they are spread evenly, and in no order."""
        step = (self.longest_s - self.shortest_s) / (self.streams - 1)
        lengths = [self.shortest_s + step * number for number in range(self.streams)]
        random.Random(9).shuffle(lengths)
        return lengths


class Streamed(NamedTuple):
    """A stream as its client had it; times are monotonic."""

    client: Client
    length_s: float
    began_s: float
    ended_s: float
    said: Said


async def stream(gateway: GatewayProcess, key: str, client: Client, *, name: str, length_s: float) -> Streamed:
    """Ask, and read until the gateway closes or the answer is whole."""
    body = json.dumps(client.ask("fake-model", f"Say it [[script {name}]]", True)).encode()
    pairs = [("authorization", f"Bearer {key}"), ("content-type", "application/json"), ("connection", "close")]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    began_s = time.monotonic()
    raw = b""
    try:
        writer.write(request("POST", client.path("fake-model", True), pairs, body))
        while piece := await reader.read(1 << 16):
            raw += piece
    except ConnectionError:
        pass
    finally:
        writer.close()
    return Streamed(client, length_s, began_s, time.monotonic(), read(raw))


async def probe(gateway: GatewayProcess, told_s: float) -> list[tuple[float, int | None]]:
    """Ask on new connections whether it is ready, until some time after nobody may be let in; note when it said what.

    `None` is a connection that was refused.
    """
    heard: list[tuple[float, int | None]] = []
    while time.monotonic() < told_s + 2 * CLOSED_AFTER_S:
        asked_s = time.monotonic() - told_s
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        except ConnectionError:
            heard.append((asked_s, None))
        else:
            writer.write(request("GET", "/readyz", [("connection", "close")], b""))
            try:
                heard.append((asked_s, read(await reader.read(1 << 16)).status))
            except (ConnectionError, IndexError):
                heard.append((asked_s, -1))
            writer.close()
        await asyncio.sleep(0.04)
    return heard


async def check(gateway: GatewayProcess, provider: FakeProvider, plan: Shutdown) -> None:
    with Caller(gateway) as caller:
        lengths = plan.lengths_s()
        for number, length_s in enumerate(lengths):
            tokens = int(length_s * 1_000 / PACE_MS)
            script = Script(output_tokens=tokens, ignores_output_cap=True, chunk_delay_ms=PACE_MS)
            provider.script(script, model=f"stream-{number}")
        running = [
            asyncio.ensure_future(stream(gateway, caller.key, client, name=f"stream-{number}", length_s=length_s))
            for number, (length_s, client) in enumerate(zip(lengths, itertools.cycle(CLIENTS), strict=False))
        ]
        await asyncio.sleep(plan.told_after_s)
        told_s = time.monotonic()
        gateway.send(signal.SIGTERM)
        heard = await probe(gateway, told_s)
        ended = await asyncio.gather(*running)
        await asyncio.to_thread(gateway.stop)
        assert time.monotonic() - told_s < plan.drain_s + EXITS_AFTER_S
        assert gateway.exit_code == 0
        check_doors(heard)
        for one in ended:
            check_stream(one, closes_s=told_s + plan.drain_s)
        check_ledger(ended, Ledger(gateway).events(key_id=caller.key_id))


def check_doors(heard: list[tuple[float, int | None]]) -> None:
    """It is not ready before it lets nobody in, and that it does in time."""
    said = [status for _, status in heard]
    assert 503 in said, said
    assert None in said[said.index(503) :], said
    assert None not in said[: said.index(503)], said
    assert {status for at_s, status in heard if at_s >= CLOSED_AFTER_S} == {None}, heard


def check_stream(one: Streamed, *, closes_s: float) -> None:
    """It came whole if there was time for that, and else it says why it did not."""
    assert one.said.status == 200
    assert not one.said.is_torn
    is_whole = one.client.is_whole(one.said.body)
    would_end_s = one.began_s + one.length_s
    if abs(would_end_s - closes_s) > MARGIN_S:
        assert is_whole == (would_end_s < closes_s), (one.client.name, would_end_s - closes_s)
    if not is_whole:
        one.client.check_late(one.client.frames(one.said.body), SHUTTING_DOWN)
        assert one.ended_s >= closes_s - MARGIN_S


def check_ledger(ended: list[Streamed], events: list[dict[str, Any]]) -> None:
    """Every stream is in it once, as it ended."""
    found = {str(event["request_id"]): event for event in events}
    assert len(found) == len(events) == len(ended)
    for one in ended:
        event = found[one.said.request_id]
        is_whole = one.client.is_whole(one.said.body)
        expected = ("ok", "provider") if is_whole else ("cancelled", "estimated")
        assert (event["outcome"], event["usage_source"]) == expected
        assert event["output_tokens"] > 0
        assert event["cost_nusd"] > 0


async def test_a_shutdown_lets_streams_end_or_says_why_not(fake_provider: FakeProvider):
    tree = {**configs.config(fake_url=fake_provider.url), "drain_s": 4}
    gateway = GatewayProcess.launch(tree, environ=ENVIRON)
    try:
        await check(gateway, fake_provider, Shutdown(4, 20, 0.5, 8, 0.5))
    finally:
        gateway.close()


@pytest.fixture
def workers(fake_provider: FakeProvider, postgres_server: Postgres, redis_server: Redis) -> Iterator[GatewayProcess]:
    """Two workers over PostgreSQL and Redis, with the drain that they have by default."""
    redis_server.flush()
    tree = configs.config(
        fake_url=fake_provider.url, database=postgres_server.new_database(), state=redis_server.url, workers=2
    )
    running = GatewayProcess.launch(tree, environ=ENVIRON, migrates=True)
    yield running
    running.close()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_the_same_at_full_length(workers: GatewayProcess, fake_provider: FakeProvider):
    await check(workers, fake_provider, Shutdown(30, 50, 1, 60, 5))
