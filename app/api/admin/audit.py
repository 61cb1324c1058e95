"""`/audit`."""

from typing import Any
from uuid import UUID

from litestar import Controller, Response, get
from litestar.params import FromQuery

from app.api.admin.pages import AuditPage
from app.api.admin.parameters import Caller, Cursor, Limit, Services
from app.api.admin.problems import PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.audit.schemas import Action, ObjectKind
from app.guards.admin import requires_role


class AuditController(Controller):
    """Who changed what, from what to what."""

    path = "/audit"
    tags = ("Audit",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER)], summary="List changes", responses=PROBLEMS)
    async def list_entries(
        self,
        *,
        services: Services,
        principal: Caller,
        limit: Limit = 50,
        cursor: Cursor = None,
        object_kind: FromQuery[ObjectKind | None] = None,
        object_id: FromQuery[UUID | None] = None,
        action: FromQuery[Action | None] = None,
    ) -> Response[AuditPage]:
        """Newest first; only those within the caller's scope."""
        said: dict[str, Any] = {"object_kind": object_kind, "object_id": object_id, "action": action}
        where = {name: value for name, value in said.items() if value is not None}
        return read_response(await services.auditor.entries(principal, limit=limit, cursor=cursor, where=where))
