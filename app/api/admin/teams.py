"""`/teams`."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.pages import TeamPage
from app.api.admin.parameters import Caller, Cursor, Limit, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.tenants.schemas import CreateTeam, PatchTeam, Team
from app.guards.admin import requires_role


class TeamController(Controller):
    """Teams: parts of an organisation."""

    path = "/teams"
    tags = ("Teams",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER)], summary="List teams", responses=PROBLEMS)
    async def list_teams(
        self,
        *,
        services: Services,
        principal: Caller,
        limit: Limit = 50,
        cursor: Cursor = None,
        organization_id: FromQuery[UUID | None] = None,
    ) -> Response[TeamPage]:
        """Newest first; only those within the caller's scope."""
        return read_response(
            await services.teams.page(principal, limit=limit, cursor=cursor, organization_id=organization_id)
        )

    @post(
        dto=JsonBody[CreateTeam],
        guards=[requires_role(Role.ADMIN)],
        summary="Create a team",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def create_team(self, services: Services, write: Writer, data: JSONBody[CreateTeam]) -> Response[Team]:
        """Without an organisation it joins the caller's own, or the default one."""
        return await write(lambda transaction: services.teams.create(transaction, data), status=201)

    @get(
        "/{team_id:uuid}",
        guards=[requires_role(Role.VIEWER)],
        summary="Read a team",
        responses=PROBLEMS,
        response_headers=[ETAG],
    )
    async def read_team(self, services: Services, principal: Caller, team_id: FromPath[UUID]) -> Response[Team]:
        """Answers 404 for one outside the caller's scope."""
        return read_response(await services.teams.find(principal, team_id))

    @patch(
        "/{team_id:uuid}",
        dto=JsonBody[PatchTeam],
        guards=[requires_role(Role.ADMIN)],
        summary="Change a team",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def patch_team(
        self, services: Services, write: Writer, team_id: FromPath[UUID], data: JSONBody[PatchTeam]
    ) -> Response[Team]:
        """Keep what is absent, remove what is null."""
        return await write(lambda transaction: services.teams.patch(transaction, team_id, data))

    @delete(
        "/{team_id:uuid}",
        guards=[requires_role(Role.ADMIN)],
        summary="Delete a team",
        responses=WRITE_PROBLEMS,
        status_code=204,
    )
    async def delete_team(self, services: Services, write: Writer, team_id: FromPath[UUID]) -> Response[None]:
        """Only without keys that could still be used."""
        return await write(lambda transaction: services.teams.delete(transaction, team_id), status=204)
