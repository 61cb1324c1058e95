"""Usage by whatever it is asked for, and its export."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from litestar import Controller, Response, get

from app.api.admin.usage import ReportCursor
from app.api.dashboard.filters import FILTERS, Filters, Text, usage_query_of
from app.api.dashboard.parameters import Renderer, Services, Visitor
from app.domain.usage.grouping import GROUPS, INTERVALS

_PAGE = 100


class UsagePages(Controller):
    """What was used, by whom, and what it cost."""

    path = "/usage"
    dependencies = FILTERS

    @get()
    async def show_usage(
        self,
        *,
        pages: Renderer,
        visitor: Visitor,
        services: Services,
        filters: Filters,
        cursor: ReportCursor = None,
        group_by: Text = None,
        tag: Text = None,
        interval: Text = None,
    ) -> Response[bytes]:
        """Show totals or a series, grouped and filtered as the form says."""
        form = filters | {"group_by": group_by or "model", "tag": tag or "", "interval": interval or "none"}
        report = await services.usage.report(
            visitor,
            usage_query_of(filters),
            group_by=_groups(form),
            interval=form["interval"],
            limit=_PAGE,
            cursor=cursor,
        )
        return pages.page(
            "usage.html",
            report=report,
            form=form,
            groups=GROUPS,
            intervals=INTERVALS,
            columns=_columns(report.items),
            path=f"/usage?{urlencode(form)}",
            export=f"/admin/v1/usage/export.csv?{urlencode(filters)}",
        )


def _groups(form: Mapping[str, str]) -> str:
    return ",".join(name for name in (form["group_by"], f"tag:{form['tag']}" if form["tag"] else "") if name)


def _columns(items: list[dict[str, Any]]) -> list[str]:
    """Return the members of items that say what they were grouped by."""
    grouped = {"model", "provider", "key_id", "team_id", "organization_id"}
    return [name for name in items[0] if name in grouped or name.startswith("tag:")] if items else []
