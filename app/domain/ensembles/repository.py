"""The rows of ensembles."""

from collections.abc import Mapping

from sqlalchemy import select

from app.db.engine import Connection, Database
from app.db.rows import Rows, to_record
from app.domain.ensembles import tables
from app.domain.ensembles.schemas import StoredEnsemble
from app.settings.policy import EnsembleSettings

ensembles = Rows(tables.ensembles, StoredEnsemble, scope_column=None)


async def names_of_others(connection: Connection, ensemble: StoredEnsemble) -> set[str]:
    """Return the names of all ensembles but this one."""
    columns = tables.ensembles.c
    statement = select(columns.name).where(columns.id != ensemble.id)
    return {row[0] for row in await connection.execute(statement)}


async def all_ensembles(connection: Connection) -> list[StoredEnsemble]:
    """Return every ensemble, by its name."""
    statement = select(tables.ensembles).order_by(tables.ensembles.c.name)
    return [to_record(row, StoredEnsemble) for row in (await connection.execute(statement)).mappings()]


class EnsembleRepository:
    """Reads all ensembles, for whoever keeps a snapshot of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_all(self) -> Mapping[str, EnsembleSettings]:
        """Return every ensemble by its name, as the file would say it, in one query."""
        async with self._database.reading() as connection:
            stored = await all_ensembles(connection)
        return {each.name: each.as_settings() for each in stored}
