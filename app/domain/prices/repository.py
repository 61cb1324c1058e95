"""The rows of prices."""

from collections.abc import Sequence

from sqlalchemy import select

from app.db.engine import Connection, Database
from app.db.rows import Rows, to_record
from app.domain.prices import tables
from app.domain.prices.schemas import StoredPrice

prices = Rows(tables.prices, StoredPrice, scope_column=None)


async def has_other(connection: Connection, price: StoredPrice) -> bool:
    """Tell whether another price is for the same provider and model."""
    columns = tables.prices.c
    same = (columns.provider.is_not_distinct_from(price.provider), columns.model == price.model)
    statement = select(columns.id).where(*same, columns.id != price.id).limit(1)
    return (await connection.execute(statement)).first() is not None


class PriceRepository:
    """Reads all prices, for whoever keeps a snapshot of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_all(self) -> Sequence[StoredPrice]:
        """Return every price, in one query."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(tables.prices))).mappings()
            return [to_record(row, StoredPrice) for row in rows]
