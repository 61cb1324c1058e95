"""Stored objects under audit: load, create, update, delete.

Law: no write without its audit entry; an object outside the caller's scope is `NotFound`, exactly as an absent one.
"""

from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET

from app.db.engine import Database
from app.db.paging import Page
from app.db.rows import Rows
from app.domain.audit.principal import Principal
from app.domain.audit.schemas import Action, ObjectKind
from app.domain.audit.transaction import AuditedTransaction
from app.kernel.errors import NotFound

Record = TypeVar("Record", bound=Any)
"""A struct with `id`, `version` and `updated_at`."""


class AuditedObjects(Generic[Record]):
    """The objects of one kind."""

    def __init__(self, database: Database, rows: Rows[Record], *, kind: ObjectKind) -> None:
        self._database = database
        self._rows = rows
        self._kind = kind

    async def find(self, principal: Principal, object_id: UUID) -> Record:
        """Return an object that the principal may see; raises `NotFound`."""
        async with self._database.reading() as connection:
            found = await self._rows.find(connection, object_id, scope=principal.organization_id)
        return self._present(found)

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None, where: dict[str, Any]
    ) -> Page[Record]:
        """Return one page of the objects that the principal may see, newest first."""
        async with self._database.reading() as connection:
            return await self._rows.page(
                connection, scope=principal.organization_id, limit=limit, cursor=cursor, where=where
            )

    async def load(self, transaction: AuditedTransaction, object_id: UUID) -> Record:
        """Return an object that is about to be written; raises `NotFound` or `PreconditionFailed`."""
        scope = transaction.principal.organization_id
        found = self._present(await self._rows.find(transaction.connection, object_id, scope=scope))
        transaction.expect(found.version)
        return found

    async def create(self, transaction: AuditedTransaction, record: Record) -> Record:
        """Store a new object."""
        await self._rows.insert(transaction.connection, record)
        await self._record(transaction, "create", before=None, after=record)
        return record

    async def update(
        self, transaction: AuditedTransaction, before: Record, after: Record, *, action: Action = "update"
    ) -> Record:
        """Store the object as it now is; nothing is written if nothing differs."""
        if after == before:
            return before
        after = msgspec.structs.replace(after, updated_at=transaction.now, version=before.version + 1)
        await self._rows.replace(transaction.connection, after)
        await self._record(transaction, action, before=before, after=after)
        return after

    async def delete(self, transaction: AuditedTransaction, record: Record) -> None:
        """Remove the object."""
        await self._rows.delete(transaction.connection, record.id)
        await self._record(transaction, "delete", before=record, after=None)

    async def _record(
        self, transaction: AuditedTransaction, action: Action, *, before: Record | None, after: Record | None
    ) -> None:
        record: Any = before if after is None else after
        await transaction.record(
            action,
            kind=self._kind,
            object_id=record.id,
            organization_id=record.id if self._kind == "organization" else getattr(record, "organization_id", None),
            before=before,
            after=after,
        )

    def _present(self, found: Record | None) -> Record:
        if found is None:
            raise NotFound
        return found


def patched(record: Record, patch: msgspec.Struct) -> Record:
    """Return the record with what the patch says; absent fields stay, null ones become null."""
    said = {name: getattr(patch, name) for name in patch.__struct_fields__}
    return msgspec.structs.replace(record, **{name: value for name, value in said.items() if value is not UNSET})
