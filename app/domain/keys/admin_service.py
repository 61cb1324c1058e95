"""What may be done with admin keys. Law: a grant never exceeds the granter's role or scope."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from app.db.engine import Database
from app.db.paging import Page
from app.domain.access.ownership import Ownership
from app.domain.audit.objects import AuditedObjects, patched
from app.domain.audit.principal import Principal, Role
from app.domain.audit.transaction import AuditedTransaction
from app.domain.keys import repository
from app.domain.keys.schemas import AdminKey, AdminKeyWithSecret, CreateAdminKey, PatchAdminKey
from app.domain.keys.secrets import NewKey, Peppers, make_key
from app.domain.keys.service import future, require_usable, retire_secrets, store_secret
from app.domain.tenants.service import resolve_organization
from app.kernel.ids import uuid7


class AdminKeyService:
    """Keys of the admin API; only owners come here."""

    def __init__(self, database: Database, *, peppers: Peppers, ownership: Ownership) -> None:
        self._objects = AuditedObjects(database, repository.admin_keys, kind="admin_key")
        self._peppers = peppers
        self._ownership = ownership

    async def find(self, principal: Principal, key_id: UUID) -> AdminKey:
        """Return one; raises `NotFound`."""
        return await self._objects.find(principal, key_id)

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None, **where: UUID | str | None
    ) -> Page[AdminKey]:
        """Return some, newest first; `where` may name organization_id, role, status; None says nothing."""
        said: dict[str, Any] = {name: value for name, value in where.items() if value is not None}
        return await self._objects.page(principal, limit=limit, cursor=cursor, where=said)

    async def create(self, transaction: AuditedTransaction, spec: CreateAdminKey) -> AdminKeyWithSecret:
        """Make one, with its secret."""
        transaction.principal.require_role(Role.OWNER)
        transaction.principal.require_role(spec.role)
        new = make_key("admin")
        made = AdminKey(
            id=uuid7(transaction.now_ns),
            public_id=new.public_id,
            name=spec.name,
            role=spec.role,
            organization_id=await self._scope(transaction, spec.organization_id),
            expires_at=future(spec.expires_at, transaction.now),
            created_at=transaction.now,
            updated_at=transaction.now,
        )
        await self._objects.create(transaction, made)
        await store_secret(transaction, new, peppers=self._peppers, admin_key_id=made.id)
        return _with_secret(made, new)

    async def patch(self, transaction: AuditedTransaction, key_id: UUID, patch: PatchAdminKey) -> AdminKey:
        """Change one that is not revoked; the scope never changes."""
        transaction.principal.require_role(Role.OWNER)
        before = await self._objects.load(transaction, key_id)
        require_usable(before.status)
        after = patched(before, patch)
        transaction.principal.require_role(after.role)
        if patch.expires_at is not UNSET:
            after = msgspec.structs.replace(after, expires_at=future(patch.expires_at, transaction.now))
        if not _owns_installation(after):
            await self._require_another_owner(transaction, before)
        return await self._objects.update(transaction, before, after)

    async def revoke(self, transaction: AuditedTransaction, key_id: UUID) -> AdminKey:
        """End one for good; again is the same as once."""
        transaction.principal.require_role(Role.OWNER)
        before = await self._objects.load(transaction, key_id)
        if before.status == "revoked":
            return before
        await self._require_another_owner(transaction, before)
        after = msgspec.structs.replace(before, status="revoked", revoked_at=transaction.now)
        return await self._objects.update(transaction, before, after, action="revoke")

    async def rotate(self, transaction: AuditedTransaction, key_id: UUID, *, grace_s: int) -> AdminKeyWithSecret:
        """Give one a new secret; the old one goes on working for `grace_s` seconds, 0 meaning not at all."""
        transaction.principal.require_role(Role.OWNER)
        before = await self._objects.load(transaction, key_id)
        require_usable(before.status)
        new = make_key("admin")
        await retire_secrets(transaction, owner="admin_key_id", owner_id=key_id, grace_s=grace_s)
        await store_secret(transaction, new, peppers=self._peppers, admin_key_id=key_id)
        after = msgspec.structs.replace(before, public_id=new.public_id)
        return _with_secret(await self._objects.update(transaction, before, after, action="rotate"), new)

    async def _require_another_owner(self, transaction: AuditedTransaction, before: AdminKey) -> None:
        if _owns_installation(before):
            await self._ownership.require_another(transaction, besides=before.id)

    async def _scope(self, transaction: AuditedTransaction, organization_id: UUID | None) -> UUID | None:
        """Return the scope of a new key: an organisation that the caller may see, or else the caller's own scope."""
        if organization_id is None:
            return transaction.principal.organization_id
        return await resolve_organization(transaction, organization_id)


def _owns_installation(key: AdminKey) -> bool:
    """Whether a key makes an owner of the installation, for good."""
    is_lasting = key.status == "active" and key.expires_at is None
    return is_lasting and key.role is Role.OWNER and key.organization_id is None


def _with_secret(key: AdminKey, new: NewKey) -> AdminKeyWithSecret:
    return AdminKeyWithSecret(**msgspec.structs.asdict(key), secret=new.text.reveal())
