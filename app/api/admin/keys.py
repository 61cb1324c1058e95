"""`/keys`."""

from uuid import UUID

from litestar import Controller, Response, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.pages import ApiKeyPage
from app.api.admin.parameters import Caller, Cursor, Limit, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.keys.schemas import AT_ONCE, ApiKey, ApiKeyWithSecret, CreateKey, KeyStatus, PatchKey, Rotate
from app.guards.admin import requires_role


class KeyController(Controller):
    """Keys of the inference API."""

    path = "/keys"
    tags = ("Keys",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER)], summary="List keys", responses=PROBLEMS)
    async def list_keys(
        self,
        *,
        services: Services,
        principal: Caller,
        limit: Limit = 50,
        cursor: Cursor = None,
        organization_id: FromQuery[UUID | None] = None,
        team_id: FromQuery[UUID | None] = None,
        status: FromQuery[KeyStatus | None] = None,
    ) -> Response[ApiKeyPage]:
        """Newest first; only those within the caller's scope."""
        where = {"organization_id": organization_id, "team_id": team_id, "status": status}
        return read_response(await services.keys.page(principal, limit=limit, cursor=cursor, **where))

    @post(
        dto=JsonBody[CreateKey],
        guards=[requires_role(Role.ADMIN)],
        summary="Create a key",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def create_key(
        self, services: Services, write: Writer, data: JSONBody[CreateKey]
    ) -> Response[ApiKeyWithSecret]:
        """Show the secret, once. Only `name` is required."""
        return await write(lambda transaction: services.keys.create(transaction, data), status=201)

    @get(
        "/{key_id:uuid}",
        guards=[requires_role(Role.VIEWER)],
        summary="Read a key",
        responses=PROBLEMS,
        response_headers=[ETAG],
    )
    async def read_key(self, services: Services, principal: Caller, key_id: FromPath[UUID]) -> Response[ApiKey]:
        """Never show the secret. Answers 404 for one outside the caller's scope."""
        return read_response(await services.keys.find(principal, key_id))

    @patch(
        "/{key_id:uuid}",
        dto=JsonBody[PatchKey],
        guards=[requires_role(Role.ADMIN)],
        summary="Change a key",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def patch_key(
        self, services: Services, write: Writer, key_id: FromPath[UUID], data: JSONBody[PatchKey]
    ) -> Response[ApiKey]:
        """Keep what is absent, remove what is null. A revoked key stays as it was."""
        return await write(lambda transaction: services.keys.patch(transaction, key_id, data))

    @post(
        "/{key_id:uuid}/revoke",
        guards=[requires_role(Role.ADMIN)],
        summary="Revoke a key",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
        status_code=200,
    )
    async def revoke_key(self, services: Services, write: Writer, key_id: FromPath[UUID]) -> Response[ApiKey]:
        """End the key at once and for good, with all its secrets. Takes no body."""
        return await write(lambda transaction: services.keys.revoke(transaction, key_id))

    @post(
        "/{key_id:uuid}/rotate",
        dto=JsonBody[Rotate],
        guards=[requires_role(Role.ADMIN)],
        summary="Rotate a key's secret",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
        status_code=200,
    )
    async def rotate_key(
        self, services: Services, write: Writer, key_id: FromPath[UUID], data: JSONBody[Rotate] = AT_ONCE
    ) -> Response[ApiKeyWithSecret]:
        """Show the new secret, once; the old one goes on working for `grace_s` seconds. The body may be left out."""
        return await write(lambda transaction: services.keys.rotate(transaction, key_id, grace_s=data.grace_s))
