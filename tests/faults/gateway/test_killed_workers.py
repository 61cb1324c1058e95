"""Workers die at any moment: who got a whole answer is in the ledger, exactly once."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from outside.caller import CHAT, Caller, is_done, user
from outside.ledger import Ledger
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.process import wait_until
from servers.redis import RedisProcess

from providers.testing import FakeProvider

IN_FLIGHT = 40
LANDS_WITHIN_S = 60


@pytest.fixture(scope="module")
def mortal(session_provider: FakeProvider, postgres_server: Postgres) -> Iterator[GatewayProcess]:
    """Two workers that are killed again and again, on a Redis of their own."""
    with closing(RedisProcess.launch(durable=True)) as redis:
        tree = configs.config(
            fake_url=session_provider.url, database=postgres_server.new_database(), state=redis.url, workers=2
        )
        environ = {
            "GATEWAY_ADMIN_KEY": ADMIN_KEY,
            "GATEWAY_MASTER_SECRET": MASTER_SECRET,
            configs.FAKE_KEY_NAME: configs.FAKE_KEY,
        }
        with closing(GatewayProcess.launch(tree, environ=environ, migrates=True)) as running:
            yield running


def ask_until(caller: Caller, seed: int, ends_at: float) -> list[str]:
    """Ask again and again, streaming or not; return the ids of the requests whose answers came whole."""
    draw = random.Random(seed)
    whole: list[str] = []
    while time.monotonic() < ends_at:
        stream = draw.random() < 0.5
        model = draw.choice(["fake-model", "fake-slow-chunks", "echo"])
        body: dict[str, Any] = {"model": model, "messages": user("one two three four"), "stream": stream}
        headers = {"authorization": f"Bearer {caller.key}"}
        with suppress(httpx.TransportError):
            answer = httpx.post(caller.gateway.base_url + CHAT, json=body, headers=headers, timeout=30, verify=False)
            if answer.status_code == 200 and (not stream or is_done(answer.text)):
                whole.append(answer.headers["x-request-id"])
    return whole


def pids_of(gateway: GatewayProcess) -> list[int]:
    """Return the workers' process ids; none if one vanished while they were listed."""
    try:
        return gateway.pids()
    except psutil.NoSuchProcess:
        return []


def kill_a_worker(gateway: GatewayProcess, draw: random.Random) -> None:
    """SIGKILL one of the workers that serve now, and wait until there are two again."""
    victim = psutil.Process(draw.choice(pids_of(gateway)))
    victim.send_signal(signal.SIGKILL)
    assert wait_until(lambda: victim.pid not in (pids := pids_of(gateway)) and len(pids) == 2, within_s=15)


def check_rounds(gateway: GatewayProcess, *, rounds: int) -> None:
    draw = random.Random(rounds)
    whole: list[str] = []
    with Caller(gateway) as caller, ThreadPoolExecutor(IN_FLIGHT) as threads:
        for number in range(rounds):
            ends_at = time.monotonic() + 1.2
            asking = [threads.submit(ask_until, caller, number * 1000 + at, ends_at) for at in range(IN_FLIGHT)]
            time.sleep(draw.uniform(0.2, 1.0))
            kill_a_worker(gateway, draw)
            whole += [found for future in asking for found in future.result(timeout=60)]
    wanted = set(whole)
    assert len(wanted) == len(whole) > IN_FLIGHT

    def is_settled(events: list[dict[str, Any]]) -> bool:
        return wanted <= {str(event["request_id"]) for event in events}

    events = Ledger(gateway).wait_until(is_settled, key_id=caller.key_id, within_s=LANDS_WITHIN_S)
    settled = Counter(str(event["request_id"]) for event in events)
    assert wanted - settled.keys() == set(), "whole answers that are in no ledger"
    assert [request for request, count in settled.items() if count > 1] == []
    assert {event["outcome"] for event in events if str(event["request_id"]) in wanted} == {"ok"}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_whole_answers_are_settled_whatever_dies(mortal: GatewayProcess):
    """Not in the normal run: what a dead worker had claimed of the queue is taken over only after half a minute."""
    check_rounds(mortal, rounds=25)
