"""What `llm-gateway top` shows, from two scrapes and a look at the health. Law: pure; no terminal, no clock."""

from collections.abc import Mapping

import msgspec

from app.gateway.vitals import InstallationHealth
from app.observability.reading import Labels, Scraped, quantile

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_MS_PER_S = 1_000
_S_PER_HOUR = 3_600
_FAILED = ("error", "timeout", "interrupted", "rate_limited", "refused")
_HITS = ("exact", "semantic", "coalesced")


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles in milliseconds; absent where nothing was measured."""

    p50_ms: float | None
    p95_ms: float | None


class ModelLine(msgspec.Struct, frozen=True, kw_only=True):
    """One public model name. All are by the second, but what says otherwise."""

    model: str
    requests: float
    errors: float
    tokens: float
    cost_per_hour_usd: float
    requests_total: int
    cost_total_usd: float


class ProviderLine(msgspec.Struct, frozen=True, kw_only=True):
    """One provider: how its calls go, and which of its targets are left alone."""

    provider: str
    status: str
    attempts: float
    failed: float
    ttft_ms: float | None
    in_flight: int | None
    not_closed: list[str]


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """Refusals by one dimension of one scope, a second and since the start."""

    scope: str
    dimension: str
    denied: float
    denied_total: int


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The installation over the last moments. Rates are by the second; `seconds` is how long was looked."""

    seconds: float
    status: str
    requests: float
    requests_total: int
    client_errors: float
    server_errors: float
    in_flight: int
    streams: int
    queued: int
    shed: float
    latency: Pace
    first_token: Pace
    overhead: Pace
    input_tokens: float
    output_tokens: float
    cost_per_hour_usd: float
    cost_total_usd: float
    cache_hit_share: float | None
    stores: dict[str, bool]
    ledger_lag_s: float | None
    loop_lag_ms: float
    models: list[ModelLine]
    providers: list[ProviderLine]
    denials: list[Denial]


