import asyncio
import threading
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from servers.postgres import PostgresProcess
from sqlalchemy import Column, MetaData, String, Table, Uuid, insert, select, text

from app.db.columns import Timestamp, json_column
from app.db.engine import Database
from app.db.faults import DatabaseUnavailable

things = Table(
    "things",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("at", Timestamp),
    Column("data", json_column()),
    Column("name", String(20)),
)


async def make_things(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.run_sync(things.create)


async def test_values_come_back_as_they_went(database: Database) -> None:
    await make_things(database)
    at = datetime(2026, 11, 23, 1, 2, 3, 456789, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    row = {"id": uuid4(), "at": at, "data": {"b": [1, "é", None, 0.5], "a": {}}, "name": "n"}
    nothing = {"id": uuid4(), "at": None, "data": None, "name": None}
    async with database.transaction() as connection:
        await connection.execute(insert(things), [row, nothing])
    async with database.reading() as connection:
        read = (await connection.execute(select(things).where(things.c.id == row["id"]))).mappings().one()
        is_null = await connection.execute(select(things.c.id).where(things.c.data.is_(None)))
        assert is_null.scalar_one() == nothing["id"]
    assert dict(read) == row
    assert read["at"].tzinfo is UTC


async def test_a_naive_time_is_a_defect(database: Database) -> None:
    await make_things(database)
    with pytest.raises(Exception, match="time zone"):
        async with database.transaction() as connection:
            await connection.execute(insert(things).values(id=uuid4(), at=datetime(2026, 1, 1)))  # noqa: DTZ001


async def test_an_error_rolls_back(database: Database) -> None:
    await make_things(database)

    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute(insert(things).values(id=uuid4()))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with database.reading() as connection:
        assert (await connection.execute(select(things))).all() == []


async def test_many_writers_that_read_first_all_succeed(database: Database) -> None:
    await make_things(database)

    async def write() -> None:
        async with database.transaction() as connection:
            await connection.execute(select(things))
            await connection.execute(insert(things).values(id=uuid4()))

    tasks = [asyncio.create_task(write()) for _ in range(5)]
    await asyncio.gather(*tasks)
    async with database.reading() as connection:
        assert len((await connection.execute(select(things))).all()) == 5


async def test_two_processes_of_writers_share_the_file(database: Database, url: str) -> None:
    await make_things(database)
    other = Database(url)

    async def write(through: Database) -> None:
        async with through.transaction() as connection:
            await connection.execute(select(things))
            await asyncio.sleep(0)
            await connection.execute(insert(things).values(id=uuid4()))

    for _ in range(5):
        await asyncio.gather(write(database), write(other))
    async with other.reading() as connection:
        assert len((await connection.execute(select(things))).all()) == 10
    await other.aclose()


async def test_a_defect_in_our_sql_is_not_an_outage(database: Database) -> None:
    with pytest.raises(Exception, match="absent") as caught:
        async with database.reading() as connection:
            await connection.execute(text("SELECT 1 FROM absent"))
    assert not isinstance(caught.value, DatabaseUnavailable)


async def test_an_exhausted_pool_is_unavailable(url: str) -> None:
    database = Database(url, pool_size=1)
    async with database.reading() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailable) as caught:
            async with database.reading() as second:
                await second.execute(text("SELECT 1"))
    assert caught.value.code == "database_unavailable"
    assert caught.value.retry_after_s == 1
    await database.aclose()


def test_refuses_a_database_in_memory() -> None:
    with pytest.raises(ValueError, match="needs a file"):
        Database("sqlite+aiosqlite://")


async def test_a_missing_folder_is_unavailable(tmp_path: object) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/none/x.db")
    assert not await database.is_up()
    with pytest.raises(DatabaseUnavailable):
        async with database.reading() as connection:
            await connection.execute(text("SELECT 1"))
    await database.aclose()
    await _driver_is_quiet()


async def _driver_is_quiet() -> None:
    """Wait for the driver's threads of connections that failed: they end by themselves, telling the loop of it."""
    async with asyncio.timeout(10):
        for thread in threading.enumerate():
            if "_connection_worker_thread" in thread.name:
                await asyncio.to_thread(thread.join)


class TestPostgresFaults:
    """A server of its own, since it is broken here."""

    async def test_stop_and_start(self) -> None:
        server = PostgresProcess.launch()
        database = Database(server.url())
        try:
            assert await database.is_up()
            await asyncio.to_thread(server.stop, immediate=True)
            with pytest.raises(DatabaseUnavailable):
                async with database.transaction() as connection:
                    await connection.execute(text("SELECT 1"))
            await asyncio.to_thread(server.start)
            assert await database.is_up()
        finally:
            await database.aclose()
            server.close()

    async def test_a_hung_server_is_given_up(self) -> None:
        server = PostgresProcess.launch()
        database = Database(server.url())
        try:
            assert await database.is_up()
            server.pause()
            started = asyncio.get_running_loop().time()
            with pytest.raises(DatabaseUnavailable):
                async with database.reading() as connection:
                    await connection.execute(text("SELECT 1"))
            assert asyncio.get_running_loop().time() - started < 15
        finally:
            server.resume()
            await database.aclose()
            server.close()

    async def test_a_slow_statement_is_cut(self, database_url: str) -> None:
        database = Database(database_url)
        with pytest.raises(DatabaseUnavailable):
            async with database.reading() as connection:
                await connection.execute(text("SELECT pg_sleep(20)"))
        assert await database.is_up()
        await database.aclose()

    async def test_read_only_is_unavailable(self, database_url: str) -> None:
        database = Database(database_url)

        async def write() -> None:
            async with database.transaction() as connection:
                await connection.execute(text("SET TRANSACTION READ ONLY"))
                await connection.execute(text("CREATE TABLE a (b int)"))

        with pytest.raises(DatabaseUnavailable):
            await write()
        await database.aclose()
