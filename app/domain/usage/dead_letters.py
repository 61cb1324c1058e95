"""Entries of the usage queue that can never be events. Law: they are kept, so that no charge is lost unseen."""

from datetime import datetime

import msgspec
from sqlalchemy import func, insert, select

from app.db.engine import Connection
from app.db.rows import to_record
from app.domain.usage.tables import ledger_dead_letter

_MAX_ERROR = 2_000
_letters = ledger_dead_letter


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it came, and why it could not be written."""

    id: int
    received_at: datetime
    payload: bytes
    error: str


async def park_event(connection: Connection, *, payload: bytes, error: str) -> None:
    """Keep an entry that the ledger refused; the moment is the database's."""
    # A driver quotes what it refused, and PostgreSQL stores neither NUL nor half a character.
    text = error.replace("\0", "\\0").encode(errors="replace").decode()[:_MAX_ERROR]
    values = {"received_at": func.current_timestamp(), "payload": payload, "error": text}
    await connection.execute(insert(_letters).values(values))


async def list_parked(connection: Connection, *, after_id: int = 0, limit: int = 100) -> list[DeadLetter]:
    """Return kept entries in the order in which they came."""
    statement = select(_letters).where(_letters.c.id > after_id).order_by(_letters.c.id).limit(limit)
    return [to_record(row, DeadLetter) for row in (await connection.execute(statement)).mappings()]
