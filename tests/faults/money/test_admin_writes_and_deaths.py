"""Whoever serves the admin plane dies in the middle of a write: asked again, it has one effect and one audit entry."""

import random
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from uuid import UUID, uuid4

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from faults.money.books import eventually
from faults.money.stand import Stand
from servers.gateway import ADMIN_KEY

WRITES = 40
_AT_ONCE = 8


def make_key(stand: Stand, name: str) -> httpx.Response | None:
    """Ask for a key under an idempotency key of the same name; nothing if no answer came."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "idempotency-key": name}
    try:
        return httpx.post(f"{stand.gateway.admin_url}/admin/v1/keys", json={"name": name}, headers=headers, timeout=20)
    except httpx.TransportError:
        return None


def wait_for_some(asking: Iterable[Future[httpx.Response | None]], count: int) -> None:
    """Return as soon as so many answers have come: others are on their way then."""
    for done, _ in enumerate(as_completed(asking, timeout=60), start=1):
        if done == count:
            return


def check(stand: Stand, *, seed: int) -> None:
    names = [f"write-{uuid4().hex}" for _ in range(WRITES)]
    serving = [worker for worker in stand.gateway.workers() if worker.pid not in stand.pids()]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        asking = [threads.submit(make_key, stand, name) for name in names]
        wait_for_some(asking, random.Random(seed).randint(1, WRITES // 2))
        for worker in serving:
            psutil.Process(worker.pid).kill()
        first = [each.result(timeout=60) for each in asking]
    assert any(answer is None for answer in first), "no death met a write"
    eventually(stand.gateway.is_ready, within_s=20)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        again = list(threads.map(lambda name: make_key(stand, name), names))
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
