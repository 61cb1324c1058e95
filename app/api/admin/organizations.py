"""`/organizations`."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.pages import OrganizationPage
from app.api.admin.parameters import Caller, Cursor, Limit, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.tenants.schemas import CreateOrganization, Organization, PatchOrganization
from app.guards.admin import requires_role


class OrganizationController(Controller):
    """Organisations: the tenants of this gateway."""

    path = "/organizations"
    tags = ("Organizations",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER)], summary="List organizations", responses=PROBLEMS)
    async def list_organizations(
        self, services: Services, principal: Caller, limit: Limit = 50, cursor: Cursor = None
    ) -> Response[OrganizationPage]:
        """Newest first; only those within the caller's scope."""
        return read_response(await services.organizations.page(principal, limit=limit, cursor=cursor))

    @post(
        dto=JsonBody[CreateOrganization],
        guards=[requires_role(Role.ADMIN)],
        summary="Create an organization",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def create_organization(
        self, services: Services, write: Writer, data: JSONBody[CreateOrganization]
    ) -> Response[Organization]:
        """Needs a role on the installation."""
        return await write(lambda transaction: services.organizations.create(transaction, data), status=201)

    @get(
        "/{organization_id:uuid}",
        guards=[requires_role(Role.VIEWER)],
        summary="Read an organization",
        responses=PROBLEMS,
        response_headers=[ETAG],
    )
    async def read_organization(
        self, services: Services, principal: Caller, organization_id: FromPath[UUID]
    ) -> Response[Organization]:
        """Answers 404 for one outside the caller's scope."""
        return read_response(await services.organizations.find(principal, organization_id))

    @patch(
        "/{organization_id:uuid}",
        dto=JsonBody[PatchOrganization],
        guards=[requires_role(Role.ADMIN)],
        summary="Change an organization",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def patch_organization(
        self, services: Services, write: Writer, organization_id: FromPath[UUID], data: JSONBody[PatchOrganization]
    ) -> Response[Organization]:
        """Change what is named; all but the name needs a role on the installation."""
        return await write(lambda transaction: services.organizations.patch(transaction, organization_id, data))

    @delete(
        "/{organization_id:uuid}",
        guards=[requires_role(Role.ADMIN)],
        summary="Delete an organization",
        responses=WRITE_PROBLEMS,
        status_code=204,
    )
    async def delete_organization(
        self, services: Services, write: Writer, organization_id: FromPath[UUID]
    ) -> Response[None]:
        """Only without teams and without keys that could still be used; the default one stays."""
        return await write(lambda transaction: services.organizations.delete(transaction, organization_id), status=204)
