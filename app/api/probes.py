"""Health, readiness and metrics. Law: cheap, open, and exempt from every limit."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Response, get, head

from app.api.reading import reads
from app.kernel.errors import NotFound
from app.observability.metrics import Metrics

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"


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

    @reads("/healthz")
    async def healthz() -> Response[bytes]:
        return Response(b'{"status":"ok"}', media_type=_JSON)

    @reads("/readyz")
    async def readyz() -> Response[bytes]:
        ready = is_ready()
        body = {"status": "ready" if ready else "not ready", "degraded": degraded()}
        return Response(msgspec.json.encode(body), media_type=_JSON, status_code=200 if ready else 503)

    scrape = Scrape(metrics, kinds)

    @get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response[bytes]:
        if not shows_metrics():
            raise NotFound("metrics are turned off")
        before_scrape()
        return Response(await scrape.read(), headers={"content-type": _TEXT})

    @head("/", include_in_schema=False)
    async def root() -> None:
        return None

    return [healthz, readyz, show_metrics, root]


class Scrape:
    """Adds up all processes of a plane, in a thread: that takes milliseconds, and the loop has requests to serve.

    Who asks while one is under way is given what that one finds, so that many who ask cost no more than one.
    """

    def __init__(self, metrics: Metrics, kinds: frozenset[str]) -> None:
        self._metrics = metrics
        self._kinds = kinds
        self._running: asyncio.Task[bytes] | None = None

    async def read(self) -> bytes:
        """Return the numbers in Prometheus' text format."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(asyncio.to_thread(self._metrics.exposition, self._kinds))
        return await asyncio.shield(self._running)
