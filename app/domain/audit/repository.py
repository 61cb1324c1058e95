"""The rows of the audit chain, the change feed and the kept answers."""

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, insert, or_, select, update

from app.db.engine import Connection
from app.db.paging import Page, decode_cursor, page_of
from app.db.rows import to_record, to_row
from app.db.upsert import insert_ignore
from app.domain.audit import tables
from app.domain.audit.schemas import AuditEntry, Change, NewEntry, ObjectKind

_WRITE_LOCK = 0x6C6C6D61
"""An arbitrary number. Administrators write one after the other: the chain has one end, and the feed no holes."""

_GENESIS = bytes(32)
_CHANGES_KEPT = timedelta(days=1)
_VERIFIED_AT_ONCE = 500

_entries = tables.audit_entries
_changes = tables.change_log
_answers = tables.idempotency_keys


async def queue_writers(connection: Connection) -> None:
    """Wait for the other administrators' transactions; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")


async def append_entry(connection: Connection, entry: NewEntry) -> None:
    """Add an entry at the end of the chain; the writers' queue must be held."""
    statement = select(_entries.c.seq, _entries.c.hash).order_by(_entries.c.seq.desc()).limit(1)
    last = (await connection.execute(statement)).first()
    seq, previous = (1, _GENESIS) if last is None else (last.seq + 1, last.hash)
    row = to_row(entry) | {"seq": seq, "prev_hash": previous, "hash": _hash_of(seq, entry, previous)}
    await connection.execute(insert(_entries).values(row))


async def page_entries(
    connection: Connection, *, scope: UUID | None, limit: int, cursor: str | None, where: dict[str, Any]
) -> Page[AuditEntry]:
    """Return one page of entries, newest first; `where` maps columns to the values they must have."""
    statement = select(_entries).where(*(_entries.c[name] == value for name, value in where.items()))
    if scope is not None:
        statement = statement.where(_entries.c.organization_id == scope)
    if cursor is not None:
        statement = statement.where(_entries.c.seq < decode_cursor("audit", cursor, int))
    statement = statement.order_by(_entries.c.seq.desc()).limit(limit + 1)
    rows = [_to_entry(row) for row in (await connection.execute(statement)).mappings()]
    return page_of("audit", rows, limit=limit, key=lambda entry: entry.seq)


async def find_broken_entry(connection: Connection) -> int | None:
    """Return the `seq` of the first entry that does not follow from the one before it, or None if the chain holds."""
    seq, previous = 0, _GENESIS
    while True:
        statement = select(_entries).where(_entries.c.seq > seq).order_by(_entries.c.seq).limit(_VERIFIED_AT_ONCE)
        rows = (await connection.execute(statement)).mappings().all()
        for row in rows:
            expected = _hash_of(seq + 1, to_record(row, NewEntry), previous)
            if (row["seq"], row["prev_hash"], row["hash"]) != (seq + 1, previous, expected):
                return seq + 1
            seq, previous = row["seq"], row["hash"]
        if len(rows) < _VERIFIED_AT_ONCE:
            return None


async def append_change(connection: Connection, *, kind: ObjectKind, object_id: UUID, at: datetime) -> None:
    """Add a change to the feed, and forget those that every worker has long seen."""
    await connection.execute(delete(_changes).where(_changes.c.at < at - _CHANGES_KEPT))
    await connection.execute(insert(_changes).values(kind=kind, object_id=object_id, at=at))


async def changes_since(connection: Connection, seq: int, *, since: datetime) -> list[Change]:
    """Return the changes after `seq`, and again those after `since`, in order."""
    statement = select(_changes).where(or_(_changes.c.seq > seq, _changes.c.at > since)).order_by(_changes.c.seq)
    return [to_record(row, Change) for row in (await connection.execute(statement)).mappings()]


async def claim_answer(
    connection: Connection, *, principal_id: str, key: str, request_hash: bytes, now: datetime, expires_at: datetime
) -> dict[str, Any] | None:
    """Take an idempotency key for this transaction, or return the row of whoever has used it."""
    await connection.execute(delete(_answers).where(_answers.c.expires_at <= now))
    row = {"principal_id": principal_id, "idempotency_key": key, "request_hash": request_hash}
    statement = insert_ignore(connection, _answers).returning(_answers.c.idempotency_key)
    taken = await connection.execute(statement, [row | {"created_at": now, "expires_at": expires_at}])
    if taken.first() is not None:
        return None
    owned = select(_answers).where(_answers.c.principal_id == principal_id, _answers.c.idempotency_key == key)
    return dict((await connection.execute(owned)).mappings().one())


async def keep_answer(
    connection: Connection, *, principal_id: str, key: str, status: int, answer: bytes, kid: str
) -> None:
    """Store the sealed answer under a key that this transaction has taken."""
    mine = (_answers.c.principal_id == principal_id) & (_answers.c.idempotency_key == key)
    await connection.execute(update(_answers).where(mine).values(status=status, answer=answer, kid=kid))


def _hash_of(seq: int, entry: NewEntry, previous: bytes) -> bytes:
    canonical = msgspec.json.encode([seq, entry], order="sorted")
    return hashlib.sha256(previous + canonical).digest()


def _to_entry(row: Any) -> AuditEntry:
    new = to_record(row, NewEntry)
    fields = msgspec.structs.asdict(new) | {
        "seq": row["seq"],
        "before": _decoded(new.before),
        "after": _decoded(new.after),
        "hash": row["hash"].hex(),
    }
    return AuditEntry(**fields)


def _decoded(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
