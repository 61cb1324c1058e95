"""`/grants`. Law: only owners come here, and none can give what the caller does not have."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.pages import GrantPage
from app.api.admin.parameters import Caller, Cursor, Limit, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.access.schemas import CreateGrant, Grant, Matches, PatchGrant
from app.domain.audit.principal import Role
from app.guards.admin import requires_role
from app.guards.sessions import changes_need_recent_sign_in


class GrantController(Controller):
    """Roles of people whom the issuer of `admin.jwt` names."""

    path = "/grants"
    tags = ("Grants",)
    return_dto = None
    guards = (requires_role(Role.OWNER), changes_need_recent_sign_in)

    @get(summary="List grants", responses=PROBLEMS)
    async def list_grants(
        self,
        *,
        services: Services,
        principal: Caller,
        limit: Limit = 50,
        cursor: Cursor = None,
        organization_id: FromQuery[UUID | None] = None,
        role: FromQuery[Role | None] = None,
        matches: FromQuery[Matches | None] = None,
    ) -> Response[GrantPage]:
        """Newest first; only those within the caller's scope."""
        where = {"organization_id": organization_id, "role": role, "matches": matches}
        return read_response(await services.grants.page(principal, limit=limit, cursor=cursor, **where))

    @post(dto=JsonBody[CreateGrant], summary="Create a grant", responses=WRITE_PROBLEMS, response_headers=[ETAG])
    async def create_grant(self, services: Services, write: Writer, data: JSONBody[CreateGrant]) -> Response[Grant]:
        """Give a role to whom a token names. Without an organisation the grant has the caller's own scope."""
        return await write(lambda transaction: services.grants.create(transaction, data), status=201)

    @get("/{grant_id:uuid}", summary="Read a grant", responses=PROBLEMS, response_headers=[ETAG])
    async def read_grant(self, services: Services, principal: Caller, grant_id: FromPath[UUID]) -> Response[Grant]:
        """Answers 404 for one outside the caller's scope."""
        return read_response(await services.grants.find(principal, grant_id))

    @patch(
        "/{grant_id:uuid}",
        dto=JsonBody[PatchGrant],
        summary="Change a grant",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def patch_grant(
        self, services: Services, write: Writer, grant_id: FromPath[UUID], data: JSONBody[PatchGrant]
    ) -> Response[Grant]:
        """Change the role; whom it is for, and where, never changes."""
        return await write(lambda transaction: services.grants.patch(transaction, grant_id, data))

    @delete("/{grant_id:uuid}", summary="Delete a grant", responses=WRITE_PROBLEMS, status_code=204)
    async def delete_grant(self, services: Services, write: Writer, grant_id: FromPath[UUID]) -> Response[None]:
        """Take the role away, at once. The installation's last owner stays."""
        return await write(lambda transaction: services.grants.delete(transaction, grant_id), status=204)
