"""Statements straight to SQLite's driver, for what runs with every request.

SQLAlchemy's cursor goes to the driver's thread four times for a statement, this once. Law: only within a transaction
that `Database` opened, and errors are those that SQLAlchemy would have raised.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from app.db.engine import Connection


async def ask_sqlite(connection: Connection, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    try:
        rows: list[tuple[Any, ...]] = await driver.execute_fetchall(statement, parameters)
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, parameters, error, sqlite3.Error) from error
    return rows
