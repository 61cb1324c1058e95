"""What may be done with organisations and teams, and by whom."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from app.db.engine import Database
from app.db.paging import Page
from app.domain.access.repository import delete_access_to_organization
from app.domain.answers.repository import delete_of_organization as delete_answers_of_organization
from app.domain.audit.objects import AuditedObjects, patched
from app.domain.audit.principal import Principal
from app.domain.audit.transaction import AuditedTransaction
from app.domain.keys.repository import admin_keys, api_keys, delete_keys_of_organization, delete_keys_of_team
from app.domain.responses.repository import delete_of_organization as delete_responses_of_organization
from app.domain.tenants import repository
from app.domain.tenants.schemas import (
    DEFAULT_ORGANIZATION,
    CreateOrganization,
    CreateTeam,
    Organization,
    PatchOrganization,
    PatchTeam,
    Team,
)
from app.kernel.errors import Conflict, Forbidden, InvalidRequest
from app.kernel.ids import uuid7


class OrganizationService:
    """Organisations. Those of the installation make and bind them; their own administrators may only rename them."""

    def __init__(self, database: Database) -> None:
        self._objects = AuditedObjects(database, repository.organizations, kind="organization")

    async def find(self, principal: Principal, organization_id: UUID) -> Organization:
        """Return one; raises `NotFound`."""
        return await self._objects.find(principal, organization_id)

    async def page(self, principal: Principal, *, limit: int, cursor: str | None) -> Page[Organization]:
        """Return some, newest first."""
        return await self._objects.page(principal, limit=limit, cursor=cursor, where={})

    async def create(self, transaction: AuditedTransaction, spec: CreateOrganization) -> Organization:
        """Make one."""
        transaction.principal.require_installation()
        made = Organization(
            **msgspec.structs.asdict(spec),
            id=uuid7(transaction.now_ns),
            created_at=transaction.now,
            updated_at=transaction.now,
        )
        return await self._objects.create(transaction, made)

    async def patch(
        self, transaction: AuditedTransaction, organization_id: UUID, patch: PatchOrganization
    ) -> Organization:
        """Change one; what binds an organisation is not its own administrators' to change."""
        before = await self._objects.load(transaction, organization_id)
        binds = any(getattr(patch, name) is not UNSET for name in patch.__struct_fields__ if name != "name")
        if binds and not transaction.principal.is_of_installation:
            raise Forbidden("an organisation's administrators may only rename it", code="insufficient_scope")
        return await self._objects.update(transaction, before, patched(before, patch))

    async def delete(self, transaction: AuditedTransaction, organization_id: UUID) -> None:
        """Remove one that holds no team and no key that could still be used."""
        before = await self._objects.load(transaction, organization_id)
        transaction.principal.require_installation()
        if organization_id == DEFAULT_ORGANIZATION:
            raise Conflict("the default organisation cannot be deleted", code="default_organization")
        await self._require_empty(transaction, organization_id)
        await delete_access_to_organization(transaction.connection, organization_id)
        await delete_keys_of_organization(transaction.connection, organization_id)
        await delete_responses_of_organization(transaction.connection, organization_id)
        await delete_answers_of_organization(transaction.connection, organization_id)
        await self._objects.delete(transaction, before)

    async def _require_empty(self, transaction: AuditedTransaction, organization_id: UUID) -> None:
        owned = {"organization_id": organization_id}
        connection = transaction.connection
        if await repository.teams.any_where(connection, **owned):
            raise Conflict("the organisation still has teams", code="not_empty")
        for kind, rows in (("keys", api_keys), ("admin keys", admin_keys)):
            for status in ("active", "suspended"):
                if await rows.any_where(connection, **owned, status=status):
                    raise Conflict(f"the organisation still has {kind}: revoke them first", code="not_empty")


class TeamService:
    """Teams."""

    def __init__(self, database: Database) -> None:
        self._objects = AuditedObjects(database, repository.teams, kind="team")

    async def find(self, principal: Principal, team_id: UUID) -> Team:
        """Return one; raises `NotFound`."""
        return await self._objects.find(principal, team_id)

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None, organization_id: UUID | None = None
    ) -> Page[Team]:
        """Return some, newest first."""
        where: dict[str, Any] = {} if organization_id is None else {"organization_id": organization_id}
        return await self._objects.page(principal, limit=limit, cursor=cursor, where=where)

    async def create(self, transaction: AuditedTransaction, spec: CreateTeam) -> Team:
        """Make one in an organisation that the caller may see."""
        organization_id = await resolve_organization(transaction, spec.organization_id)
        fields = msgspec.structs.asdict(spec) | {"organization_id": organization_id}
        made = Team(
            **fields,
            id=uuid7(transaction.now_ns),
            created_at=transaction.now,
            updated_at=transaction.now,
        )
        return await self._objects.create(transaction, made)

    async def patch(self, transaction: AuditedTransaction, team_id: UUID, patch: PatchTeam) -> Team:
        """Change one."""
        before = await self._objects.load(transaction, team_id)
        return await self._objects.update(transaction, before, patched(before, patch))

    async def delete(self, transaction: AuditedTransaction, team_id: UUID) -> None:
        """Remove one that holds no key that could still be used; its revoked keys go with it."""
        before = await self._objects.load(transaction, team_id)
        for status in ("active", "suspended"):
            if await api_keys.any_where(transaction.connection, team_id=team_id, status=status):
                raise Conflict("the team still has keys: revoke them first", code="not_empty")
        await delete_keys_of_team(transaction.connection, team_id)
        await self._objects.delete(transaction, before)


async def resolve_organization(transaction: AuditedTransaction, organization_id: UUID | None) -> UUID:
    """Return the organisation that a new object belongs to: the one named, the caller's own, or the default one.

    Raises `InvalidRequest` for one that is absent or that the caller may not see.
    """
    scope = transaction.principal.organization_id
    wanted = organization_id or scope or DEFAULT_ORGANIZATION
    if await repository.organizations.find(transaction.connection, wanted, scope=scope) is None:
        raise InvalidRequest("there is no such organisation", code="unknown_organization", param="organization_id")
    return wanted
