"""The rows of the audit chain, the change feed and the kept answers."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, delete, insert, or_, select, update

from app.db.engine import Connection
from app.db.rows import to_record, to_row
from app.db.upsert import insert_ignore
from app.domain.audit import tables
from app.domain.audit.chain import GENESIS, Head, Seal, hash_of
from app.domain.audit.schemas import AuditEntry, AuditQuery, Change, NewEntry, ObjectKind

_WRITE_LOCK = 0x6C6C6D61
"""An arbitrary number. Administrators write one after the other: the chain has one end, and the feed no holes."""

_CHANGES_KEPT = timedelta(days=1)
_HEAD_ID = 1

_log = logging.getLogger(__name__)
_entries = tables.audit_entries
_head = tables.audit_head
_changes = tables.change_log
_answers = tables.idempotency_keys


async def queue_writers(connection: Connection) -> None:
    """Wait for the other administrators' transactions; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")


async def append_entry(connection: Connection, entry: NewEntry, seal: Seal) -> None:
    """Add an entry at the end of the chain and seal it; the writers' queue must be held."""
    seq, previous, unsealed = await _end_of_chain(connection)
    values = to_row(entry)
    added = hash_of(seq + 1, values, previous)
    place = {"seq": seq + 1, "prev_hash": previous, "hash": added, "seal": seal.entry(seq + 1, added)}
    await connection.execute(insert(_entries).values(values | place))
    await _write_head(connection, seal.head(seq + 1, added, unsealed=unsealed))


async def _end_of_chain(connection: Connection) -> tuple[int, bytes, int]:
    """Return the number and hash that the next entry follows, and how many of those before it were never sealed.

    The head is followed even where its entry is gone or another: what was taken away must stay visible as a break.
    """
    last = (
        await connection.execute(select(_entries.c.seq, _entries.c.hash).order_by(_entries.c.seq.desc()).limit(1))
    ).first()
    head = await read_head(connection)
    seq, found = (0, GENESIS) if last is None else (last.seq, last.hash)
    if head is None:
        return seq, found, seq
    if head.seq >= seq:
        return head.seq, head.hash, head.unsealed
    _log.warning(
        "audit entries %d to %d were written without a seal, by an older release or by hand", head.seq + 1, seq
    )
    return seq, found, head.unsealed + seq - head.seq


async def read_head(connection: Connection) -> Head | None:
    """Return the sealed end of the chain; None where no release that seals has written yet."""
    row = (await connection.execute(select(_head))).mappings().first()
    return None if row is None else to_record(row, Head)


async def reseal_head(connection: Connection, seal: Seal) -> None:
    """Seal the end of the chain anew if an older key of ours did; the writers' queue must be held.

    One that is forged, or that nobody here can judge, stays as it is: whoever verifies the chain must see it.
    """
    head = await read_head(connection)
    if head is not None and head.kid != seal.kid and seal.fits(head):
        await _write_head(connection, seal.head(head.seq, head.hash, unsealed=head.unsealed))


async def _write_head(connection: Connection, head: Head) -> None:
    values = to_row(head)
    written = await connection.execute(update(_head).where(_head.c.id == _HEAD_ID).values(values))
    if written.rowcount == 0:
        await connection.execute(insert(_head).values(values | {"id": _HEAD_ID}))


async def find_entries(
    connection: Connection, *, scope: UUID | None, asked: AuditQuery, before: int | None, limit: int
) -> list[AuditEntry]:
    """Return entries that fit, newest first; those before the number `before`, if it is given."""
    statement = select(_entries).where(*_fitting(asked))
    if scope is not None:
        statement = statement.where(_entries.c.organization_id == scope)
    if before is not None:
        statement = statement.where(_entries.c.seq < before)
    statement = statement.order_by(_entries.c.seq.desc()).limit(limit)
    return [_to_entry(row) for row in (await connection.execute(statement)).mappings()]


def _fitting(asked: AuditQuery) -> Iterator[ColumnElement[bool]]:
    for name in ("action", "object_kind", "object_id"):
        value = getattr(asked, name)
        if value is not None:
            yield _entries.c[name] == value
    if asked.actor is not None:
        yield or_(_entries.c.principal_id == asked.actor, _entries.c.principal_name == asked.actor)
    if asked.since is not None:
        yield _entries.c.at >= asked.since
    if asked.until is not None:
        yield _entries.c.at < asked.until


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
    return await find_answer(connection, principal_id=principal_id, key=key, now=now)


async def find_answer(connection: Connection, *, principal_id: str, key: str, now: datetime) -> dict[str, Any] | None:
    """Return the row of whoever has used an idempotency key, None if nobody has."""
    mine = (_answers.c.principal_id == principal_id, _answers.c.idempotency_key == key, _answers.c.expires_at > now)
    row = (await connection.execute(select(_answers).where(*mine))).mappings().first()
    return None if row is None else dict(row)


async def keep_answer(
    connection: Connection, *, principal_id: str, key: str, status: int, answer: bytes, kid: str
) -> None:
    """Store the sealed answer under a key that this transaction has taken."""
    mine = (_answers.c.principal_id == principal_id) & (_answers.c.idempotency_key == key)
    await connection.execute(update(_answers).where(mine).values(status=status, answer=answer, kid=kid))


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
