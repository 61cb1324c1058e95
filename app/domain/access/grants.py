"""What may be done with grants. Law: a grant never exceeds the granter's role or scope."""

from typing import Any
from uuid import UUID

from app.db.engine import Database
from app.db.paging import Page
from app.domain.access import repository
from app.domain.access.ownership import Ownership
from app.domain.access.schemas import CreateGrant, Grant, PatchGrant
from app.domain.audit.objects import AuditedObjects, patched
from app.domain.audit.principal import Principal, Role
from app.domain.audit.transaction import AuditedTransaction
from app.domain.tenants.service import resolve_organization
from app.kernel.errors import Conflict
from app.kernel.ids import uuid7


class GrantService:
    """Roles of people whom an issuer names; only owners come here."""

    def __init__(self, database: Database, *, ownership: Ownership) -> None:
        self._objects = AuditedObjects(database, repository.grants, kind="grant")
        self._ownership = ownership

    async def find(self, principal: Principal, grant_id: UUID) -> Grant:
        """Return one; raises `NotFound`."""
        return await self._objects.find(principal, grant_id)

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None, **where: UUID | str | None
    ) -> Page[Grant]:
        """Return some, newest first; `where` may name organization_id, role, matches, value; None says nothing."""
        said: dict[str, Any] = {name: value for name, value in where.items() if value is not None}
        return await self._objects.page(principal, limit=limit, cursor=cursor, where=said)

    async def create(self, transaction: AuditedTransaction, spec: CreateGrant) -> Grant:
        """Make one; raises `Conflict` if there is one for the same value in the same place."""
        transaction.principal.require_role(Role.OWNER)
        transaction.principal.require_role(spec.role)
        made = Grant(
            id=uuid7(transaction.now_ns),
            matches=spec.matches,
            value=spec.value,
            role=spec.role,
            organization_id=await self._scope(transaction, spec.organization_id),
            created_at=transaction.now,
            updated_at=transaction.now,
        )
        if await repository.has_same_grant(
            transaction.connection, matches=made.matches, value=made.value, organization_id=made.organization_id
        ):
            raise Conflict("there is a grant for this value in this place: change its role", code="grant_exists")
        return await self._objects.create(transaction, made)

    async def patch(self, transaction: AuditedTransaction, grant_id: UUID, patch: PatchGrant) -> Grant:
        """Change the role of one."""
        transaction.principal.require_role(Role.OWNER)
        before = await self._objects.load(transaction, grant_id)
        after = patched(before, patch)
        transaction.principal.require_role(after.role)
        if after.role is not Role.OWNER:
            await self._require_another_owner(transaction, before)
        return await self._objects.update(transaction, before, after)

    async def delete(self, transaction: AuditedTransaction, grant_id: UUID) -> None:
        """Take one away; whoever came by it may do nothing from the next request on."""
        transaction.principal.require_role(Role.OWNER)
        before = await self._objects.load(transaction, grant_id)
        await self._require_another_owner(transaction, before)
        await self._objects.delete(transaction, before)

    async def _require_another_owner(self, transaction: AuditedTransaction, before: Grant) -> None:
        if before.role is Role.OWNER and before.organization_id is None:
            await self._ownership.require_another(transaction, besides=before.id)

    async def _scope(self, transaction: AuditedTransaction, organization_id: UUID | None) -> UUID | None:
        """Return the scope of a new grant: an organisation that the caller may see, or else the caller's own scope."""
        if organization_id is None:
            return transaction.principal.organization_id
        return await resolve_organization(transaction, organization_id)
