"""The rows of providers, of their sealed credentials, and of models."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update

from app.db.engine import Connection, Database
from app.db.rows import Rows, to_record
from app.domain.upstream import tables
from app.domain.upstream.schemas import StoredModel, StoredProvider
from app.domain.upstream.vault import Envelope

providers = Rows(tables.providers, StoredProvider, scope_column=None)
models = Rows(tables.models, StoredModel, scope_column=None)

_credentials = tables.provider_credentials


class Stored(NamedTuple):
    """All that was made through the API: providers, their envelopes, models; each in the order of its making."""

    providers: Sequence[StoredProvider]
    envelopes: dict[UUID, Envelope]
    models: Sequence[StoredModel]


class UpstreamRepository:
    """Reads everything, for whoever keeps a snapshot of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_all(self) -> Stored:
        """Return everything."""
        async with self._database.reading() as connection:
            return await read_stored(connection)


async def read_stored(connection: Connection) -> Stored:
    """Return everything; a provider and its envelope are of one moment."""
    pairs = await _with_envelopes(connection)
    sealed = {provider.id: envelope for provider, envelope in pairs if envelope is not None}
    return Stored([provider for provider, _ in pairs], sealed, await all_models(connection))


async def _with_envelopes(connection: Connection) -> list[tuple[StoredProvider, Envelope | None]]:
    """Return every provider with its envelope, if it has one; oldest first."""
    both = tables.providers.outerjoin(_credentials, _credentials.c.provider_id == tables.providers.c.id)
    statement = select(tables.providers, _credentials).select_from(both).order_by(tables.providers.c.id)
    rows = (await connection.execute(statement)).mappings()
    return [(to_record(row, StoredProvider), None if row["kid"] is None else _envelope(row)) for row in rows]


def _envelope(row: Any) -> Envelope:
    return Envelope(row["kid"], row["wrapped_key"], row["sealed"])


async def all_models(connection: Connection) -> list[StoredModel]:
    """Return every model, oldest first."""
    rows = (await connection.execute(select(tables.models).order_by(tables.models.c.id))).mappings()
    return [to_record(row, StoredModel) for row in rows]


async def find_envelope(connection: Connection, provider_id: UUID) -> Envelope | None:
    """Return the envelope of a provider, if it has one."""
    statement = select(_credentials).where(_credentials.c.provider_id == provider_id)
    row = (await connection.execute(statement)).mappings().first()
    return None if row is None else _envelope(row)


async def put_envelope(connection: Connection, provider_id: UUID, envelope: Envelope | None) -> None:
    """Keep a provider's envelope in place of the one that it had; none takes it away."""
    await connection.execute(delete(_credentials).where(_credentials.c.provider_id == provider_id))
    if envelope is not None:
        await connection.execute(insert(_credentials).values(provider_id=provider_id, **envelope._asdict()))


async def count_by_kid(connection: Connection) -> dict[str, int]:
    """Return how many envelopes there are of each key-encryption key."""
    statement = select(_credentials.c.kid, func.count()).group_by(_credentials.c.kid)
    return {kid: count for kid, count in await connection.execute(statement)}  # noqa: C416 - rows are no pairs


async def wrapped_otherwise(
    connection: Connection, *, kid: str, after: UUID | None, limit: int
) -> list[tuple[StoredProvider, Envelope]]:
    """Return some providers whose credentials are not wrapped under `kid`, in the order of their ids."""
    ids = _credentials.c.provider_id
    statement = select(tables.providers, _credentials).join(_credentials, ids == tables.providers.c.id)
    statement = statement.where(_credentials.c.kid != kid).order_by(ids).limit(limit)
    if after is not None:
        statement = statement.where(ids > after)
    rows = (await connection.execute(statement)).mappings()
    return [(to_record(row, StoredProvider), _envelope(row)) for row in rows]


async def exchange_envelope(connection: Connection, provider_id: UUID, *, old: Envelope, new: Envelope) -> bool:
    """Put `new` in the place of `old`; tell whether `old` was still there."""
    mine = (_credentials.c.provider_id == provider_id) & (_credentials.c.wrapped_key == old.wrapped_key)
    statement = update(_credentials).where(mine).values(**new._asdict()).returning(_credentials.c.provider_id)
    return (await connection.execute(statement)).first() is not None
