"""`/requests`: what became of recent requests, and why."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, QueryParameter

from app.api.admin.parameters import Caller, Cursor, Limit
from app.api.admin.problems import PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.gateway.trace_desk import TraceDesk, TraceFilters
from app.guards.admin import requires_role
from app.pipeline.answer import CacheStatus
from app.pipeline.explained_bodies import RequestDetail, with_bodies
from app.pipeline.explanation import Explanation

From = Annotated[
    str | None,
    QueryParameter(name="from", description="The first moment, such as `2026-11-23T12:00:00Z`, or a day (in UTC)."),
]
To = Annotated[str | None, QueryParameter(description="The moment that is no longer in it.")]
Model = Annotated[str | None, QueryParameter(description="The model that was asked for, by its public name.")]
Provider = Annotated[str | None, QueryParameter(description="Who served it, or tried last.")]
Status = Annotated[int | None, QueryParameter(ge=100, le=599, description="As its client was told; 499: it had left.")]
ErrorCode = Annotated[str | None, QueryParameter(description="Such as `rate_limit_exceeded`.")]
MinDuration = Annotated[int, QueryParameter(ge=0, description="How long it took at least.")]
Traces = NamedDependency[TraceDesk]


class RequestPage(msgspec.Struct, frozen=True):
    """Some requests, newest first, and the cursor of those that follow; null at the end."""

    items: list[Explanation]
    cursor: str | None


def provide_askers(
    *,
    from_: From = None,
    to: To = None,
    organization_id: FromQuery[UUID | None] = None,
    team_id: FromQuery[UUID | None] = None,
    key_id: FromQuery[UUID | None] = None,
) -> TraceFilters:
    """Return what the query says of when and whose."""
    return TraceFilters(since=from_, until=to, organization_id=organization_id, team_id=team_id, key_id=key_id)


def provide_filters(
    askers: NamedDependency[TraceFilters],
    *,
    model: Model = None,
    provider: Provider = None,
    status: Status = None,
    error_code: ErrorCode = None,
    cache: FromQuery[CacheStatus | None] = None,
    min_duration_ms: MinDuration = 0,
) -> TraceFilters:
    """Return that, and what it says of the requests themselves."""
    return msgspec.structs.replace(
        askers,
        model=model,
        provider=provider,
        status=status,
        error_code=error_code,
        cache=cache,
        min_duration_ms=min_duration_ms,
    )


_QUERIES = {
    "askers": Provide(provide_askers, sync_to_thread=False),
    "filters": Provide(provide_filters, sync_to_thread=False),
}


class RequestController(Controller):
    """What became of recent requests."""

    path = "/requests"
    tags = ("Requests",)
    return_dto = None
    guards = (requires_role(Role.VIEWER),)
    dependencies = _QUERIES

    @get(summary="List requests", responses=PROBLEMS)
    async def list_requests(
        self,
        *,
        trace_desk: Traces,
        principal: Caller,
        filters: NamedDependency[TraceFilters],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response[RequestPage]:
        """Recent requests with how each was decided, newest first; only those within the caller's scope.

        They are here within a second of their end, as many and for as long as `request_traces` in the settings says.
        What a request said, and what was answered, is in none of them.
        """
        return read_response(await trace_desk.page(principal, filters, limit=limit, cursor=cursor))

    @get("/{request_id:uuid}", summary="Read a request", responses=PROBLEMS)
    async def read_request(
        self, trace_desk: Traces, principal: Caller, request_id: FromPath[UUID]
    ) -> Response[RequestDetail]:
        """Tell what became of one request, and why: each layer, limits, cache, candidates, calls, and the price.

        With `privacy.store_bodies` on, owners and admins are told what was said too: `bodies` holds the beginning of
        what its client sent and was sent.
        """
        told = await trace_desk.read(principal, request_id)
        return read_response(with_bodies(told, await trace_desk.bodies(principal, told)))
