"""`/budgets/{scope}/{id}`. Law: the same budget as on the object itself, under the same rights and the same ETag."""

from uuid import UUID

from litestar import Controller, Response, delete, get, put
from litestar.params import FromPath, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.parameters import Caller, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.quotas.schemas import ScopeBudget, ScopeBudgetInUse
from app.domain.tenants.policies import Budget, ScopeKind
from app.guards.admin import requires_role

_PATH = "/{scope_kind:str}/{scope_id:uuid}"


class BudgetController(Controller):
    """Budgets of organisations, teams and keys. The file's binds each organisation, and is shown only."""

    path = "/budgets"
    tags = ("Budgets",)
    return_dto = None

    @get(
        _PATH,
        guards=[requires_role(Role.VIEWER)],
        summary="Read the budget and its use",
        responses=PROBLEMS,
        response_headers=[ETAG],
    )
    async def read_budget(
        self, services: Services, principal: Caller, scope_kind: FromPath[ScopeKind], scope_id: FromPath[UUID]
    ) -> Response[ScopeBudgetInUse]:
        """Also what is spent, held for requests in flight, and left, and when that starts anew."""
        return read_response(await services.quotas.budget(principal, scope_kind, scope_id=scope_id))

    @put(
        _PATH,
        dto=JsonBody[Budget],
        guards=[requires_role(Role.ADMIN)],
        summary="Set the budget",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def put_budget(
        self,
        *,
        services: Services,
        write: Writer,
        scope_kind: FromPath[ScopeKind],
        scope_id: FromPath[UUID],
        data: JSONBody[Budget],
    ) -> Response[ScopeBudget]:
        """Replace it as a whole; that of an organization needs a role on the installation."""
        return await write(lambda t: services.quotas.set_budget(t, scope_kind, scope_id=scope_id, budget=data))

    @delete(
        _PATH,
        guards=[requires_role(Role.ADMIN)],
        summary="Remove the budget",
        responses=WRITE_PROBLEMS,
        status_code=204,
    )
    async def delete_budget(
        self, services: Services, write: Writer, scope_kind: FromPath[ScopeKind], scope_id: FromPath[UUID]
    ) -> Response[None]:
        """Leave the object without a budget of its own; the file's and those of wider scopes still hold."""
        return await write(lambda t: services.quotas.remove_budget(t, scope_kind, scope_id=scope_id), status=204)
