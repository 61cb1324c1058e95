"""Objects as rows: the five statements that every stored object needs.

Law: each statement that reads or changes an object carries the caller's scope, so another organisation's object is
indistinguishable from an absent one. A record is a struct whose fields are the table's columns. What belongs to the
installation itself is everybody's to see.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Table, delete, insert, select, update

from app.db.engine import Connection
from app.db.paging import Page, decode_cursor, page_of

Record = TypeVar("Record", bound=msgspec.Struct)

_AS_THEY_ARE = (UUID, datetime, bytes)
"""What the drivers take unconverted; everything else becomes JSON."""


class Rows(Generic[Record]):
    """The rows of one table, as records; newest first when listed."""

    def __init__(self, table: Table, record: type[Record], *, scope_column: str | None = "organization_id") -> None:
        """Make a view of `table`, whose `scope_column` names the organisation that an object belongs to.

        Without one the objects belong to the installation.
        """
        self._table = table
        self._record = record
        self._scope = None if scope_column is None else table.c[scope_column]

    async def insert(self, connection: Connection, record: Record) -> None:
        """Add a row."""
        await connection.execute(insert(self._table).values(to_row(record)))

    async def find(self, connection: Connection, object_id: UUID, *, scope: UUID | None) -> Record | None:
        """Return the record, or None if it is absent or outside `scope` (None: the whole installation)."""
        statement = select(self._table).where(self._table.c.id == object_id, *self._within(scope))
        row = (await connection.execute(statement)).mappings().first()
        return None if row is None else to_record(row, self._record)

    async def page(
        self,
        connection: Connection,
        *,
        scope: UUID | None,
        limit: int,
        cursor: str | None,
        where: dict[str, Any],
    ) -> Page[Record]:
        """Return one page; `where` maps columns to the values they must have."""
        listing = self._table.name
        statement = select(self._table).where(*self._within(scope))
        statement = statement.where(*(self._table.c[name] == value for name, value in where.items()))
        if cursor is not None:
            statement = statement.where(self._table.c.id < decode_cursor(listing, cursor, UUID))
        statement = statement.order_by(self._table.c.id.desc()).limit(limit + 1)
        rows = [to_record(row, self._record) for row in (await connection.execute(statement)).mappings()]
        return page_of(listing, rows, limit=limit, key=lambda record: record.id)  # type: ignore[attr-defined] # has one

    async def replace(self, connection: Connection, record: Record) -> None:
        """Overwrite the row of the same id."""
        values = to_row(record)
        await connection.execute(update(self._table).where(self._table.c.id == values.pop("id")).values(values))

    async def delete(self, connection: Connection, object_id: UUID) -> None:
        """Remove the row."""
        await connection.execute(delete(self._table).where(self._table.c.id == object_id))

    async def any_where(self, connection: Connection, **values: Any) -> bool:
        """Tell whether a row has all these column values."""
        statement = select(self._table.c.id).where(*(self._table.c[name] == value for name, value in values.items()))
        return (await connection.execute(statement.limit(1))).first() is not None

    def _within(self, scope: UUID | None) -> tuple[ColumnElement[bool], ...]:
        return () if scope is None or self._scope is None else (self._scope == scope,)


def to_row(record: msgspec.Struct) -> dict[str, Any]:
    """Return a record's fields as column values."""
    row: dict[str, Any] = msgspec.to_builtins(record, builtin_types=_AS_THEY_ARE)
    return row


def to_record(row: Any, record: type[Record]) -> Record:
    """Return a row's columns as a record; the driver's own names are not plain strings, so they are not used."""
    return msgspec.convert({name: row[name] for name in record.__struct_fields__}, record)
