"""Inserts that both databases spell alike. Law: idempotency is the database's, never check-then-act."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from app.db.engine import Connection


def insert_ignore(connection: Connection, table: Table) -> Any:
    """Return an INSERT that passes over rows whose key exists; add `.returning(…)` to learn which went in."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()
