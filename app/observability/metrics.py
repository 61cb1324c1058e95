"""What the gateway counts. Labels come only from configured names, never from a caller's text.

A child is made once for each set of labels and kept by whoever uses it: adding to it is one addition.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from app.observability.cells import Cells, Key, fold_dead, read_all
from app.observability.family import Family, Merge
from app.observability.genai import GENAI

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

REQUESTS = Family("gateway_requests_total", "Requests answered.", ("plane", "route", "model", "provider", "status"))
REQUEST_SECONDS = Family(
    "gateway_request_seconds", "From the request's head to its last byte.", ("route",), "histogram", buckets=_SECONDS
)
OVERHEAD_SECONDS = Family(
    "gateway_overhead_seconds",
    "Time spent in the gateway itself; on streams, up to the first byte.",
    ("route",),
    "histogram",
    buckets=_OVERHEAD_SECONDS,
)
TTFT_SECONDS = Family(
    "gateway_ttft_seconds", "Until the first content of a stream.", ("model",), "histogram", buckets=_SECONDS
)
TOKENS = Family("gateway_tokens_total", "Tokens, each counted once.", ("model", "kind"))
COST = Family("gateway_cost_usd_total", "Cost of upstream attempts, in USD.", ("model", "provider"))
ATTEMPTS = Family("gateway_upstream_attempts_total", "Upstream attempts.", ("provider", "outcome"))
INFLIGHT = Family("gateway_inflight", "Requests in flight, probes and scrapes apart.", ("plane",), "gauge", "live_sum")
LEDGER_LAG = Family(
    "gateway_ledger_lag_seconds", "Age of the oldest usage event not yet in the ledger.", (), "gauge", "live_max"
)
STORE_UP = Family("gateway_store_up", "Whether a store answers.", ("store",), "gauge", "live_min")
BREAKER_STATE = Family(
    "gateway_breaker_state",
    "Whether a target is called: 0 closed (called), 1 half open (one call tries), 2 open (left alone).",
    ("provider", "model", "credential"),
    "gauge",
    "live_max",
)
LOOP_LAG = Family("gateway_loop_lag_seconds", "Delay of the event loop.", (), "gauge", "live_max")
USAGE_ANOMALIES = Family(
    "gateway_usage_anomalies_total", "Answers whose token counts were missing or absurd.", ("provider",)
)
DEGRADED = Family("gateway_degraded_total", "Reservations and settlements that took a fallback path.", ("store",))
LIMIT_DENIALS = Family(
    "gateway_limit_denials_total", "Requests refused by a limit or a budget.", ("scope", "dimension")
)
CACHE = Family("gateway_cache_total", "Requests by what the cache had to do with them.", ("result",))
CACHE_SHADOW = Family(
    "gateway_cache_shadow_total",
    "Would-be semantic hits that were compared with the real answer, by whether they agreed.",
    ("verdict",),
)
FANOUT_LEGS = Family(
    "gateway_fanout_legs_total", "Legs of fan-outs, by what became of them.", ("strategy", "model", "outcome")
)
FANOUT_LEG_FIRST_TOKEN = Family(
    "gateway_fanout_leg_first_token_seconds",
    "From a leg's call to its first content, or to its end where it was asked for a whole answer.",
    ("strategy", "model", "outcome"),
    "histogram",
    buckets=_SECONDS,
)
FANOUT_LEG_COST = Family(
    "gateway_fanout_leg_cost_usd_total",
    "Cost of the calls of fan-outs, in USD, by what became of each; judges and fusers too.",
    ("strategy", "model", "outcome"),
)
LEDGER_DRIFT = Family(
    "gateway_ledger_drift_nusd", "Difference that the last reconciliation found, in nano-USD.", (), "gauge", "live_max"
)
LEDGER_PARKED = Family("gateway_ledger_parked_total", "Usage events that the database refused for good.")
LEDGER_QUEUE = Family("gateway_ledger_queue_depth", "Usage events on their way to the ledger.", (), "gauge", "live_max")
ORPHANS = Family("gateway_ledger_orphans_total", "Holds that were charged because nobody settled them.")
SPANS = Family(
    "gateway_trace_spans_total",
    "Spans of traces, by whether their receiver took them or they were dropped.",
    ("result",),
)
QUEUE_DEPTH = Family("gateway_queue_depth", "Requests that wait for a place or for a limit.", (), "gauge", "live_sum")
STREAMS_OPEN = Family("gateway_streams_open", "Streams that are being served.", (), "gauge", "live_sum")
SHED = Family("gateway_shed_total", "Requests refused because of load, by what was short.", ("reason",))
LOG_DROPPED = Family("gateway_log_lines_dropped_total", "Log lines of requests that could not be written in time.")
SERIES_DROPPED = Family("gateway_series_dropped_total", "Series that are not counted, for a worker's file is full.")
BUILD_INFO = Family("gateway_build_info", "1, with the release that runs.", ("version",), "gauge", "live_max")

FAMILIES = (
    REQUESTS,
    REQUEST_SECONDS,
    OVERHEAD_SECONDS,
    TTFT_SECONDS,
    TOKENS,
    COST,
    ATTEMPTS,
    INFLIGHT,
    LEDGER_LAG,
    STORE_UP,
    BREAKER_STATE,
    LOOP_LAG,
    USAGE_ANOMALIES,
    DEGRADED,
    LIMIT_DENIALS,
    CACHE,
    CACHE_SHADOW,
    FANOUT_LEGS,
    FANOUT_LEG_FIRST_TOKEN,
    FANOUT_LEG_COST,
    LEDGER_DRIFT,
    LEDGER_PARKED,
    LEDGER_QUEUE,
    ORPHANS,
    QUEUE_DEPTH,
    STREAMS_OPEN,
    SHED,
    SPANS,
    LOG_DROPPED,
    SERIES_DROPPED,
    BUILD_INFO,
    *GENAI,
)
_BY_NAME = {family.name: family for family in FAMILIES}


class Number:
    """One counter or gauge of this process."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: Cells, at: int) -> None:
        self._cells = cells.values
        self._at = at

    def add(self, amount: float = 1.0) -> None:
        """Add to it."""
        self._cells[self._at] += amount

    def set(self, value: float) -> None:
        """Replace it; for gauges."""
        self._cells[self._at] = value


