"""`/limits/{scope}/{id}`. Law: the same limits as on the object itself, under the same rights and the same ETag."""

from uuid import UUID

from litestar import Controller, Response, delete, get, put
from litestar.params import FromPath, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.parameters import Caller, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.quotas.schemas import ScopeLimits, ScopeLimitsInUse
from app.domain.tenants.policies import Limits, ScopeKind
from app.guards.admin import requires_role

_PATH = "/{scope_kind:str}/{scope_id:uuid}"


class LimitController(Controller):
    """Limits of organisations, teams and keys. Those of the file bind each organisation, and are shown only."""

    path = "/limits"
    tags = ("Limits",)
    return_dto = None

    @get(
        _PATH,
        guards=[requires_role(Role.VIEWER)],
        summary="Read the limits and their use",
        responses=PROBLEMS,
        response_headers=[ETAG],
    )
    async def read_limits(
        self, services: Services, principal: Caller, scope_kind: FromPath[ScopeKind], scope_id: FromPath[UUID]
    ) -> Response[ScopeLimitsInUse]:
        """Also what of each limit is used now; `use` is null while that cannot be told."""
        return read_response(await services.quotas.limits(principal, scope_kind, scope_id=scope_id))

    @put(
        _PATH,
        dto=JsonBody[Limits],
        guards=[requires_role(Role.ADMIN)],
        summary="Set the limits",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def put_limits(
        self,
        *,
        services: Services,
        write: Writer,
        scope_kind: FromPath[ScopeKind],
        scope_id: FromPath[UUID],
        data: JSONBody[Limits],
    ) -> Response[ScopeLimits]:
        """Replace them as a whole; those of an organization need a role on the installation."""
        return await write(lambda t: services.quotas.set_limits(t, scope_kind, scope_id=scope_id, limits=data))

    @delete(
        _PATH,
        guards=[requires_role(Role.ADMIN)],
        summary="Remove the limits",
        responses=WRITE_PROBLEMS,
        status_code=204,
    )
    async def delete_limits(
        self, services: Services, write: Writer, scope_kind: FromPath[ScopeKind], scope_id: FromPath[UUID]
    ) -> Response[None]:
        """Leave the object without limits of its own; the file's and those of wider scopes still hold."""
        return await write(lambda t: services.quotas.remove_limits(t, scope_kind, scope_id=scope_id), status=204)
