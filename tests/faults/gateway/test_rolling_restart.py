"""Two gateways behind a load balancer are restarted one after the other under load, and nobody notices."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

import httpx
import pytest
from outside.caller import Caller, is_done, user
from outside.ledger import Ledger
from servers import configs
from servers.balancer import Balancer, balancer_in_thread
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.redis import Redis

from providers.testing import FakeProvider, Script

PER_S = 50
SETTLES_S = 1.0
"""How long the load goes on before, between and after the restarts."""
ENVIRON = {
    "GATEWAY_ADMIN_KEY": ADMIN_KEY,
    "GATEWAY_MASTER_SECRET": MASTER_SECRET,
    configs.FAKE_KEY_NAME: configs.FAKE_KEY,
}


class Pair(NamedTuple):
    """Two gateways over one PostgreSQL and one Redis, and what stands before them."""

    gateways: tuple[GatewayProcess, GatewayProcess]
    balancer: Balancer


@pytest.fixture
def pair(fake_provider: FakeProvider, postgres_server: Postgres, redis_server: Redis) -> Iterator[Pair]:
    redis_server.flush()
    tree = configs.config(fake_url=fake_provider.url, database=postgres_server.new_database(), state=redis_server.url)
    tree["drain_s"] = 10
    with ExitStack() as stack:
        first = stack.enter_context(closing(GatewayProcess.launch(tree, environ=ENVIRON, migrates=True)))
        second = stack.enter_context(closing(GatewayProcess.launch(tree, environ=ENVIRON)))
        balancer = stack.enter_context(balancer_in_thread([first.port, second.port]))
        yield Pair((first, second), balancer)


class Load:
    """Sends requests at a steady pace until it is told to stop: whole ones and streams in turn.

    Every third has a connection of its own; the others share those that are kept. `failures` says what went wrong.
    """

    def __init__(self, port: int, key: str) -> None:
        self.sent = 0
        self.failures: list[str] = []
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"authorization": f"Bearer {key}"},
            timeout=20,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )
        self._is_over = False

    async def run(self) -> None:
        """Send, each request at its own time whatever became of those before."""
        began_s = time.monotonic()
        async with self._client, asyncio.TaskGroup() as group:
            for number in itertools.count():
                await asyncio.sleep(max(0.0, began_s + number / PER_S - time.monotonic()))
                if self._is_over:
                    return
                self.sent += 1
                group.create_task(self._ask(is_stream=number % 2 == 0, is_kept=number % 3 > 0))

    def stop(self) -> None:
        """Send nothing more."""
        self._is_over = True

    async def _ask(self, *, is_stream: bool, is_kept: bool) -> None:
        body: dict[str, Any] = {"model": "fake-model", "messages": user("one two three"), "stream": is_stream}
        try:
            headers = {} if is_kept else {"connection": "close"}
            answer = await self._client.post("/v1/chat/completions", json=body, headers=headers)
        except httpx.HTTPError as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            return
        is_whole = is_done(answer.text) if is_stream else bool(answer.json().get("choices"))
        if answer.status_code != httpx.codes.OK or not is_whole:
            self.failures.append(f"{answer.status_code}: {answer.text[-300:]}")


async def check(pair: Pair, rounds: int) -> None:
    with Caller(pair.gateways[0]) as caller:
        load = Load(pair.balancer.port, caller.key)
        running = asyncio.ensure_future(load.run())
        await asyncio.sleep(SETTLES_S)
        for gateway in pair.gateways * rounds:
            before = pair.balancer.passed[gateway.port]
            await asyncio.to_thread(gateway.stop)
            await asyncio.to_thread(gateway.start)
            await asyncio.sleep(SETTLES_S)
            assert pair.balancer.passed[gateway.port] > before
        load.stop()
        await running
        assert load.failures == []
        assert load.sent > PER_S * 2 * SETTLES_S
        events = Ledger(pair.gateways[0]).wait(load.sent, key_id=caller.key_id, within_s=10)
        assert len(events) == len({event["request_id"] for event in events}) == load.sent
        assert {event["outcome"] for event in events} == {"ok"}


async def test_a_rolling_restart_fails_no_request(pair: Pair, fake_provider: FakeProvider):
    fake_provider.script(Script(chunk_delay_ms=60, head_delay_ms=100), model="fake-model")
    await check(pair, rounds=1)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_again_and_again(pair: Pair, fake_provider: FakeProvider):
    fake_provider.script(Script(chunk_delay_ms=150, head_delay_ms=300), model="fake-model")
    await check(pair, rounds=8)