class Histogram:
    """One histogram of this process: a cell for each bucket, one above them all, and the sum."""

    __slots__ = ("_at", "_bounds", "_cells", "_sum_at")

    def __init__(self, cells: Cells, at: int, bounds: Sequence[float]) -> None:
        self._cells = cells.values
        self._at = at
        self._bounds = bounds
        self._sum_at = at + len(bounds) + 1

    def observe(self, value: float) -> None:
        """Count a value."""
        self._cells[self._at + bisect_left(self._bounds, value)] += 1.0
        self._cells[self._sum_at] += value


class Metrics:
    """The metrics of this process, and the sum over all processes of a plane."""

    def __init__(self, directory: Path | None = None, *, name: str = "worker") -> None:
        """Count in files under `directory`, as a process of kind `name`; in memory if absent."""
        self._directory = directory
        self._name = name
        self._cells = Cells(directory, name=name)
        self._numbers: dict[tuple[str, tuple[str, ...]], Number] = {}
        self._histograms: dict[tuple[str, tuple[str, ...]], Histogram] = {}
        self._dropped = self.number(SERIES_DROPPED)

    def number(self, family: Family, *labels: str) -> Number:
        """Return the counter or gauge with these label values."""
        key = (family.name, labels)
        found = self._numbers.get(key)
        if found is None:
            at = self._reserve([(family.name, labels, "value")])
            found = self._numbers[key] = Number(self._cells, at)
        return found

    def histogram(self, family: Family, *labels: str) -> Histogram:
        """Return the histogram with these label values."""
        key = (family.name, labels)
        found = self._histograms.get(key)
        if found is None:
            parts = [*(f"le:{bound}" for bound in family.buckets), "le:+Inf", "sum"]
            at = self._reserve((family.name, labels, part) for part in parts)
            found = self._histograms[key] = Histogram(self._cells, at, family.buckets)
        return found

    def _reserve(self, keys: Iterable[Key]) -> int:
        at = self._cells.reserve(keys)
        if self._cells.is_nameless(at):
            self._dropped.add()
        return at

    def exposition(self, names: frozenset[str]) -> bytes:
        """Return all processes of these kinds in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(self._rows(names)))
        return generate_latest(registry)

    def values(self, family: Family, *, kinds: frozenset[str]) -> dict[tuple[str, ...], float]:
        """Return the counters or gauges of a family by their label values, merged over all processes of these kinds."""
        return {key[1]: value for key, value in _merged(self._rows(kinds)).items() if key[0] == family.name}

    def _rows(self, names: frozenset[str]) -> Iterable[tuple[int, Key, float]]:
        if self._directory is None:
            return [(1, key, value) for key, value in self._cells.read()]
        fold_dead(self._directory)
        return read_all(self._directory, names)

    def close(self) -> None:
        """Let go of the file; the numbers stay in it."""
        self._cells.close()


class _Snapshot(Collector):
    """The merged numbers of one scrape, as Prometheus' client library wants them."""

    def __init__(self, rows: Iterable[tuple[int, Key, float]]) -> None:
        self._merged = _merged(rows)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are known only at the scrape."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield one metric for each family that has numbers, or none yet."""
        series: dict[str, dict[tuple[str, ...], dict[str, float]]] = {}
        for (name, labels, part), value in self._merged.items():
            series.setdefault(name, {}).setdefault(labels, {})[part] = value
        for family in FAMILIES:
            yield _metric(family, series.get(family.name, {}))


def _merged(rows: Iterable[tuple[int, Key, float]]) -> dict[Key, float]:
    merged: dict[Key, float] = {}
    for pid, key, value in rows:
        family = _BY_NAME.get(key[0])
        if family is not None and not (pid == 0 and family.merge != "sum"):
            merged[key] = value if key not in merged else _merge(family.merge, merged[key], value)
    return merged


def _merge(how: Merge, one: float, other: float) -> float:
    if how == "live_max":
        return max(one, other)
    return min(one, other) if how == "live_min" else one + other


def _metric(family: Family, series: dict[tuple[str, ...], dict[str, float]]) -> Metric:
    if family.kind == "histogram":
        return _histogram_metric(family, series)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, parts in series.items():
        metric.add_metric(labels, parts["value"])
    return metric


def _histogram_metric(family: Family, series: dict[tuple[str, ...], dict[str, float]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, parts in series.items():
        total = 0.0
        buckets = []
        for bound in (*map(str, family.buckets), "+Inf"):
            total += parts.get(f"le:{bound}", 0.0)
            buckets.append((bound, total))
        metric.add_metric(labels, buckets, sum_value=parts.get("sum", 0.0))
    return metric
