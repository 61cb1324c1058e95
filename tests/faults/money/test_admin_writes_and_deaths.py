"""Whoever serves the admin plane dies in the middle of a write: asked again, it has one effect and one audit entry."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from faults.money.books import eventually
from faults.money.stand import Stand
from servers.gateway import ADMIN_KEY

_AT_ONCE = 8


def administrator(stand: Stand) -> httpx.Client:
    """Return a client that keeps its connection: what waits for a new one is not met by a death."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    return httpx.Client(base_url=f"{stand.gateway.admin_url}/admin/v1", headers=headers, timeout=20)


def make_key(client: httpx.Client, name: str) -> httpx.Response | None:
    """Ask for a key under an idempotency key of the same name; nothing if no answer came."""
    try:
        return client.post("/keys", json={"name": name}, headers={"idempotency-key": name})
    except httpx.TransportError:
        return None


def admin_workers(stand: Stand) -> list[psutil.Process]:
    inference = stand.pids()
    return [worker for worker in stand.gateway.workers() if worker.pid not in inference]


def write_until_death(stand: Stand, *, after: int) -> dict[str, httpx.Response | None]:
    """Return what was answered to writes that went on until, after so many answers, whoever serves them was killed."""
    eventually(lambda: len(admin_workers(stand)) == 1 and stand.gateway.is_ready(), within_s=20)
    (serving,) = admin_workers(stand)
    told: dict[str, httpx.Response | None] = {}
    is_over = threading.Event()

    def write() -> None:
        with administrator(stand) as client:
            while not is_over.is_set():
                name = f"write-{uuid4().hex}"
                told[name] = make_key(client, name)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        asking = [threads.submit(write) for _ in range(_AT_ONCE)]
        eventually(lambda: len(told) >= after, within_s=20)
        serving.kill()
        is_over.set()
        for each in asking:
            each.result(timeout=60)
    return told


def check(stand: Stand, *, seed: int) -> None:
    told = write_until_death(stand, after=random.Random(seed).randint(1, 30))
    names, first = list(told), list(told.values())
    assert any(answer is None for answer in first), "no death met a write"
    eventually(stand.gateway.is_ready, within_s=20)
    with administrator(stand) as client, ThreadPoolExecutor(_AT_ONCE) as threads:
        again = list(threads.map(lambda name: make_key(client, name), names))
    for before, after in zip(first, again, strict=True):
        assert after is not None
        assert after.status_code == 201
        assert before is None or before.content == after.content
        assert before is None or after.headers["idempotent-replayed"] == "true"
    made = [UUID(answer.json()["id"]) for answer in again if answer is not None]
    keys = stand.books.execute("SELECT name, id FROM api_keys WHERE name LIKE 'write-%'")
    assert sorted((row["name"], row["id"]) for row in keys if row["name"] in names) == sorted(
        zip(names, made, strict=True)
    )
    audited = stand.books.execute("SELECT object_id FROM audit_entries WHERE object_id = ANY($1::uuid[])", made)
    assert sorted(row["object_id"] for row in audited) == sorted(made)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_write_that_is_asked_again_has_one_effect(stand: Stand, seed: int):
    check(stand, seed=seed)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10, 40))
def test_again_and_again(stand: Stand, seed: int):
    check(stand, seed=seed)
