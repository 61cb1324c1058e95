"""What counting and logging a request costs in CPU, in one process.

    .venv/bin/python infra/bench/observing.py [--requests 2000] [--rounds 9] [--gate]

The tally, the mapped files and the log's encoder are the worker's own; lines go to /dev/null. Batches are as large as a
busy worker's (80 ms at 1,000 requests a second). `nothing` is the same loop without them, and is taken off. Absolute
figures belong to one machine, so each round also decodes the request's body of 2 KB with the standard library, and the
ratio to that travels. `--gate` exits with 1 if a request costs more than 15 µs of CPU for both.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from app.api.openai.paths import CHAT_WIRE
from app.domain.keys.principal import Principal
from app.gateway.tally import Finished, Tally
from app.kernel.ids import uuid7_text
from app.observability.logs import RequestLog
from app.observability.metrics import Metrics
from app.pipeline.exchange import Asked, Attempt, Exchange
from app.routing.table import Route, RouteTarget
from providers.registry import Registry
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import Target, Usage

MOST_US = 15.0
_BATCH = 80
_NS_PER_US = 1_000
_MODELS = 20
_BODY = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "word " * 400}], "stream": True})


class Case(NamedTuple):
    """A kind of request."""

    name: str
    status: int
    stream: bool
    attempts: int


CASES = (
    Case("refused before it is read", 401, stream=False, attempts=0),
    Case("unary, one attempt", 200, stream=False, attempts=1),
    Case("stream, one attempt", 200, stream=True, attempts=1),
    Case("stream, retried once", 200, stream=True, attempts=2),
)


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--gate", action="store_true", help=f"exit 1 over {MOST_US:g} µs a request")
    asked = parser.parse_args()
    worst = asyncio.run(_measured(asked.requests, asked.rounds))
    return int(asked.gate and worst > MOST_US)


async def _measured(requests: int, rounds: int) -> float:
    worst = 0.0
    print(f"{'':28}{'metrics':>10}{'with logs':>11}   µs CPU a request (least … most); both by a decoded body")
    with tempfile.TemporaryDirectory(dir=_place()) as folder:
        metrics = Metrics(Path(folder), name="bench")
        for case in CASES:
            counted, logged, ratios = [], [], []
            for _ in range(rounds):
                nothing = _cpu_us(case, requests, lambda _: None)
                counted.append(_tallied(case, requests, metrics, is_logged=False) - nothing)
                logged.append(_tallied(case, requests, metrics, is_logged=True) - nothing)
                ratios.append(logged[-1] / _decode_us(requests))
            both = statistics.median(logged)
            worst = max(worst, both)
            span = f"({min(logged):.1f} … {max(logged):.1f})"
            print(f"{case.name:28}{statistics.median(counted):10.1f}{both:11.1f}   {span:18}"
                  f"{statistics.median(ratios):.2f}")  # fmt: skip
        metrics.close()
    return worst


def _tallied(case: Case, requests: int, metrics: Metrics, *, is_logged: bool) -> float:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    log = RequestLog(descriptor=nowhere, enabled=is_logged)
    tally = Tally(metrics, log)
    waiting = 0

    def take(finished: Finished) -> None:
        nonlocal waiting
        tally.add(finished)
        waiting += 1
        if waiting % _BATCH == 0:
            tally.flush()
            log.flush()

    try:
        return _cpu_us(case, requests, take)
    finally:
        tally.flush()
        log.flush()
        os.close(nowhere)


def _cpu_us(case: Case, requests: int, take: Callable[[Finished], None]) -> float:
    """Return the CPU time of one request; what it hands over is made beforehand."""
    made = [_finished(case, number) for number in range(requests)]
    began = time.process_time_ns()
    for finished in made:
        take(finished)
    return (time.process_time_ns() - began) / requests / _NS_PER_US


def _decode_us(times: int) -> float:
    text = _BODY.decode()
    began = time.process_time_ns()
    for _ in range(times):
        json.loads(text)
    return (time.process_time_ns() - began) / times / _NS_PER_US


def _finished(case: Case, number: int) -> Finished:
    exchange = _exchange(case, f"model-{number % _MODELS}") if case.attempts else None
    now_ns = 1_800_000_000_000_000_000 + number
    return Finished(now_ns, uuid7_text(), "/v1/chat/completions", exchange, case.status, None, 900_000_000)


_PLUGIN = Registry().find("openai")
_ADAPTER = _PLUGIN.open(ScriptedSender(ScriptedAnswer()), _PLUGIN.options())


def _exchange(case: Case, model: str) -> Exchange:
    target = Target(provider="openai", model=model, base_url="https://api.example/v1")
    choice = RouteTarget(provider="openai", adapter=_ADAPTER, target=target, whole_target=target, adapter_name="openai")
    exchange = Exchange(
        request_id=uuid7_text(),
        principal=Principal(key_id=UUID(int=7), organization_id=UUID(int=2)),
        operation=CHAT_WIRE.operation,
        route=Route(name=model, label=model, targets=(choice,), owned_by="openai"),
        body=_BODY,
        document={"model": model},
        started_ns=0,
        asked=Asked(model=model, stream=case.stream),
    )
    for number in range(1, case.attempts + 1):
        is_last = number == case.attempts
        attempt = Attempt(number, route=exchange.route, choice=choice, price=None, started_ns=1_000_000 * number)
        attempt.ended_ns, attempt.outcome = 800_000_000, "ok" if is_last else "error"
        if is_last:
            attempt.first_ns, attempt.cost_nusd, attempt.usage_source = 300_000_000, 150_000, "provider"
            attempt.usage, exchange.served = Usage(input_tokens=400, output_tokens=60), attempt
        exchange.attempts.append(attempt)
    return exchange


def _place() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - where the worker's own files are


if __name__ == "__main__":
    sys.exit(main())