class Difference:
    """Rates between two scrapes of one installation. After a restart its counters begin again, and so do the rates."""

    def __init__(self, before: Scraped, after: Scraped, *, seconds: float) -> None:
        has_restarted = any(
            count < before.by(name).get((), 0.0)
            for name in ("gateway_requests_total", "gateway_request_seconds_count")
            for count in [after.by(name).get((), 0.0)]
        )
        self.before, self.after, self.seconds = (None if has_restarted else before), after, seconds

    def rates(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the rates of a counter by the values of some labels."""
        earlier = {} if self.before is None else self.before.by(name, *labels)
        return {key: (now - earlier.get(key, 0.0)) / self.seconds for key, now in self.after.by(name, *labels).items()}

    def pace(self, name: str) -> Pace:
        """Return the percentiles of a histogram in seconds."""
        found = [quantile(share, self.before, self.after, name=name) for share in (0.5, 0.95)]
        ms = [None if each is None else round(each * _MS_PER_S, 3) for each in found]
        return Pace(p50_ms=ms[0], p95_ms=ms[1])


def view_of(change: Difference, health: InstallationHealth) -> View:
    """Return what is to be shown."""
    now = change.after
    asked = {key: rate for key, rate in change.rates("gateway_requests_total", "plane", "route", "status").items()
             if key[0] == "gateway" and key[1] not in _PROBES}  # fmt: skip
    tokens = change.rates("gateway_tokens_total", "kind")
    return View(
        seconds=round(change.seconds, 3),
        status=health.status,
        requests=sum(asked.values()),
        requests_total=int(now.total("gateway_requests_total", _is_asked)),
        client_errors=sum(rate for key, rate in asked.items() if key[2].startswith("4")),
        server_errors=sum(rate for key, rate in asked.items() if key[2].startswith("5")),
        in_flight=int(now.total("gateway_inflight", lambda labels: labels["plane"] == "gateway")),
        streams=int(now.total("gateway_streams_open")),
        queued=int(now.total("gateway_queue_depth")),
        shed=sum(change.rates("gateway_shed_total").values()),
        latency=change.pace("gateway_request_seconds"),
        first_token=change.pace("gen_ai_server_time_to_first_token_seconds"),
        overhead=change.pace("gateway_overhead_seconds"),
        input_tokens=sum(tokens.get((kind,), 0.0) for kind in ("input", "cache_read", "cache_write")),
        output_tokens=tokens.get(("output",), 0.0),
        cost_per_hour_usd=sum(change.rates("gateway_cost_usd_total").values()) * _S_PER_HOUR,
        cost_total_usd=now.total("gateway_cost_usd_total"),
        cache_hit_share=_hit_share(change),
        stores={store.name: store.up for store in health.stores},
        ledger_lag_s=health.ledger.lag_s,
        loop_lag_ms=round(now.total("gateway_loop_lag_seconds") * _MS_PER_S, 1),
        models=_models(change),
        providers=_providers(change, health),
        denials=_denials(change),
    )


def _is_asked(labels: Labels) -> bool:
    return labels["plane"] == "gateway" and labels["route"] not in _PROBES


def _hit_share(change: Difference) -> float | None:
    """Return the share of hits among requests that might have been one; since the start if there were none now."""
    for results in (change.rates("gateway_cache_total", "result"), change.after.by("gateway_cache_total", "result")):
        hits = sum(results.get((result,), 0.0) for result in _HITS)
        if looked := hits + results.get(("miss",), 0.0):
            return hits / looked
    return None


def _models(change: Difference) -> list[ModelLine]:
    """Return the models that were ever asked, the busiest first."""
    asked = change.rates("gateway_requests_total", "model", "status")
    totals = change.after.by("gateway_requests_total", "model")
    tokens, cost = change.rates("gateway_tokens_total", "model"), change.rates("gateway_cost_usd_total", "model")
    spent = change.after.by("gateway_cost_usd_total", "model")
    lines = [
        ModelLine(
            model=model,
            requests=sum(rate for key, rate in asked.items() if key[0] == model),
            errors=sum(rate for key, rate in asked.items() if key[0] == model and key[1].startswith("5")),
            tokens=tokens.get((model,), 0.0),
            cost_per_hour_usd=cost.get((model,), 0.0) * _S_PER_HOUR,
            requests_total=int(total),
            cost_total_usd=spent.get((model,), 0.0),
        )
        for (model,), total in totals.items()
        if model
    ]
    return sorted(lines, key=lambda line: (-line.requests, -line.requests_total, line.model))


def _providers(change: Difference, health: InstallationHealth) -> list[ProviderLine]:
    attempts = change.rates("gateway_upstream_attempts_total", "provider", "outcome")
    lines = []
    for provider in health.providers:
        of_it = {outcome: rate for (name, outcome), rate in attempts.items() if name == provider.name}
        known = [lane.ttft_s for lane in provider.lanes if lane.ttft_s is not None]
        under_way = [lane.in_flight for lane in provider.lanes if lane.in_flight is not None]
        not_closed = [f"{lane.model}#{lane.credential} {lane.breaker}" for lane in provider.lanes
                      if lane.breaker != "closed"]  # fmt: skip
        lines.append(
            ProviderLine(
                provider=provider.name,
                status=provider.status,
                attempts=sum(of_it.values()),
                failed=sum(of_it.get(outcome, 0.0) for outcome in _FAILED),
                ttft_ms=round(max(known) * _MS_PER_S, 1) if known else None,
                in_flight=sum(under_way) if under_way else None,
                not_closed=not_closed,
            )
        )
    return sorted(lines, key=lambda line: (-line.attempts, line.provider))


def _denials(change: Difference) -> list[Denial]:
    labels = ("scope", "dimension")
    totals: Mapping[tuple[str, ...], float] = change.after.by("gateway_limit_denials_total", *labels)
    rates = change.rates("gateway_limit_denials_total", *labels)
    lines = [
        Denial(scope=key[0], dimension=key[1], denied=rates[key], denied_total=int(total))
        for key, total in totals.items()
        if total
    ]
    return sorted(lines, key=lambda line: (-line.denied, -line.denied_total))
