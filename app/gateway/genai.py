"""Counts a request as OpenTelemetry's conventions for generative AI have it.

Law: what a call is labelled with is looked up once, and kept; after that each observation is two additions.
"""

from functools import cached_property

from app.observability import genai
from app.observability.metrics import Histogram, Metrics
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange

_NS_PER_S = 1_000_000_000
_REFUSED = 400


class GenAiTally:
    """One for each worker, used inside its loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._calls: dict[tuple[str, str, str, str], _Call] = {}

    def count_attempt(self, exchange: Exchange, attempt: Attempt) -> None:
        """Count an upstream call that has ended."""
        call = self._call(exchange, attempt.choice.adapter_name, attempt.label)
        started_ns, ended_ns, usage = attempt.started_ns, attempt.ended_ns, attempt.usage
        if ended_ns is not None:
            outcome = attempt.outcome or "cancelled"
            call.duration("" if outcome == "ok" else outcome).observe((ended_ns - started_ns) / _NS_PER_S)
        if usage is not None:
            given = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
            call.input_tokens.observe(given)
            call.output_tokens.observe(usage.output_tokens)
        if attempt.first_ns is not None and exchange.stream:
            call.first_chunk.observe((attempt.first_ns - started_ns) / _NS_PER_S)

    def count_request(self, exchange: Exchange, *, status: int, took_ns: int) -> None:
        """Count a request as its client saw it; what the gateway answered by itself has no provider."""
        attempt = exchange.served
        call = self._call(exchange, "" if attempt is None else attempt.choice.adapter_name, exchange.route.label)
        call.request("" if status < _REFUSED else str(status)).observe(took_ns / _NS_PER_S)
        if not exchange.stream:
            return
        if attempt is None:
            if exchange.hit is not None:
                call.first_token.observe((exchange.hit.began_ns - exchange.started_ns) / _NS_PER_S)
        elif attempt.first_ns is not None:
            call.first_token.observe((attempt.first_ns - exchange.started_ns) / _NS_PER_S)
            _observe_pace(call, attempt, first_ns=attempt.first_ns)

    def _call(self, exchange: Exchange, adapter: str, model: str) -> "_Call":
        operation = exchange.operation
        key = (operation.name, operation.relay, adapter, model)
        call = self._calls.get(key)
        if call is None:
            name = genai.operation_name(operation.name, relay=operation.relay)
            call = self._calls[key] = _Call(self._metrics, (name, genai.provider_name(adapter), model))
        return call


def _observe_pace(call: "_Call", attempt: Attempt, *, first_ns: int) -> None:
    usage = attempt.usage
    if attempt.outcome == "ok" and attempt.ended_ns and usage is not None and not usage.estimated:
        more = usage.output_tokens - 1
        if more > 0:
            call.per_token.observe((attempt.ended_ns - first_ns) / more / _NS_PER_S)


class _Call:
    """The histograms of one operation of one model at one vendor; each is made when it first has something to say."""

    def __init__(self, metrics: Metrics, labels: tuple[str, str, str]) -> None:
        self._metrics = metrics
        self._labels = labels
        self._durations: dict[str, Histogram] = {}
        self._requests: dict[str, Histogram] = {}

    @cached_property
    def input_tokens(self) -> Histogram:
        return self._metrics.histogram(genai.TOKEN_USAGE, *self._labels, "input")

    @cached_property
    def output_tokens(self) -> Histogram:
        return self._metrics.histogram(genai.TOKEN_USAGE, *self._labels, "output")

    @cached_property
    def first_chunk(self) -> Histogram:
        return self._metrics.histogram(genai.FIRST_CHUNK, *self._labels)

    @cached_property
    def first_token(self) -> Histogram:
        return self._metrics.histogram(genai.FIRST_TOKEN, *self._labels)

    @cached_property
    def per_token(self) -> Histogram:
        return self._metrics.histogram(genai.PER_TOKEN, *self._labels)

    def duration(self, error_type: str) -> Histogram:
        found = self._durations.get(error_type)
        if found is None:
            found = self._metrics.histogram(genai.OPERATION_DURATION, *self._labels, error_type)
            self._durations[error_type] = found
        return found

    def request(self, error_type: str) -> Histogram:
        found = self._requests.get(error_type)
        if found is None:
            found = self._metrics.histogram(genai.REQUEST_DURATION, *self._labels, error_type)
            self._requests[error_type] = found
        return found
