"""What goes past SQLAlchemy fails as if it had not."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from accounting.events import make_event
from sqlalchemy.exc import IntegrityError, OperationalError

from app.db.direct import ask_sqlite
from app.db.engine import Database
from app.db.faults import DatabaseUnavailable
from app.domain.usage import repository


@pytest.fixture
async def embedded(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Database]:
    path = tmp_path / "gateway.db"
    shutil.copy(sqlite_template, path)
    opened = Database(f"sqlite+aiosqlite:///{path}", pool_size=1)
    yield opened
    await opened.aclose()


async def test_it_is_part_of_the_transaction(embedded: Database) -> None:
    async with embedded.transaction() as connection:
        assert await ask_sqlite(connection, "SELECT ?, 2", (1,)) == [(1, 2)]
        await repository.insert_events(connection, [make_event()])
        await connection.rollback()
    async with embedded.reading() as connection:
        assert await repository.count_events(connection) == 0


async def test_a_defect_of_ours_stays_one(embedded: Database) -> None:
    async with embedded.transaction() as connection:
        with pytest.raises(OperationalError, match="no such table"):
            await ask_sqlite(connection, "SELECT * FROM nowhere", ())
        with pytest.raises(IntegrityError):
            await ask_sqlite(connection, "INSERT INTO balances (scope_kind) VALUES (?)", ("key",))


async def test_a_database_that_takes_no_writes_is_unavailable(embedded: Database) -> None:
    async def insert_where_nothing_may_be_written() -> None:
        async with embedded.transaction() as connection:
            await connection.exec_driver_sql("PRAGMA query_only = ON")
            await repository.insert_events(connection, [make_event()])

    with pytest.raises(DatabaseUnavailable):
        await insert_where_nothing_may_be_written()
    async with embedded.reading() as connection:
        await connection.exec_driver_sql("PRAGMA query_only = OFF")
    async with embedded.transaction() as connection:
        assert len(await repository.insert_events(connection, [make_event()])) == 1
