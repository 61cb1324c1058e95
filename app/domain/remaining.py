"""What still needs the master secret before: keys that nobody has presented since, and what was kept under it.

Law: only counts. Nobody but who presents a key can have it hashed anew, and what is kept ends by itself.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, func, select

from app.db.engine import Connection, Database
from app.domain.answers.service import SEALED_AS as ANSWERS
from app.domain.answers.tables import kept_answers
from app.domain.audit.answers import SEALED_AS as ADMIN_ANSWERS
from app.domain.audit.tables import idempotency_keys
from app.domain.keys.repository import Standing, standing_of
from app.domain.keys.secrets import MasterSecrets, key_id
from app.domain.responses.service import SEALED_AS as RESPONSES
from app.domain.responses.tables import kept_responses
from app.kernel.clock import Clock

_EXAMPLES = 20


class Sealed(NamedTuple):
    """How many things there are that the current master secret does not open, and when the last of them ends."""

    number: int
    until: datetime | None


class Remains(NamedTuple):
    """What still needs the master secret before; `answers` are those kept for idempotency keys, on both planes."""

    keys: Standing
    admin_keys: Standing
    responses: Sealed
    answers: Sealed

    @property
    def is_nothing(self) -> bool:
        """Whether the master secret before may go without a loss."""
        return not (self.keys.left or self.admin_keys.left or self.responses.number or self.answers.number)


class Remaining:
    """Counts what the master secret in force neither checks nor opens."""

    def __init__(self, database: Database, *, secrets: MasterSecrets, clock: Clock) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock

    async def count(self) -> Remains:
        """Return what there is of one moment, of what has not ended."""
        now, kid = self._clock.now(), self._secrets.peppers().current.kid
        async with self._database.snapshot() as connection:
            return Remains(
                keys=await standing_of(connection, "key_id", kid=kid, now=now, examples=_EXAMPLES),
                admin_keys=await standing_of(connection, "admin_key_id", kid=kid, now=now, examples=_EXAMPLES),
                responses=await self._sealed(connection, kept_responses, RESPONSES, now=now),
                answers=_both(
                    await self._sealed(connection, kept_answers, ANSWERS, now=now),
                    await self._sealed(connection, idempotency_keys, ADMIN_ANSWERS, now=now),
                ),
            )

    async def _sealed(self, connection: Connection, table: Table, purpose: str, *, now: datetime) -> Sealed:
        kid: ColumnElement[str] = table.c.kid
        is_other = kid != key_id(self._secrets.derive(purpose=purpose).current)
        statement = select(func.count(), func.max(table.c.expires_at)).where(is_other, table.c.expires_at > now)
        return Sealed(*(await connection.execute(statement)).one())


def _both(one: Sealed, other: Sealed) -> Sealed:
    ends = [each.until for each in (one, other) if each.until is not None]
    return Sealed(one.number + other.number, max(ends, default=None))
