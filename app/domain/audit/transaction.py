"""The transaction of an administrator's write.

Law: the write, its audit entry and its place in the change feed are one transaction; the signal goes out after it.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from app.db.engine import Connection, Database
from app.db.paging import Page, decode_cursor, page_of
from app.domain.audit import repository
from app.domain.audit.chain import Seal
from app.domain.audit.principal import Principal, Role
from app.domain.audit.schemas import Action, AuditEntry, AuditQuery, Change, NewEntry, ObjectKind
from app.domain.audit.verifying import OnProgress, Verdict, verify
from app.kernel.clock import Clock
from app.kernel.errors import PreconditionFailed

Notify = Callable[[ObjectKind, UUID], Awaitable[None]]
"""Tells the other processes at once what changed; only a hint, since every worker also reads the feed."""

_LISTING = "audit"
_EXPORTED_AT_ONCE = 500
_BOOKKEEPING = frozenset({"version", "updated_at"})

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class AuditedTransaction:
    """An open transaction, with who writes and why.

    `expected_versions` is what `If-Match` said: the object must have one of these, None means any.
    """

    connection: Connection
    principal: Principal
    request_id: str
    now: datetime
    now_ns: int
    seal: Seal
    expected_versions: frozenset[int] | None = None
    written: list[tuple[ObjectKind, UUID]] = field(default_factory=list)

    def expect(self, version: int) -> None:
        """Raise `PreconditionFailed` unless the object still has a version that the caller has seen."""
        if self.expected_versions is not None and version not in self.expected_versions:
            raise PreconditionFailed

    async def record(
        self,
        action: Action,
        *,
        kind: ObjectKind,
        object_id: UUID,
        organization_id: UUID | None,
        before: msgspec.Struct | None,
        after: msgspec.Struct | None,
    ) -> None:
        """Write the audit entry and the change; of an update only what differs is kept."""
        was, becomes = _difference(before, after)
        entry = NewEntry(
            at=self.now,
            principal_kind=self.principal.kind,
            principal_id=self.principal.id,
            principal_name=self.principal.name,
            action=action,
            object_kind=kind,
            object_id=object_id,
            organization_id=organization_id,
            before=_canonical(was),
            after=_canonical(becomes),
            request_id=self.request_id,
        )
        await repository.append_entry(self.connection, entry, self.seal)
        await repository.append_change(self.connection, kind=kind, object_id=object_id, at=self.now)
        self.written.append((kind, object_id))


class Auditor:
    """Opens audited transactions, and reads the audit and the change feed."""

    def __init__(self, database: Database, *, clock: Clock, notify: Notify, seal: Seal) -> None:
        self._database = database
        self._clock = clock
        self._notify = notify
        self._seal = seal

    @asynccontextmanager
    async def transaction(
        self,
        principal: Principal,
        *,
        request_id: str,
        expected_versions: frozenset[int] | None = None,
        least: Role = Role.ADMIN,
    ) -> AsyncIterator[AuditedTransaction]:
        """Open a transaction that commits when the block ends; only then are the other processes told.

        Raises `Forbidden` at once for a principal whose role does not include `least`: one who may only read changes
        nothing but its own sessions.
        """
        principal.require_role(least)
        async with self._database.transaction() as connection:
            await repository.queue_writers(connection)
            transaction = AuditedTransaction(
                connection=connection,
                principal=principal,
                request_id=request_id,
                now=self._clock.now(),
                now_ns=self._clock.now_ns(),
                seal=self._seal,
                expected_versions=expected_versions,
            )
            yield transaction
        for kind, object_id in transaction.written:
            await self._tell(kind, object_id)

    async def entries(
        self, principal: Principal, asked: AuditQuery, *, limit: int, cursor: str | None
    ) -> Page[AuditEntry]:
        """Return one page of the audit that the principal may see, newest first."""
        before = None if cursor is None else decode_cursor(_LISTING, cursor, int)
        found = await self._entries(principal, asked, before=before, limit=limit + 1)
        return page_of(_LISTING, found, limit=limit, key=lambda entry: entry.seq)

    async def export(self, principal: Principal, asked: AuditQuery) -> AsyncIterator[Sequence[AuditEntry]]:
        """Return all entries that fit, newest first, some at a time; the first are read before this returns.

        No transaction is open between two reads, so whoever reads slowly holds nothing.
        """
        return self._rest(await self._entries(principal, asked, before=None, limit=_EXPORTED_AT_ONCE), principal, asked)

    async def _rest(
        self, entries: Sequence[AuditEntry], principal: Principal, asked: AuditQuery
    ) -> AsyncIterator[Sequence[AuditEntry]]:
        while entries:
            yield entries
            entries = await self._entries(principal, asked, before=entries[-1].seq, limit=_EXPORTED_AT_ONCE)

    async def _entries(
        self, principal: Principal, asked: AuditQuery, *, before: int | None, limit: int
    ) -> list[AuditEntry]:
        async with self._database.reading() as connection:
            return await repository.find_entries(
                connection, scope=principal.organization_id, asked=asked, before=before, limit=limit
            )

    async def changes_since(self, seq: int, *, overlap_s: int = 30) -> list[Change]:
        """Return what was written after `seq`, and again the last `overlap_s` seconds; a change may come twice."""
        since = self._clock.now() - timedelta(seconds=overlap_s)
        async with self._database.reading() as connection:
            return await repository.changes_since(connection, seq, since=since)

    async def verify(self, on_progress: OnProgress | None = None) -> Verdict:
        """Return whether the whole chain holds, as it is at one moment; `on_progress` hears how far this is."""
        async with self._database.snapshot() as connection:
            return await verify(connection, self._seal, on_progress)

    async def reseal(self) -> None:
        """Seal the end of the chain under the master secret, if the one before sealed it."""
        async with self._database.transaction() as connection:
            await repository.queue_writers(connection)
            await repository.reseal_head(connection, self._seal)

    async def _tell(self, kind: ObjectKind, object_id: UUID) -> None:
        try:
            await self._notify(kind, object_id)
        except Exception:  # noqa: BLE001 - the write is committed and must be answered so; workers also read the feed
            _log.warning("could not signal a change", exc_info=True, extra={"kind": kind})


def _difference(before: msgspec.Struct | None, after: msgspec.Struct | None) -> tuple[Any, Any]:
    was, becomes = msgspec.to_builtins(before), msgspec.to_builtins(after)
    if was is None or becomes is None:
        return was, becomes
    changed = [name for name in becomes if was[name] != becomes[name] and name not in _BOOKKEEPING]
    return {name: was[name] for name in changed}, {name: becomes[name] for name in changed}


def _canonical(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value, order="sorted").decode()
