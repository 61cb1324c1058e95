"""Which model wins when several are asked, as a page."""

from urllib.parse import urlencode

from litestar import Controller, Response, get

from app.api.admin.usage import ReportCursor
from app.api.dashboard.filters import FILTERS, Filters, Text, usage_query_of
from app.api.dashboard.parameters import Renderer, Services, Visitor

_PAGE = 100
_GROUPS = ("provider", "key", "team", "organization")
_IDS = {"provider": "provider", "key": "key_id", "team": "team_id", "organization": "organization_id"}


class FanoutPages(Controller):
    """Win rates of fan-outs."""

    path = "/fanouts"
    dependencies = FILTERS

    @get()
    async def show_fanouts(
        self,
        *,
        pages: Renderer,
        visitor: Visitor,
        services: Services,
        filters: Filters,
        cursor: ReportCursor = None,
        group_by: Text = None,
    ) -> Response[bytes]:
        """Show what became of each model's legs, by ensemble or strategy, in the range that the form names."""
        form = filters | {"group_by": group_by or ""}
        report = await services.usage.fanouts(
            visitor, usage_query_of(filters), group_by=group_by, limit=_PAGE, cursor=cursor
        )
        columns = [column for column in _IDS.values() if report.items and column in report.items[0]]
        return pages.page(
            "fanouts.html",
            report=report,
            form=form,
            groups=_GROUPS,
            columns=columns,
            path=f"/fanouts?{urlencode(form)}",
        )
