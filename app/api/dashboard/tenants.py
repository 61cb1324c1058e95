"""Organizations and teams, with what binds their keys."""

from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath

from app.api.admin.parameters import Cursor
from app.api.dashboard.changes import given, gone_to, read_as, read_form, reloaded
from app.api.dashboard.parameters import AnyRequest, Changer, Renderer, Services, Visitor
from app.api.dashboard.policy_form import policy_of
from app.domain.tenants.schemas import CreateOrganization, CreateTeam, PatchOrganization, PatchTeam

_PAGE = 50
_MOST = 200


class OrganizationPages(Controller):
    """Tenants."""

    path = "/organizations"

    @get()
    async def show_organizations(
        self, pages: Renderer, visitor: Visitor, services: Services, cursor: Cursor = None
    ) -> Response[bytes]:
        """List organizations, newest first."""
        page = await services.organizations.page(visitor, limit=_PAGE, cursor=cursor)
        return pages.page("organizations.html", page=page)

    @post(status_code=200)
    async def create_organization(self, request: AnyRequest, services: Services, change: Changer) -> Response[bytes]:
        """Make one, and go to it."""
        form = await read_form(request)
        spec = read_as(CreateOrganization, given(form, "name"))
        made = await change(lambda transaction: services.organizations.create(transaction, spec))
        return gone_to(f"/organizations/{made.id}")

    @get("/{organization_id:uuid}")
    async def show_organization(
        self, pages: Renderer, visitor: Visitor, services: Services, organization_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Show one with its teams, and what is used of its limits and budget."""
        return pages.page(
            "organization.html",
            owner=await services.organizations.find(visitor, organization_id),
            limits=await services.quotas.limits(visitor, "organization", scope_id=organization_id),
            budget=await services.quotas.budget(visitor, "organization", scope_id=organization_id),
            teams=await services.teams.page(visitor, limit=_MOST, cursor=None, organization_id=organization_id),
            keys=await services.keys.page(visitor, limit=_PAGE, cursor=None, organization_id=organization_id),
        )

    @post("/{organization_id:uuid}", status_code=200)
    async def change_organization(
        self, *, request: AnyRequest, visitor: Visitor, services: Services, change: Changer,
        organization_id: FromPath[UUID],
    ) -> Response[bytes]:  # fmt: skip
        """Change what the form shows."""
        form = await read_form(request)
        before = await services.organizations.find(visitor, organization_id)
        policy = policy_of(form, limits=before.limits, budget=before.budget) if visitor.is_of_installation else {}
        patch = read_as(PatchOrganization, given(form, "name", "status") | policy)
        await change(lambda transaction: services.organizations.patch(transaction, organization_id, patch))
        return reloaded()

    @post("/{organization_id:uuid}/teams", status_code=200)
    async def create_team(
        self, request: AnyRequest, services: Services, change: Changer, organization_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Make a team of it, and go there."""
        form = await read_form(request)
        spec = read_as(CreateTeam, given(form, "name") | {"organization_id": str(organization_id)})
        made = await change(lambda transaction: services.teams.create(transaction, spec))
        return gone_to(f"/teams/{made.id}")


class TeamPages(Controller):
    """Parts of organizations."""

    path = "/teams"

    @get("/{team_id:uuid}")
    async def show_team(
        self, pages: Renderer, visitor: Visitor, services: Services, team_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Show one with its keys, and what is used of its limits and budget."""
        return pages.page(
            "team.html",
            owner=await services.teams.find(visitor, team_id),
            limits=await services.quotas.limits(visitor, "team", scope_id=team_id),
            budget=await services.quotas.budget(visitor, "team", scope_id=team_id),
            keys=await services.keys.page(visitor, limit=_PAGE, cursor=None, team_id=team_id),
        )

    @post("/{team_id:uuid}", status_code=200)
    async def change_team(
        self, *, request: AnyRequest, visitor: Visitor, services: Services, change: Changer, team_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Change what the form shows."""
        form = await read_form(request)
        before = await services.teams.find(visitor, team_id)
        policy = policy_of(form, limits=before.limits, budget=before.budget)
        patch = read_as(PatchTeam, given(form, "name", "status") | policy)
        await change(lambda transaction: services.teams.patch(transaction, team_id, patch))
        return reloaded()
