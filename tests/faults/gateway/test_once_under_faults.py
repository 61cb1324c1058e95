"""Idempotency keys when workers die, the gateway stops, or the database is away."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest
from outside.caller import CHAT, Caller, is_done, user
from outside.kept import KeptAnswers
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.postgres import PostgresProcess
from servers.process import wait_until
from servers.redis import RedisProcess

from providers.testing import FakeProvider, Script

ENVIRON = {
    "GATEWAY_ADMIN_KEY": ADMIN_KEY,
    "GATEWAY_MASTER_SECRET": MASTER_SECRET,
    configs.FAKE_KEY_NAME: configs.FAKE_KEY,
}
HELD_S = 2.0
"""How long a retry is watched waiting for a lease that stands."""


@pytest.fixture(scope="module")
def postgres_process() -> Iterator[PostgresProcess]:
    with closing(PostgresProcess.launch()) as server:
        yield server


@pytest.fixture(scope="module")
def mortal(session_provider: FakeProvider, postgres_process: PostgresProcess) -> Iterator[GatewayProcess]:
    """Two workers on a Redis and a PostgreSQL of their own."""
    with closing(RedisProcess.launch()) as redis:
        database = postgres_process.new_database()
        tree = configs.config(fake_url=session_provider.url, database=database, state=redis.url, workers=2)
        with closing(GatewayProcess.launch(tree, environ=ENVIRON, migrates=True)) as running:
            yield running
            running.stop()


def ask(caller: Caller, body: dict[str, Any], key: str) -> httpx.Response:
    """Ask on a connection of its own."""
    headers = {"authorization": f"Bearer {caller.key}", "idempotency-key": key}
    return httpx.post(caller.gateway.base_url + CHAT, json=body, headers=headers, timeout=60, verify=False)


def kill_all_workers(gateway: GatewayProcess) -> None:
    victims = gateway.pids()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: gateway.is_ready() and not set(victims) & set(gateway.pids()), within_s=20)


def test_a_call_whose_worker_was_killed_is_made_again_after_its_lease(
    mortal: GatewayProcess, fake_provider: FakeProvider
):
    fake_provider.script(Script(head_delay_ms=20_000, times=1), Script(text="whole"), model="fake-html")
    body = {"model": "fake-html", "messages": user("one two three")}
    kept = KeptAnswers(mortal)
    with Caller(mortal) as caller, ThreadPoolExecutor(4) as threads:
        lost = threads.submit(ask, caller, body, "k")
        assert wait_until(lambda: len(fake_provider.journal.entries) == 1, within_s=10)
        assert [row["status"] for row in kept.rows(caller.key_id)] == [None]
        kill_all_workers(mortal)
        assert isinstance(lost.exception(timeout=10), httpx.TransportError)
        retries = [threads.submit(ask, caller, body, "k") for _ in range(3)]
        time.sleep(HELD_S)
        assert not any(retry.done() for retry in retries)
        assert len(fake_provider.journal.entries) == 1
        kept.end_leases(caller.key_id)
        answers = [retry.result(timeout=10) for retry in retries]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.content for answer in answers}) == 1
    assert sorted("idempotent-replayed" in answer.headers for answer in answers) == [False, True, True]
    assert len(fake_provider.journal.entries) == 2


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_lease_ends_by_itself(mortal: GatewayProcess, fake_provider: FakeProvider):
    """Not in the normal run: it waits for half a minute."""
    fake_provider.script(Script(head_delay_ms=20_000, times=1), Script(text="whole"), model="fake-html")
    body = {"model": "fake-html", "messages": user("one two three")}
    with Caller(mortal) as caller, ThreadPoolExecutor(1) as threads:
        threads.submit(ask, caller, body, "k")
        assert wait_until(lambda: len(fake_provider.journal.entries) == 1, within_s=10)
        began = time.monotonic()
        kill_all_workers(mortal)
        answer = ask(caller, body, "k")
    assert answer.status_code == 200
    assert 25 < time.monotonic() - began < 40


def test_without_the_database_a_key_is_refused_and_the_rest_is_served(
    mortal: GatewayProcess, postgres_process: PostgresProcess, fake_provider: FakeProvider
):
    body = {"model": "fake-model", "messages": user("one two three")}
    with Caller(mortal) as caller:
        # Both workers know the key by then.
        for _ in range(16):
            ask_without = httpx.post(
                mortal.base_url + CHAT, json=body, headers={"authorization": f"Bearer {caller.key}"}, verify=False
            )
            assert ask_without.status_code == 200
        served = len(fake_provider.journal.entries)
        postgres_process.stop(immediate=True)
        try:
            refused = ask(caller, body, "k")
            went_on = caller.post(body)
        finally:
            postgres_process.start()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert went_on.status_code == 200
        assert len(fake_provider.journal.entries) == served + 1
        assert wait_until(lambda: ask(caller, body, "k").status_code == 200, within_s=15)
        assert "idempotent-replayed" in ask(caller, body, "k").headers


def test_an_answer_that_ends_while_the_database_is_away_is_kept_when_it_is_back(
    mortal: GatewayProcess, postgres_process: PostgresProcess, fake_provider: FakeProvider
):
    body = {"model": "fake-slow-chunks", "messages": user("word " * 20), "stream": True}
    kept = KeptAnswers(mortal)
    with Caller(mortal) as caller, ThreadPoolExecutor(1) as threads:
        first = threads.submit(ask, caller, body, "k")
        assert wait_until(lambda: bool(kept.rows(caller.key_id)), within_s=10)
        assert wait_until(lambda: len(fake_provider.journal.entries) == 1, within_s=10)
        postgres_process.stop(immediate=True)
        try:
            answer = first.result(timeout=20)
        finally:
            postgres_process.start()
        assert is_done(answer.text)
        again = wait_until_answered(caller, body)
        assert (again.content, again.headers["idempotent-replayed"]) == (answer.content, "true")
    assert len(fake_provider.journal.entries) == 1


def wait_until_answered(caller: Caller, body: dict[str, Any]) -> httpx.Response:
    deadline = time.monotonic() + 25
    while (answer := ask(caller, body, "k")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    return answer


def one_with_sqlite(fake_provider: FakeProvider, **more: Any) -> GatewayProcess:
    tree = configs.config(fake_url=fake_provider.url) | {"database": "sqlite+aiosqlite:///gateway.db"} | more
    return GatewayProcess.launch(tree, environ=ENVIRON)


def statuses(gateway: GatewayProcess) -> list[int | None]:
    with closing(sqlite3.connect(gateway.folder / "gateway.db")) as database:
        return [status for (status,) in database.execute("SELECT status FROM kept_answers")]


def outcomes(gateway: GatewayProcess) -> list[str]:
    with closing(sqlite3.connect(gateway.folder / "gateway.db")) as database:
        return [outcome for (outcome,) in database.execute("SELECT outcome FROM usage_events")]


def test_a_drain_waits_for_a_call_whose_client_has_left(fake_provider: FakeProvider):
    body = {"model": "fake-slow-chunks", "messages": user("word " * 60), "stream": True}
    with closing(one_with_sqlite(fake_provider)) as gateway:
        with Caller(gateway) as caller:
            caller.leave(body, after_s=0.5, idempotency_key="k")
            gateway.stop()
            assert statuses(gateway) == [200]
            assert outcomes(gateway) == ["ok"]
            assert fake_provider.journal.last.tokens_served == 60
            gateway.start()
            answer = ask(caller, body, "k")
        assert is_done(answer.text)
        assert answer.headers["idempotent-replayed"] == "true"
        assert len(fake_provider.journal.entries) == 1


@pytest.mark.parametrize("stays", [False, True])
def test_a_call_that_outlives_the_drain_is_settled_and_its_key_is_free(fake_provider: FakeProvider, *, stays: bool):
    body = {"model": "fake-stall", "messages": user("one two three four"), "stream": True}
    with (
        closing(one_with_sqlite(fake_provider, drain_s=0.5)) as gateway,
        ThreadPoolExecutor(1) as threads,
        Caller(gateway) as caller,
    ):
        if stays:
            asking = threads.submit(ask, caller, body, "k")
            assert wait_until(lambda: len(fake_provider.journal.entries) == 1, within_s=10)
            time.sleep(0.3)
        else:
            caller.leave(body, after_s=0.5, idempotency_key="k")
        gateway.stop()
        assert statuses(gateway) == []
        assert outcomes(gateway) == ["cancelled"]
        if stays:
            last = json.loads(asking.result(timeout=10).text.strip().rpartition("data: ")[2])
            assert last["error"]["code"] == "server_shutting_down"
