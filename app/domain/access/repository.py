"""The rows of grants, sessions and sign-ins under way."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, or_, select, update

from app.db.engine import Connection
from app.db.paging import Page, decode_cursor, page_of
from app.db.rows import Rows, to_record, to_row
from app.domain.access import tables
from app.domain.access.schemas import Grant, SessionRecord, SignInRecord

grants = Rows(tables.grants, Grant)

_grants = tables.grants
_sessions = tables.sessions
_sign_ins = tables.sign_ins


async def grants_for(connection: Connection, *, subject: str, values: Sequence[str]) -> list[Grant]:
    """Return the grants to a subject, and those to any of the values of its role claim."""
    is_subjects = (_grants.c.matches == "subject") & (_grants.c.value == subject)
    is_values = (_grants.c.matches == "claim") & _grants.c.value.in_(values)
    statement = select(_grants).where(or_(is_subjects, is_values)).order_by(_grants.c.id)
    return [to_record(row, Grant) for row in (await connection.execute(statement)).mappings()]


async def has_same_grant(connection: Connection, *, matches: str, value: str, organization_id: UUID | None) -> bool:
    """Tell whether somebody already has a role in this place by this value."""
    place = _grants.c.organization_id
    is_there = place.is_(None) if organization_id is None else place == organization_id
    statement = select(_grants.c.id).where(_grants.c.matches == matches, _grants.c.value == value, is_there)
    return (await connection.execute(statement.limit(1))).first() is not None


async def has_owner_by_grant(connection: Connection, *, besides: UUID) -> bool:
    """Tell whether any other grant makes owners of the installation."""
    statement = select(_grants.c.id).where(
        _grants.c.role == "owner", _grants.c.organization_id.is_(None), _grants.c.id != besides
    )
    return (await connection.execute(statement.limit(1))).first() is not None


async def insert_session(connection: Connection, record: SessionRecord) -> None:
    """Add a session."""
    await connection.execute(insert(_sessions).values(to_row(record)))


async def find_session(connection: Connection, mac: bytes) -> SessionRecord | None:
    """Return a session by the keyed hash of its token."""
    row = (await connection.execute(select(_sessions).where(_sessions.c.mac == mac))).mappings().first()
    return None if row is None else to_record(row, SessionRecord)


async def find_session_by_id(connection: Connection, session_id: UUID, *, scope: UUID | None) -> SessionRecord | None:
    """Return a session within a scope, None being the installation."""
    statement = select(_sessions).where(_sessions.c.id == session_id, *_within(scope))
    row = (await connection.execute(statement)).mappings().first()
    return None if row is None else to_record(row, SessionRecord)


async def page_sessions(
    connection: Connection, *, scope: UUID | None, limit: int, cursor: str | None, now: datetime, silent_since: datetime
) -> Page[SessionRecord]:
    """Return one page of the sessions that have not ended, newest first."""
    statement = select(_sessions).where(
        *_within(scope), _sessions.c.expires_at > now, _sessions.c.seen_at > silent_since
    )
    if cursor is not None:
        statement = statement.where(_sessions.c.id < decode_cursor("sessions", cursor, UUID))
    statement = statement.order_by(_sessions.c.id.desc()).limit(limit + 1)
    rows = [to_record(row, SessionRecord) for row in (await connection.execute(statement)).mappings()]
    return page_of("sessions", rows, limit=limit, key=lambda record: record.id)


async def touch_session(connection: Connection, session_id: UUID, *, seen_at: datetime) -> None:
    """Note that a session was used."""
    await connection.execute(update(_sessions).where(_sessions.c.id == session_id).values(seen_at=seen_at))


async def delete_session(connection: Connection, session_id: UUID) -> bool:
    """Remove a session; false if it was gone."""
    statement = delete(_sessions).where(_sessions.c.id == session_id).returning(_sessions.c.id)
    return (await connection.execute(statement)).first() is not None


async def delete_ended_sessions(connection: Connection, *, now: datetime, silent_since: datetime) -> None:
    """Remove the sessions that have expired, and those that were not used since `silent_since`."""
    ended = or_(_sessions.c.expires_at <= now, _sessions.c.seen_at <= silent_since)
    await connection.execute(delete(_sessions).where(ended))


async def insert_sign_in(connection: Connection, record: SignInRecord) -> None:
    """Add a sign-in that has begun."""
    await connection.execute(insert(_sign_ins).values(to_row(record)))


async def take_sign_in(connection: Connection, state_mac: bytes) -> SignInRecord | None:
    """Remove a sign-in and return it; of two who try, one gets it."""
    statement = delete(_sign_ins).where(_sign_ins.c.state_mac == state_mac).returning(*_sign_ins.c)
    row: Any = (await connection.execute(statement)).mappings().first()
    return None if row is None else to_record(row, SignInRecord)


async def delete_old_sign_ins(connection: Connection, now: datetime) -> None:
    """Remove the sign-ins that nobody has finished in time."""
    await connection.execute(delete(_sign_ins).where(_sign_ins.c.expires_at <= now))


async def delete_access_to_organization(connection: Connection, organization_id: UUID) -> None:
    """Remove the grants on an organisation, and the sessions in it."""
    for table in (_grants, _sessions):
        await connection.execute(delete(table).where(table.c.organization_id == organization_id))


def _within(scope: UUID | None) -> tuple[Any, ...]:
    return () if scope is None else (_sessions.c.organization_id == scope,)
