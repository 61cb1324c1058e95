"""What counting, logging and telling of a request cost in CPU, in one process, with tracing off.

    .venv/bin/python infra/bench/observing.py [--requests 2000] [--rounds 9] [--gate]

The tally, the mapped files, the log's encoder, the recorder of decision traces and its store are the worker's own;
lines go to /dev/null, and the collector runs as often as a worker's. Batches are as large as a busy worker's (80 ms at
1,000 requests a second). The columns add up: each has all that those before it have. The last holds what the layers
note on a request's way, too. The same loop without any of it is taken off. Absolute figures belong to one machine, so
each round also decodes the request's body of 2 KB with the standard library, and the ratio to that travels. `--gate`
exits with 1 if a request costs more than 15 µs of CPU for all of it.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from observed import BODY, CASES, CLOCK, PRICES, Case, finished, note

from app.cache.answers import Sealer
from app.gateway.bodies import BodySealer
from app.gateway.caching import Wishes
from app.gateway.recorder import Recorder
from app.gateway.recording import Recording
from app.gateway.tally import Finished, Tally
from app.observability.logs import RequestLog
from app.observability.metrics import Metrics
from app.pipeline.explained_routes import ExplainedRoutes
from app.pipeline.foresight import Hindsight
from app.server.worker import GC_THRESHOLDS
from app.settings import Settings
from app.stores.memory_traces import MemoryTraceStore

MOST_US = 15.0
_BATCH = 80
_NS_PER_US = 1_000
_STAGES = ("metrics", "with logs", "with traces")
_ALL = len(_STAGES) - 1


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--gate", action="store_true", help=f"exit 1 over {MOST_US:g} µs a request")
    asked = parser.parse_args()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    worst = asyncio.run(_measured(asked.requests, asked.rounds))
    return int(asked.gate and worst > MOST_US)


async def _measured(requests: int, rounds: int) -> float:
    worst = 0.0
    print(f"{'':28}{''.join(f'{name:>12}' for name in _STAGES)}   µs CPU a request, all: (least … most), by a body")
    with tempfile.TemporaryDirectory(dir=_place()) as folder:
        observer = Observer(Metrics(Path(folder), name="bench"))
        for case in CASES:
            costs: list[list[float]] = [[] for _ in _STAGES]
            ratios = []
            for _ in range(rounds):
                nothing = await _cpu_us(case, requests, lambda _: None)
                for stage, found in enumerate(costs):
                    found.append(await observer.cpu_us(case, requests, stage=stage) - nothing)
                ratios.append(costs[_ALL][-1] / _decode_us(requests))
            medians = [statistics.median(found) for found in costs]
            worst = max(worst, medians[_ALL])
            span = f"({min(costs[_ALL]):.1f} … {max(costs[_ALL]):.1f})"
            print(f"{case.name:28}{''.join(f'{each:12.1f}' for each in medians)}   {span:18}"
                  f"{statistics.median(ratios):.2f}")  # fmt: skip
        observer.close()
    return worst


class Observer:
    """A worker's own parts; what is observed once is observed as in a worker that has run for long."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._store = MemoryTraceStore(clock=CLOCK)
        self._recording = Recording(ExplainedRoutes(PRICES), hindsight=Hindsight(Wishes(Settings())))
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def cpu_us(self, case: Case, requests: int, *, stage: int) -> float:
        """Return what a request costs with all up to one stage."""
        log = RequestLog(descriptor=self._nowhere, enabled=stage > 0)
        tally, recorder = Tally(self._metrics, log), self._recorder()
        if stage == _ALL:
            tally.recorded = recorder.add
        waiting = 0

        def take(done: Finished) -> None:
            nonlocal waiting
            if stage == _ALL:
                note(done)
            tally.add(done)
            waiting += 1
            if waiting % _BATCH == 0:
                tally.flush()
                log.flush()

        cost = await _cpu_us(case, requests, take)
        tally.flush()
        log.flush()
        await recorder.flush()
        recorder.close()
        if stage == _ALL and case.attempts and not len(self._store):
            raise RuntimeError("nothing was recorded, so that nothing was measured")
        return cost

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._nowhere)
        self._metrics.close()

    def _recorder(self) -> Recorder:
        return Recorder(
            self._store,
            Settings(),
            record=self._recording,
            sealer=BodySealer(Sealer(bytes(32))),
            degraded=list,
            clock=CLOCK,
            spawn=self._spawn,
        )

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _cpu_us(case: Case, requests: int, take: Callable[[Finished], None]) -> float:
    """Return the CPU time of one request; a batch is made before it is taken, and then tasks have their turn."""
    spent_ns = 0
    for first in range(0, requests, _BATCH):
        made = [finished(case, number) for number in range(first, first + _BATCH)]
        began_ns = time.process_time_ns()
        for done in made:
            take(done)
        await asyncio.sleep(0)
        spent_ns += time.process_time_ns() - began_ns
    return spent_ns / (-(-requests // _BATCH) * _BATCH) / _NS_PER_US


def _decode_us(times: int) -> float:
    text = BODY.decode()
    began = time.process_time_ns()
    for _ in range(times):
        json.loads(text)
    return (time.process_time_ns() - began) / times / _NS_PER_US


def _place() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - where the worker's own files are


if __name__ == "__main__":
    sys.exit(main())
