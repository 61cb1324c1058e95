"""The rows of kept answers. Law: who may answer is one statement's decision, never check-then-act."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, or_, select, tuple_, update
from sqlalchemy import func as sql
from sqlalchemy.dialects import postgresql, sqlite

from app.db.engine import Connection
from app.domain.answers.schemas import Claim, Slot
from app.domain.answers.tables import kept_answers
from app.kernel.clock import Clock

_kept = kept_answers.c
_SWEPT_ROWS = 1_000


class Row(NamedTuple):
    """What stands in a slot."""

    request_hash: bytes
    lease_until: datetime
    status: int | None
    kid: str | None
    payload: bytes | None


async def moment(connection: Connection, clock: Clock) -> datetime:
    """Return the time that leases are held to: the server's where several machines share a database."""
    if connection.dialect.name != "postgresql":
        return clock.now()
    now: datetime = (await connection.execute(select(sql.clock_timestamp()))).scalar_one()
    return now


async def take(
    connection: Connection, claim: Claim, *, now: datetime, lease_until: datetime, expires_at: datetime
) -> bool:
    """Claim a slot that is free, has expired, or whose holder has let its lease run out; returns whether it did."""
    values: dict[str, Any] = {
        **_named(claim.slot),
        "organization_id": claim.organization_id,
        "request_hash": claim.request_hash,
        "holder": claim.holder,
        "lease_until": lease_until,
        "status": None,
        "kid": None,
        "payload": None,
        "created_at": now,
        "expires_at": expires_at,
    }
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    is_free = or_(_kept.expires_at <= now, and_(_kept.status.is_(None), _kept.lease_until <= now))
    statement = insert(kept_answers).values(values)
    statement = statement.on_conflict_do_update(
        index_elements=list(kept_answers.primary_key.columns),
        set_={name: statement.excluded[name] for name in values},
        where=is_free,
    )
    return (await connection.execute(statement.returning(_kept.holder))).first() is not None


async def find(connection: Connection, slot: Slot) -> Row | None:
    """Return what stands in a slot."""
    columns = (_kept.request_hash, _kept.lease_until, _kept.status, _kept.kid, _kept.payload)
    row = (await connection.execute(select(*columns).where(*_in(slot)))).first()
    return None if row is None else Row(row.request_hash, row.lease_until, row.status, row.kid, row.payload)


async def find_claim(connection: Connection, slot: Slot) -> datetime | None:
    """Return until when a slot is claimed; nothing if nobody is on the way to its answer."""
    statement = select(_kept.lease_until).where(*_in(slot), _kept.status.is_(None))
    lease_until: datetime | None = (await connection.execute(statement)).scalar_one_or_none()
    return lease_until


async def renew(connection: Connection, claim: Claim, *, lease_until: datetime, expires_at: datetime) -> bool:
    """Prolong the lease of a claim; returns whether it was still held."""
    changed = update(kept_answers).where(*_held(claim)).values(lease_until=lease_until, expires_at=expires_at)
    return (await connection.execute(changed.returning(_kept.holder))).first() is not None


async def keep(
    connection: Connection, claim: Claim, *, status: int, kid: str, payload: bytes | None, expires_at: datetime
) -> bool:
    """Put the answer where the claim stood; returns whether it was still held."""
    values = {"status": status, "kid": kid, "payload": payload, "expires_at": expires_at}
    changed = update(kept_answers).where(*_held(claim)).values(values)
    return (await connection.execute(changed.returning(_kept.holder))).first() is not None


async def release(connection: Connection, claim: Claim) -> None:
    """Free the slot of a claim, if it is still held."""
    await connection.execute(delete(kept_answers).where(*_held(claim)))


async def delete_of_organization(connection: Connection, organization_id: UUID) -> None:
    """Forget all answers that an organisation was given."""
    await connection.execute(delete(kept_answers).where(_kept.organization_id == organization_id))


async def delete_expired(connection: Connection, *, now: datetime) -> int:
    """Forget a batch of what has expired; returns how many rows went."""
    key = tuple_(*kept_answers.primary_key.columns)
    old = select(*kept_answers.primary_key.columns).where(_kept.expires_at <= now).limit(_SWEPT_ROWS)
    return (await connection.execute(delete(kept_answers).where(key.in_(old)))).rowcount


def _named(slot: Slot) -> dict[str, Any]:
    return {"key_id": slot.key_id, "path": slot.path, "idempotency_key": slot.idempotency_key}


def _in(slot: Slot) -> tuple[ColumnElement[bool], ...]:
    return tuple(kept_answers.c[name] == value for name, value in _named(slot).items())


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (*_in(claim.slot), _kept.holder == claim.holder, _kept.status.is_(None))
