"""The schema: which revision a database has, and how it moves.

Law: callable from a plain process, before any fork: no thread and no loop is alive when a call returns. Alembic is
imported only when something has to move.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, NullPool, create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

import migrations
from app.db.engine import begin_sqlite
from app.db.faults import database_faults
from migrations import HEAD

if TYPE_CHECKING:
    from alembic.config import Config

Result = TypeVar("Result")

_ADVISORY_LOCK = 0x6C6C6D67
"""An arbitrary number, the same in every release: two migrations of one database never run together."""

_LOCK_STATEMENTS = (
    "SET LOCAL lock_timeout = '60s'",
    f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})",
    "SET LOCAL lock_timeout = '2s'",
)
"""Waits for another migration, but never stands in front of the traffic's own locks for more than two seconds."""


def head() -> str:
    """Return the newest revision, which this release needs."""
    return HEAD


def upgrade(url: str, revision: str = HEAD) -> None:
    """Move the schema up to `revision`, all or nothing; makes the SQLite file if it is absent."""
    _move(url, revision, is_up=True)


def downgrade(url: str, revision: str = "base") -> None:
    """Move the schema down to `revision`; with it go the tables that newer revisions made."""
    _move(url, revision, is_up=False)


def current(url: str) -> str | None:
    """Return the revision that the database is at, or None if it is empty."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
        return None
    return _in_transaction(parsed, _revision)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return revision


def _move(url: str, revision: str, *, is_up: bool) -> None:
    from alembic import command  # noqa: PLC0415 - half the import time of a start, and most starts move nothing

    parsed = make_url(url)

    def work(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            for statement in _LOCK_STATEMENTS:
                connection.exec_driver_sql(statement)
        config = _config(connection)
        if is_up:
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)

    _in_transaction(parsed, work)


def _config(connection: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    folder = str(Path(migrations.__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _in_transaction(url: URL, work: Callable[[Connection], Result]) -> Result:
    with database_faults():
        if url.get_backend_name() == "sqlite":
            with _sqlite(url) as connection:
                return work(connection)
        return asyncio.run(_on_postgres(url, lambda connection: connection.run_sync(work)))


@contextmanager
def _sqlite(url: URL) -> Iterator[Connection]:
    """Open the file with the standard library's own driver, which needs no thread."""
    path = Path(url.database or "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(url.set(drivername="sqlite"), poolclass=NullPool)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", begin_sqlite)
    try:
        with engine.connect().execution_options(gateway_writes=True) as connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


def _prepare(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined] # the driver's connection; SQLAlchemy leaves it untyped


async def _on_postgres(url: URL, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 5})
    try:
        async with engine.begin() as connection:
            return await work(connection)
    finally:
        await engine.dispose()
