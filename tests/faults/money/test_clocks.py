"""A worker's wall clock jumps by an hour: nothing that is admitted, counted or charged depends on it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import Stand, standing
from faults.money.test_sliding_window import moments_of, most_in_a_window
from outside.caller import Caller
from outside.ledger import cost_nusd, usd
from servers.gateway import REPOSITORY
from servers.process import wait_until

HOUR_S = 3_600
LIMIT, WINDOW_S = 20, 3
REQUEST_NUSD = cost_nusd(6, 3)
_STEPS = "STEPS_OF_THE_CLOCK"
# Python runs this in every process of the gateway before anything else: the only clock of the gateway asks, each
# time, whether a file with the process's id says by how much it is to be wrong.
_SITECUSTOMIZE = f"""
import os, time
from datetime import UTC, datetime
from pathlib import Path
from app.kernel.clock import SystemClock

folder = Path(os.environ["{_STEPS}"])
true_ns = time.time_ns

def step_ns():
    try:
        return int(float((folder / str(os.getpid())).read_text() or 0) * 1e9)
    except FileNotFoundError:
        return 0

time.time_ns = lambda: true_ns() + step_ns()
time.time = lambda: time.time_ns() / 1e9
SystemClock.now = lambda self: datetime.fromtimestamp(time.time(), UTC)
SystemClock.now_ns = lambda self: time.time_ns()
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a file tells a process how wrong its clock is."""
    folder = tmp_path_factory.mktemp("steps")
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    return folder


@pytest.fixture(scope="module")
def stand(steps: Path) -> Iterator[Stand]:
    environ = {"PYTHONPATH": f"{steps}:{REPOSITORY}", _STEPS: str(steps)}
    with standing(durable=False, extra_environ=environ) as put_up:
        yield put_up


@pytest.fixture(params=[HOUR_S, -HOUR_S], ids=["ahead", "behind"])
def stepped(request: pytest.FixtureRequest, stand: Stand, steps: Path) -> Iterator[float]:
    """One of the two workers is an hour wrong, from now on."""
    step = steps / str(stand.pids()[0])
    step.write_text(str(request.param))
    yield request.param
    step.unlink()


def ask_for(stand: Stand, caller: Caller, *, per_s: float, seconds: float) -> list[Told]:
    def make(number: int) -> Question:
        return Question(caller.key, new_tag(), max_tokens=3, stream=number % 2 == 0)

    return stand.crowd.begin(stand.crowd.at_rate(per_s, seconds=seconds, make=make)).result(timeout=60)


def test_the_step_is_real(stand: Stand, stepped: float):
    """Ids of requests carry the time of the worker that made them."""
    with stand.caller() as caller:
        told = ask_for(stand, caller, per_s=20, seconds=1)
        ages_s = {round(time.time() - int(each.request_id.replace("-", "")[:12], 16) / 1000, -2) for each in told}
        assert ages_s == {0, -stepped}


def test_windows_are_those_of_the_store(stand: Stand, stepped: float):
    del stepped
    rule = {"dimension": "requests", "limit": LIMIT, "window_s": WINDOW_S}
    with stand.caller(limits={"rules": [rule]}) as caller:
        told = ask_for(stand, caller, per_s=20, seconds=7)
        assert {each.status for each in told} == {200, 429}
        events = stand.books.wait_for(told, key_id=caller.key_id)
        moments = moments_of(events, lambda _: 1)
        assert most_in_a_window(moments, WINDOW_S * 1000) <= LIMIT
        assert len(events) >= 2 * LIMIT
        for event in events:
            assert abs((event["occurred_at"] - datetime.now(UTC)).total_seconds()) < 60


def test_periods_and_budgets_are_those_of_the_store(stand: Stand, stepped: float):
    """Both workers spend from one account, of the period that Redis says it is."""
    del stepped
    # What is held for a request at first is more than what it costs: the budget pays for ten and a held one.
    with stand.caller(budget={"amount": usd(60 * REQUEST_NUSD), "period": "day"}) as caller:
        told = ask_for(stand, caller, per_s=20, seconds=5)
        assert {each.status for each in told} == {200, 429}
        stand.books.wait_for(told, key_id=caller.key_id)
        assert stand.books.spent_nusd(caller.key_id) == REQUEST_NUSD * sum(each.is_whole for each in told)
        assert stand.books.spent_nusd(caller.key_id) <= 60 * REQUEST_NUSD
        stand.books.assert_balanced(caller.key_id, within_s=10)
        assert len(stand.account(caller).names()) == 1
        (use,) = stand.gateway.admin("GET", f"/budgets/key/{caller.key_id}")["use"]
        assert use["used"] == usd(stand.books.spent_nusd(caller.key_id))


def readiness(stand: Stand) -> set[int]:
    """Return what workers say of whether requests should come to them, on connections spread among them."""
    with httpx.Client(base_url=stand.gateway.base_url, headers={"connection": "close"}, timeout=20) as client:
        return {client.get("/readyz").status_code for _ in range(16)}


def test_a_clock_that_is_far_from_the_stores_makes_its_worker_unready(stand: Stand, steps: Path):
    """More than half a minute is too far; what comes all the same is served, and a clock put right is trusted again."""
    step = steps / str(stand.pids()[0])
    with stand.caller() as caller:
        assert wait_until(lambda: readiness(stand) == {200}, within_s=20)
        try:
            step.write_text("20")
            # Every second it is compared: three would have found it.
            time.sleep(3)
            assert readiness(stand) == {200}
            step.write_text("-40")
            assert wait_until(lambda: readiness(stand) == {200, 503}, within_s=20), "one of two workers is wrong"
            assert {each.status for each in ask_for(stand, caller, per_s=20, seconds=1)} == {200}
        finally:
            step.unlink()
        assert wait_until(lambda: readiness(stand) == {200}, within_s=20)


def test_leases_are_kept_across_a_step(stand: Stand, steps: Path):
    """A stream that is under way when its worker's clock jumps stays held, and is charged for what it was."""
    with stand.caller(budget={"amount": "5", "period": "total"}, limits={"concurrency": 50}) as caller:
        asked = [Question(caller.key, new_tag(), model="slow", words=80, stream=True) for _ in range(8)]
        asking = stand.crowd.begin(stand.crowd.ask_all(asked))
        written = [steps / str(pid) for pid in stand.pids()]
        for step, file in zip((HOUR_S, -HOUR_S), written, strict=True):
            file.write_text(str(step))
        try:
            told = asking.result(timeout=60)
        finally:
            for file in written:
                file.unlink()
        assert all(each.is_whole for each in told)
        events = stand.books.wait_for(told, key_id=caller.key_id)
        assert {(event["outcome"], event["usage_source"]) for event in events} == {("ok", "provider")}
        stand.books.assert_balanced(caller.key_id, within_s=10)
