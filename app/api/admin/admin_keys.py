"""`/admin-keys`. Law: only owners come here, and none can give what the caller does not have."""

from uuid import UUID

from litestar import Controller, Response, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.pages import AdminKeyPage
from app.api.admin.parameters import Caller, Cursor, Limit, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.keys.schemas import (
    AT_ONCE,
    AdminKey,
    AdminKeyWithSecret,
    CreateAdminKey,
    KeyStatus,
    PatchAdminKey,
    Rotate,
)
from app.guards.admin import requires_role
from app.guards.sessions import changes_need_recent_sign_in


class AdminKeyController(Controller):
    """Keys of the admin API, each with a role on the installation or on one organisation."""

    path = "/admin-keys"
    tags = ("Admin keys",)
    return_dto = None
    guards = (requires_role(Role.OWNER), changes_need_recent_sign_in)

    @get(summary="List admin keys", responses=PROBLEMS)
    async def list_admin_keys(
        self,
        *,
        services: Services,
        principal: Caller,
        limit: Limit = 50,
        cursor: Cursor = None,
        organization_id: FromQuery[UUID | None] = None,
        role: FromQuery[Role | None] = None,
        status: FromQuery[KeyStatus | None] = None,
    ) -> Response[AdminKeyPage]:
        """Newest first; only those within the caller's scope."""
        where = {"organization_id": organization_id, "role": role, "status": status}
        return read_response(await services.admin_keys.page(principal, limit=limit, cursor=cursor, **where))

    @post(
        dto=JsonBody[CreateAdminKey], summary="Create an admin key", responses=WRITE_PROBLEMS, response_headers=[ETAG]
    )
    async def create_admin_key(
        self, services: Services, write: Writer, data: JSONBody[CreateAdminKey]
    ) -> Response[AdminKeyWithSecret]:
        """Show the secret, once. Without an organisation the key has the caller's own scope."""
        return await write(lambda transaction: services.admin_keys.create(transaction, data), status=201)

    @get("/{key_id:uuid}", summary="Read an admin key", responses=PROBLEMS, response_headers=[ETAG])
    async def read_admin_key(self, services: Services, principal: Caller, key_id: FromPath[UUID]) -> Response[AdminKey]:
        """Never show the secret. Answers 404 for one outside the caller's scope."""
        return read_response(await services.admin_keys.find(principal, key_id))

    @patch(
        "/{key_id:uuid}",
        dto=JsonBody[PatchAdminKey],
        summary="Change an admin key",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def patch_admin_key(
        self, services: Services, write: Writer, key_id: FromPath[UUID], data: JSONBody[PatchAdminKey]
    ) -> Response[AdminKey]:
        """Keep what is absent, remove what is null; the scope never changes."""
        return await write(lambda transaction: services.admin_keys.patch(transaction, key_id, data))

    @post(
        "/{key_id:uuid}/revoke",
        summary="Revoke an admin key",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
        status_code=200,
    )
    async def revoke_admin_key(self, services: Services, write: Writer, key_id: FromPath[UUID]) -> Response[AdminKey]:
        """End the key at once and for good, with all its secrets. Takes no body."""
        return await write(lambda transaction: services.admin_keys.revoke(transaction, key_id))

    @post(
        "/{key_id:uuid}/rotate",
        dto=JsonBody[Rotate],
        summary="Rotate an admin key's secret",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
        status_code=200,
    )
    async def rotate_admin_key(
        self, services: Services, write: Writer, key_id: FromPath[UUID], data: JSONBody[Rotate] = AT_ONCE
    ) -> Response[AdminKeyWithSecret]:
        """Show the new secret, once; the old one goes on working for `grace_s` seconds. The body may be left out."""
        return await write(lambda transaction: services.admin_keys.rotate(transaction, key_id, grace_s=data.grace_s))
