"""What is counted and logged of each request, a little after it: in batches, off the request's own path.

A request costs one append. Twelve times a second the batch is worked off, in one go and with warm caches, which is
several times cheaper than the same work inside every request. A scrape works off its own process's batch first.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from app.gateway.genai import GenAiTally
from app.gateway.legs import LegTally
from app.kernel.money import NUSD_PER_USD
from app.observability.logs import RequestLine, RequestLog
from app.observability.metrics import (
    ATTEMPTS,
    CACHE,
    COST,
    OVERHEAD_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    TOKENS,
    TTFT_SECONDS,
    USAGE_ANOMALIES,
    Histogram,
    Metrics,
    Number,
)
from app.observability.tracing.record import RequestTrace
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange
from app.pipeline.notes import Notes

_FLUSH_S = 0.08
_MOST = 10_000
_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
_PLANE = "gateway"
_SERVER_FAULT = 500
_LOG = logging.getLogger("gateway.tally")


class Finished(msgspec.Struct, frozen=True, gc=False):
    """A request at its end. `at_ns` is wall time; `exchange` is absent for one that was refused before it was read.

    `trace` is there while tracing is on, `notes` of every request whose caller is known.
    """

    at_ns: int
    request_id: str
    endpoint: str
    exchange: Exchange | None
    status: int
    error_code: str | None
    took_ns: int
    trace: RequestTrace | None = None
    notes: Notes | None = None


class Tally:
    """Takes finished requests, counts and logs them soon after. One for each worker, used inside its loop."""

    def __init__(self, metrics: Metrics, log: RequestLog) -> None:
        self._metrics = metrics
        self._log = log
        self._genai = GenAiTally(metrics)
        self._legs = LegTally(metrics)
        self._waiting: list[Finished] = []
        self.recorded: Callable[[Sequence[Finished]], None] | None = None
        """Is told of each batch, when it has been counted."""
        self._timer: asyncio.TimerHandle | None = None
        self._requests: dict[tuple[str, str, str, int], Number] = {}
        self._timings: dict[str, tuple[Histogram, Histogram]] = {}
        self._tokens: dict[str, tuple[Number, Number, Number, Number]] = {}
        self._attempts: dict[tuple[str, str], Number] = {}
        self._costs: dict[tuple[str, str], Number] = {}

    def add(self, finished: Finished) -> None:
        """Take a finished request; its body is let go."""
        if finished.exchange is not None:
            finished.exchange.forget_body()
        self._waiting.append(finished)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        elif len(self._waiting) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Count and log what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for finished in waiting:
            try:
                self._count(finished)
                if self._log.is_enabled:
                    self._log.add(line_of(finished))
            except Exception:  # noqa: BLE001 - a supervisor: the others of its batch may be other callers'
                _LOG.exception("request %s is not counted", finished.request_id)
        if self.recorded is not None and waiting:
            self.recorded(waiting)

    def _count(self, finished: Finished) -> None:
        exchange = finished.exchange
        label = exchange.route.label if exchange is not None else ""
        provider = (exchange.provider or "") if exchange is not None else ""
        key = (finished.endpoint, label, provider, finished.status)
        number = self._requests.get(key)
        if number is None:
            labels = (_PLANE, finished.endpoint, label, provider, str(finished.status))
            number = self._requests[key] = self._metrics.number(REQUESTS, *labels)
        number.add()
        seconds, overhead = self._timings_of(finished.endpoint)
        seconds.observe(finished.took_ns / _NS_PER_S)
        overhead.observe((finished.took_ns if exchange is None else exchange.overhead_ns) / _NS_PER_S)
        if exchange is not None:
            if exchange.cache_status != "off":
                self._metrics.number(CACHE, exchange.cache_status).add()
            for each in exchange.attempts:
                if not each.is_local:
                    self._count_attempt(exchange, each)
            if exchange.fanout is not None:
                self._legs.count(exchange, exchange.fanout)
            self._genai.count_request(exchange, status=finished.status, took_ns=finished.took_ns)

    def _timings_of(self, endpoint: str) -> tuple[Histogram, Histogram]:
        timings = self._timings.get(endpoint)
        if timings is None:
            metrics = self._metrics
            timings = metrics.histogram(REQUEST_SECONDS, endpoint), metrics.histogram(OVERHEAD_SECONDS, endpoint)
            self._timings[endpoint] = timings
        return timings

    def _count_attempt(self, exchange: Exchange, attempt: Attempt) -> None:
        usage, model, provider = attempt.usage, attempt.label, attempt.provider
        self._genai.count_attempt(exchange, attempt)
        self._attempts_of(provider, attempt.outcome or "cancelled").add()
        if attempt.usage_source == "estimated":
            self._metrics.number(USAGE_ANOMALIES, provider).add()
        if usage is None:
            return
        counters = self._tokens_of(model)
        counters[0].add(usage.input_tokens)
        counters[1].add(usage.output_tokens)
        counters[2].add(usage.cache_read_tokens)
        counters[3].add(usage.cache_write_tokens)
        if attempt.first_ns is not None and exchange.stream:
            seconds = (attempt.first_ns - attempt.started_ns) / _NS_PER_S
            self._metrics.histogram(TTFT_SECONDS, model).observe(seconds)
        self.count_cost(attempt.cost_nusd or 0, model=model, provider=provider)

    def count_cost(self, cost_nusd: int, *, model: str, provider: str) -> None:
        """Count what was spent."""
        if cost_nusd:
            number = self._costs.get((model, provider))
            if number is None:
                number = self._costs[model, provider] = self._metrics.number(COST, model, provider)
            number.add(cost_nusd / NUSD_PER_USD)

    def _attempts_of(self, provider: str, outcome: str) -> Number:
        number = self._attempts.get((provider, outcome))
        if number is None:
            number = self._attempts[provider, outcome] = self._metrics.number(ATTEMPTS, provider, outcome)
        return number

    def _tokens_of(self, model: str) -> tuple[Number, Number, Number, Number]:
        counters = self._tokens.get(model)
        if counters is None:
            kinds = ("input", "output", "cache_read", "cache_write")
            found = [self._metrics.number(TOKENS, model, kind) for kind in kinds]
            counters = self._tokens[model] = (found[0], found[1], found[2], found[3])
        return counters


def line_of(finished: Finished) -> RequestLine:
    """Return what is logged of a request."""
    exchange = finished.exchange
    overhead_ns = finished.took_ns if exchange is None else exchange.overhead_ns
    attempt = None if exchange is None else exchange.last_attempt
    usage = None if attempt is None else attempt.usage
    return RequestLine(
        time=datetime.fromtimestamp(finished.at_ns / _NS_PER_S, UTC),
        level="info" if finished.status < _SERVER_FAULT else "warning",
        logger="gateway.request",
        request_id=finished.request_id,
        method="POST",
        route=finished.endpoint,
        status=finished.status,
        duration_ms=finished.took_ns // _NS_PER_MS,
        overhead_ms=round(overhead_ns / _NS_PER_MS, 3),
        key_id=None if exchange is None else exchange.principal.key_id,
        model=None if exchange is None else exchange.route.label,
        provider=None if exchange is None else exchange.provider,
        attempts=0 if exchange is None else exchange.calls,
        stream=exchange is not None and exchange.stream,
        input_tokens=0 if usage is None else usage.input_tokens,
        output_tokens=0 if usage is None else usage.output_tokens,
        cost_nusd=None if exchange is None else exchange.cost_nusd,
        error_code=finished.error_code,
    )
