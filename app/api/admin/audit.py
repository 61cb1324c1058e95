"""`/audit`."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from app.api.admin.pages import AuditPage
from app.api.admin.parameters import Caller, Cursor, Limit, Services
from app.api.admin.problems import PROBLEMS
from app.api.admin.spreadsheet import CSV, csv_bytes, csv_cell
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.audit.schemas import Action, AuditEntry, AuditQuery, ObjectKind
from app.domain.usage.periods import read_moment
from app.guards.admin import requires_role
from app.guards.sessions import requires_recent_sign_in
from app.kernel.errors import InvalidRequest

Actor = Annotated[str | None, QueryParameter(max_length=200, description="The id or the name of who acted.")]
From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="The first moment, such as `2026-11-23T12:00:00Z`, or a day such as `2026-11-23` (in UTC).",
    ),
]
To = Annotated[str | None, QueryParameter(description="The moment that is no longer in it.")]

_COLUMNS = AuditEntry.__struct_fields__
_EXPORTED = {
    200: ResponseSpec(
        str,
        description="One line for each change, newest first, as RFC 4180 has it; `before` and `after` are JSON. "
        "A text that a spreadsheet would take for a formula has an apostrophe before it.",
        media_type=CSV,
        generate_examples=False,
    )
}


def provide_audit_query(
    *,
    actor: Actor = None,
    object_kind: FromQuery[ObjectKind | None] = None,
    object_id: FromQuery[UUID | None] = None,
    action: FromQuery[Action | None] = None,
    from_: From = None,
    to: To = None,
) -> AuditQuery:
    """Return what the query asks for; raises `InvalidRequest` naming the parameter at fault."""
    if actor is not None and not actor.isprintable():
        raise InvalidRequest("actor holds control characters", param="actor")
    asked = AuditQuery(
        actor=actor,
        object_kind=object_kind,
        object_id=object_id,
        action=action,
        since=None if from_ is None else read_moment(from_, name="from"),
        until=None if to is None else read_moment(to, name="to"),
    )
    if asked.since is not None and asked.until is not None and asked.since > asked.until:
        raise InvalidRequest("`from` is after `to`", param="from")
    return asked


class AuditController(Controller):
    """Who changed what, from what to what."""

    path = "/audit"
    tags = ("Audit",)
    return_dto = None
    guards = (requires_role(Role.VIEWER),)
    dependencies = {"audit_query": Provide(provide_audit_query, sync_to_thread=False)}  # noqa: RUF012 - Litestar's own

    @get(summary="List changes", responses=PROBLEMS)
    async def list_entries(
        self,
        *,
        services: Services,
        principal: Caller,
        audit_query: NamedDependency[AuditQuery],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response[AuditPage]:
        """Newest first; only those within the caller's scope."""
        return read_response(await services.auditor.entries(principal, audit_query, limit=limit, cursor=cursor))

    @get(
        "/export.csv",
        guards=[requires_recent_sign_in],
        summary="Export changes",
        responses=PROBLEMS | _EXPORTED,
        media_type=CSV,
    )
    async def export_entries(
        self, services: Services, principal: Caller, audit_query: NamedDependency[AuditQuery]
    ) -> Stream:
        """All changes that fit, however many: they are read and sent some at a time."""
        pages = await services.auditor.export(principal, audit_query)
        headers = {"content-disposition": 'attachment; filename="audit.csv"', "cache-control": "no-store"}
        return Stream(_lines(pages), media_type=f"{CSV}; charset=utf-8", headers=headers)


async def _lines(pages: AsyncIterator[Sequence[AuditEntry]]) -> AsyncIterator[bytes]:
    yield csv_bytes([_COLUMNS])
    async for entries in pages:
        yield csv_bytes([[csv_cell(value) for value in msgspec.structs.asdict(entry).values()] for entry in entries])
