"""`/usage`: totals and series, events, and their export."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from app.api.admin.parameters import Caller, Cursor, Limit, Services
from app.api.admin.problems import PROBLEMS
from app.api.admin.usage_items import UsageEventPage, UsagePage, csv_header, csv_lines, event_item
from app.api.admin.writing import read_response
from app.db.paging import Page
from app.domain.audit.principal import Role
from app.domain.usage.grouping import Interval
from app.domain.usage.reports import MAX_CURSOR, UsageQuery
from app.domain.usage.schemas import UsageEvent
from app.guards.admin import requires_role
from app.guards.sessions import requires_recent_sign_in

_MOMENT = {"pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$"}

From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        schema_extra=_MOMENT,
        description="The first moment, such as `2026-11-23T12:00:00Z`, or a day such as `2026-11-23` (in UTC). "
        "Absent: 30 days before `to`.",
    ),
]
To = Annotated[
    str | None,
    QueryParameter(
        schema_extra=_MOMENT,
        description="The moment that is no longer in it, at most 400 days after `from`. "
        "Absent: the end of the hour that has begun.",
    ),
]
GroupBy = Annotated[
    str | None,
    QueryParameter(description="A comma list of `model`, `provider`, `key`, `team`, `organization`, `tag:NAME`."),
]
ReportCursor = Annotated[
    str | None,
    QueryParameter(
        max_length=MAX_CURSOR,
        description="The `cursor` of the page before; absent: the first page. "
        "It keeps the range that the first page was of.",
    ),
]

_CSV = "text/csv"
_EXPORTED = {
    200: ResponseSpec(
        str,
        description="One line for each event, newest first, as RFC 4180 has it. A text that a spreadsheet would take "
        "for a formula has an apostrophe before it.",
        media_type=_CSV,
        generate_examples=False,
    )
}


def provide_usage_query(
    *,
    from_: From = None,
    to: To = None,
    organization_id: FromQuery[UUID | None] = None,
    team_id: FromQuery[UUID | None] = None,
    key_id: FromQuery[UUID | None] = None,
    model: FromQuery[str | None] = None,
    provider: FromQuery[str | None] = None,
) -> UsageQuery:
    """Return what the query says of the range and the accounts."""
    return UsageQuery(
        since=from_,
        until=to,
        organization_id=organization_id,
        team_id=team_id,
        key_id=key_id,
        model=model,
        provider=provider,
    )


def provide_events_query(
    usage_query: NamedDependency[UsageQuery],
    request_id: FromQuery[UUID | None] = None,
    outcome: FromQuery[str | None] = None,
) -> UsageQuery:
    """Return that, and what single events can be asked for."""
    return msgspec.structs.replace(usage_query, request_id=request_id, outcome=outcome)


_QUERIES = {
    "usage_query": Provide(provide_usage_query, sync_to_thread=False),
    "events_query": Provide(provide_events_query, sync_to_thread=False),
}


class UsageController(Controller):
    """What was used, by whom, and what it cost."""

    path = "/usage"
    tags = ("Usage",)
    return_dto = None
    guards = (requires_role(Role.VIEWER),)
    dependencies = _QUERIES

    @get(summary="Report usage", responses=PROBLEMS)
    async def report_usage(
        self,
        *,
        services: Services,
        principal: Caller,
        usage_query: NamedDependency[UsageQuery],
        group_by: GroupBy = None,
        interval: FromQuery[Interval] = "none",
        limit: Limit = 50,
        cursor: ReportCursor = None,
    ) -> Response[UsagePage]:
        """Totals of the range, or a series of hours or days in UTC, for each group.

        The numbers are exact at both ends of the range; what a request used is there within 5 seconds of its end.
        Groups and intervals without usage are left out.
        """
        page = await services.usage.report(
            principal, usage_query, group_by=group_by, interval=interval, limit=limit, cursor=cursor
        )
        return read_response(page)

    @get("/events", summary="List usage events", responses=PROBLEMS)
    async def list_usage_events(
        self,
        *,
        services: Services,
        principal: Caller,
        events_query: NamedDependency[UsageQuery],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response[UsageEventPage]:
        """Every upstream attempt and every correction, newest first; only those within the caller's scope."""
        page = await services.usage.events(principal, events_query, limit=limit, cursor=cursor)
        return read_response(Page([event_item(event) for event in page.items], page.cursor))

    @get(
        "/export.csv",
        guards=[requires_recent_sign_in],
        summary="Export usage events",
        responses=PROBLEMS | _EXPORTED,
        media_type=_CSV,
    )
    async def export_usage(
        self,
        services: Services,
        principal: Caller,
        events_query: NamedDependency[UsageQuery],
    ) -> Stream:
        """All events of the range that fit, however many: they are read and sent some at a time."""
        export = await services.usage.export(principal, events_query)
        headers = {
            "content-disposition": f'attachment; filename="{_file_name(export.since, export.until)}"',
            "cache-control": "no-store",
        }
        return Stream(_lines(export.pages), media_type=f"{_CSV}; charset=utf-8", headers=headers)


async def _lines(pages: AsyncIterator[Sequence[UsageEvent]]) -> AsyncIterator[bytes]:
    yield csv_header()
    async for events in pages:
        yield csv_lines(events)


def _file_name(since: datetime, until: datetime) -> str:
    return f"usage-{since:%Y%m%dT%H%M%SZ}-{until:%Y%m%dT%H%M%SZ}.csv"
