"""Health, readiness and metrics. Law: cheap, open, and exempt from every limit."""

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import HttpMethod, Response, get, head, route

from app.kernel.errors import NotFound
from app.observability.metrics import Metrics

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"
_METHODS = [HttpMethod.GET, HttpMethod.HEAD]
"""Probes of every kind ask one way or the other."""


def probe_handlers(
    *,
    is_ready: Callable[[], bool],
    degraded: Callable[[], list[str]],
    metrics: Metrics,
    kinds: frozenset[str],
    shows_metrics: Callable[[], bool],
    before_scrape: Callable[[], None],
) -> list[Any]:
    """Return the handlers of `/healthz`, `/readyz`, `/metrics` and `HEAD /`.

    `kinds` are the kinds of processes whose numbers this plane shows; `before_scrape` brings this one's up to date.
    """

    @route("/healthz", http_method=_METHODS, include_in_schema=False)
    async def healthz() -> Response[bytes]:
        return Response(b'{"status":"ok"}', media_type=_JSON)

    @route("/readyz", http_method=_METHODS, include_in_schema=False)
    async def readyz() -> Response[bytes]:
        ready = is_ready()
        body = {"status": "ready" if ready else "not ready", "degraded": degraded()}
        return Response(msgspec.json.encode(body), media_type=_JSON, status_code=200 if ready else 503)

    @get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response[bytes]:
        if not shows_metrics():
            raise NotFound("metrics are turned off")
        before_scrape()
        return Response(metrics.exposition(kinds), headers={"content-type": _TEXT})

    @head("/", include_in_schema=False)
    async def root() -> None:
        return None

    return [healthz, readyz, show_metrics, root]
