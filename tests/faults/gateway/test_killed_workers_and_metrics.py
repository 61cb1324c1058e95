"""Workers die by SIGKILL under load, the one that answers a scrape too: no counter ever goes back, and none is lost."""

import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from outside.caller import CHAT, Caller, user
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import Postgres
from servers.process import wait_until
from servers.redis import RedisProcess

from providers.testing import FakeProvider

ROUNDS = 6
CALLERS = 6


@pytest.fixture(scope="module")
def mortal(session_provider: FakeProvider, postgres_server: Postgres) -> Iterator[GatewayProcess]:
    """Two workers, and a Redis and a database of their own."""
    with closing(RedisProcess.launch()) as redis:
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


def counters(gateway: GatewayProcess) -> dict[str, float]:
    """Return all that only grows; raises `httpx.TransportError` if the worker that answers dies meanwhile."""
    text = httpx.get(f"{gateway.base_url}/metrics", timeout=30).text
    lines = [line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#"]
    grows = re.compile(r"(_total|_bucket|_count|_sum)(\{|$)")
    return {name: float(value) for name, _, value in lines if grows.search(name)}


class Scraper(threading.Thread):
    """Scrapes without a pause, and notes every counter that is less than it was, or gone."""

    def __init__(self, gateway: GatewayProcess) -> None:
        super().__init__()
        self.gateway = gateway
        self.ends = threading.Event()
        self.scrapes = self.torn = 0
        self.went_back: list[tuple[str, float, float]] = []

    def run(self) -> None:
        highest: dict[str, float] = {}
        while not self.ends.is_set():
            try:
                now = counters(self.gateway)
            except httpx.TransportError:
                self.torn += 1
                time.sleep(0.02)
                continue
            self.scrapes += 1
            self.went_back += [
                (name, value, now.get(name, 0.0))
                for name, value in highest.items()
                if now.get(name, 0.0) < value - 1e-9
            ]
            highest = now


def answered(found: dict[str, float]) -> float:
    return sum(
        value for name, value in found.items()
        if name.startswith("gateway_requests_total{") and f'route="{CHAT}"' in name and 'status="200"' in name
    )  # fmt: skip


def ask_until(caller: Caller, ends_at: float) -> int:
    """Ask on fresh connections; return how many answers came whole."""
    whole = 0
    headers = {"authorization": f"Bearer {caller.key}"}
    body = {"model": "echo", "messages": user("x")}
    while time.monotonic() < ends_at:
        with suppress(httpx.TransportError):
            answer = httpx.post(caller.gateway.base_url + CHAT, json=body, headers=headers, timeout=30, verify=False)
            whole += answer.status_code == 200
    return whole


def kill_a_worker(gateway: GatewayProcess, draw: random.Random) -> None:
    victim = psutil.Process(draw.choice(gateway.pids()))
    victim.send_signal(signal.SIGKILL)

    def is_replaced() -> bool:
        with suppress(psutil.NoSuchProcess):
            pids = gateway.pids()
            return victim.pid not in pids and len(pids) == 2
        return False

    assert wait_until(is_replaced, within_s=30)


@pytest.mark.timeout(300)
def test_no_counter_goes_back_whoever_dies(mortal: GatewayProcess):
    draw = random.Random(9)
    scraper = Scraper(mortal)
    with Caller(mortal) as caller:
        before = answered(counters(mortal))
        scraper.start()
        whole = 0
        try:
            for _ in range(ROUNDS):
                with ThreadPoolExecutor(CALLERS) as threads:
                    ends_at = time.monotonic() + 1.5
                    asking = [threads.submit(ask_until, caller, ends_at) for _ in range(CALLERS)]
                    time.sleep(draw.uniform(0.3, 1.0))
                    kill_a_worker(mortal, draw)
                    whole += sum(each.result(timeout=60) for each in asking)
        finally:
            scraper.ends.set()
            scraper.join(60)
        counted = answered(counters(mortal)) - before
    assert scraper.scrapes > 3 * ROUNDS
    assert scraper.went_back == []
    # A worker that dies takes along what ended within its last 80 ms; a request that was cut off may be counted.
    assert whole * 0.9 <= counted <= whole + CALLERS * ROUNDS
    places = [folder for folder in Path("/dev/shm").glob("llm-gateway-*") if list(folder.glob("gateway-*.names"))]
    alive = {process.pid for process in mortal.workers()}
    mine = [folder for folder in places if any(f"-{pid}-" in path.name for pid in alive for path in folder.iterdir())]
    [folder] = mine
    left = {int(path.stem.split("-")[-2]) for path in folder.glob("*.names")}
    assert left <= alive, "the files of the dead are gone"


def test_a_new_parent_begins_at_zero(mortal: GatewayProcess):
    """A restart is a reset, as with every program that Prometheus scrapes; `rate` and `increase` know it."""
    with Caller(mortal) as caller:
        assert caller.chat("echo").status_code == 200
        assert wait_until(lambda: answered(counters(mortal)) > 0, within_s=20)
    mortal.stop()
    mortal.start()
    assert answered(counters(mortal)) == 0
