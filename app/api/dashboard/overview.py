"""The first page: how the gateway fares, and how to begin."""

from collections.abc import Callable
from typing import Annotated, Any

from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from app.api.dashboard.parameters import InForce, Now, Renderer, Services, Visitor
from app.api.dashboard.ranges import RANGES, Range, RangeName, range_of
from app.settings.model import Settings

_TOP = 10
_SERIES = 200

Chosen = Annotated[RangeName, QueryParameter(name="range")]


def provide_range(now: Now, range_: Chosen = "24h") -> Range:
    """Return the range that the query names."""
    return range_of(range_, now=now)


Shown = NamedDependency[Range]


class OverviewPages(Controller):
    """Traffic, spend, errors, latency and savings. Every panel is one request."""

    path = "/"
    dependencies = {"shown": Provide(provide_range, sync_to_thread=False)}  # noqa: RUF012 - as Litestar declares it

    @get()
    async def show_overview(self, pages: Renderer, shown: Shown) -> Response[bytes]:
        """Show the frame; its panels load themselves."""
        return pages.page("overview.html", shown=shown, ranges=RANGES)

    @get("/panels/totals")
    async def show_totals(
        self, *, pages: Renderer, visitor: Visitor, services: Services, shown: Shown, settings: InForce
    ) -> Response[bytes]:
        """Show the sums of the range; where there are none yet, how to make the first request."""
        report = await services.usage.report(visitor, shown.query, group_by=None, limit=1)
        total = report.items[0]
        if total["requests"] == 0:
            return pages.page("start.html", secret=None, **start_values(settings))
        return pages.page("panel_totals.html", total=total)

    @get("/panels/series")
    async def show_series(self, pages: Renderer, visitor: Visitor, services: Services, shown: Shown) -> Response[bytes]:
        """Show traffic, errors, spend and savings over time."""
        report = await services.usage.report(
            visitor, shown.query, group_by=None, interval=shown.interval, limit=_SERIES
        )
        return pages.page("panel_series.html", items=shown.filled(report.items))

    @get("/panels/latency")
    async def show_latency(
        self, pages: Renderer, visitor: Visitor, services: Services, shown: Shown
    ) -> Response[bytes]:
        """Show the median and the 95th percentile over time."""
        items = await services.usage.latency(visitor, shown.query, intervals=shown.latency_intervals)
        return pages.page("panel_latency.html", items=items)

    @get("/panels/models")
    async def show_models(self, pages: Renderer, visitor: Visitor, services: Services, shown: Shown) -> Response[bytes]:
        """Show what each model was used for; the dearest first."""
        report = await services.usage.report(visitor, shown.query, group_by="model", limit=_SERIES)
        items = sorted(report.items, key=lambda item: (float(item["cost"]), item["requests"]), reverse=True)
        return pages.page("panel_models.html", items=items[:_TOP])


def start_values(settings: Callable[[], Settings]) -> dict[str, Any]:
    """Return what the first request is made with: where to, and a model that is there."""
    now = settings()
    return {"gateway_url": now.admin.gateway_url.rstrip("/"), "model": next(iter(now.models), "echo")}
