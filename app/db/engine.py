"""The engine and its transactions.

Law: made inside the worker; every wait is bounded; writes on SQLite queue in our own lock instead of polling SQLite's.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.db.faults import database_faults

Connection = AsyncConnection
"""An open transaction: what repositories are given."""

_STATEMENT_MS = 2_000
_POOL_WAIT_S = 1
_POOL_SIZE = 5
_CONNECT_S = 2
_CLIENT_WAIT_S = 3
"""A server that hangs does not enforce its own statement_timeout, so the client gives up a little later."""

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={_STATEMENT_MS}",
)
_WRITES = "gateway_writes"


class Database:
    """Gives out transactions; one per worker process, closed by whoever opened it."""

    def __init__(self, url: str, *, pool_size: int = _POOL_SIZE) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(parsed, pool_size) if self.is_sqlite else _postgres_engine(parsed, pool_size)
        self._writer = asyncio.Lock()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Open a transaction that only reads; it ends with the block."""
        with database_faults():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Open a transaction that only reads, and whose statements all see the same moment."""
        async with self.reading() as connection:
            if not self.is_sqlite:
                await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Open a transaction that writes; it commits when the block ends, and rolls back when the block raises."""
        if not self.is_sqlite:
            async with self._begin() as connection:
                yield connection
            return
        async with self._one_writer(), self._begin() as connection:
            yield connection

    async def is_up(self) -> bool:
        """Tell whether the database answers a trivial query within its time limits."""
        try:
            async with self.reading() as connection:
                await connection.exec_driver_sql("SELECT 1")
        except Exception:  # noqa: BLE001 - a probe: whatever went wrong, the answer is no
            return False
        return True

    async def aclose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[Connection]:
        with database_faults():
            async with self._engine.connect() as connection:
                await connection.execution_options(**{_WRITES: True})
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def _one_writer(self) -> AsyncIterator[None]:
        with database_faults():
            async with asyncio.timeout(_STATEMENT_MS / 1000):
                await self._writer.acquire()
        try:
            yield
        finally:
            self._writer.release()


def folder_of(url: str) -> Path:
    """Return the folder of an embedded database's file."""
    return Path(make_url(url).database or "").parent


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _sqlite_engine(url: URL, pool_size: int) -> AsyncEngine:
    if not url.database or url.database == ":memory:":
        raise ValueError("the embedded database needs a file: sqlite+aiosqlite:///path/to/gateway.db")
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_S,
        json_serializer=_encode,
        json_deserializer=msgspec.json.decode,
        connect_args={"timeout": _STATEMENT_MS / 1000},
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Set the pragmas, and take the transactions out of the driver's hands, which would begin them too late."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def begin_sqlite(connection: SyncConnection) -> None:
    """Begin; a writer takes the write lock at once, since a reader that turns writer fails without waiting."""
    is_writer = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


def _postgres_engine(url: URL, pool_size: int) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_S,
        pool_pre_ping=True,
        json_serializer=_encode,
        json_deserializer=msgspec.json.decode,
        connect_args={
            "timeout": _CONNECT_S,
            "command_timeout": _CLIENT_WAIT_S,
            "server_settings": {
                "application_name": "llm-gateway",
                "statement_timeout": str(_STATEMENT_MS),
                "idle_in_transaction_session_timeout": "10000",
                "jit": "off",
                "timezone": "UTC",
            },
        },
    )
