"""Usage that no store takes: when `take` returns it is in the database or on the disk, and it gets there once."""

import asyncio

import pytest

from app.kernel.errors import Unavailable
from app.ledger.spool import Spool
from app.stores.entries import UsageEntry


class Database:
    """Takes entries by id; may be down, or hang."""

    def __init__(self):
        self.rows = {}
        self.calls = 0
        self.is_down = False
        self.hangs = False

    async def insert(self, entries):
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_down:
            raise Unavailable
        self.rows |= {entry.id: entry for entry in entries}


def entries(*names):
    return [UsageEntry(1, name, b"payload", 2, 3, ("o", "t", "k")) for name in names]


@pytest.fixture
def database():
    return Database()


@pytest.fixture
def spool(tmp_path, database):
    return Spool(tmp_path / "spool", database.insert, adopt=database.insert)


async def test_what_the_database_takes_is_not_spooled(spool, database, tmp_path):
    await spool.take(entries("a"))
    assert set(database.rows) == {"a"}
    assert spool.is_empty
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("how", ["is_down", "hangs"])
async def test_what_it_does_not_take_is_on_the_disk(spool, database, tmp_path, how):
    setattr(database, how, True)
    async with asyncio.timeout(5):
        await spool.take(entries("a", "b"))
    assert not spool.is_empty
    spool.close()
    setattr(database, how, False)
    heir = Spool(tmp_path / "spool", database.insert, adopt=database.insert)
    await heir.adopt()
    assert database.rows == {entry.id: entry for entry in entries("a", "b")}
    assert list((tmp_path / "spool").iterdir()) == []


async def test_what_is_spooled_reaches_the_database_when_it_is_back(spool, database, tmp_path):
    database.is_down = True
    for name in ("a", "b", "c"):
        await spool.take(entries(name))
    with pytest.raises(Unavailable):
        await spool.flush()
    database.is_down = False
    await spool.flush()
    assert set(database.rows) == {"a", "b", "c"}
    assert spool.is_empty
    assert list((tmp_path / "spool").iterdir()) == []


async def test_what_a_living_process_has_is_not_taken_up(spool, database, tmp_path):
    database.is_down = True
    await spool.take(entries("a"))
    database.is_down = False
    other = Spool(tmp_path / "spool", database.insert, adopt=database.insert)
    await other.adopt()
    assert database.rows == {}
    await spool.flush()
    assert set(database.rows) == {"a"}


async def test_a_database_that_is_down_leaves_what_others_left(spool, database, tmp_path):
    database.is_down = True
    await spool.take(entries("a"))
    spool.close()
    heir = Spool(tmp_path / "spool", database.insert, adopt=database.insert)
    with pytest.raises(Unavailable):
        await heir.adopt()
    database.is_down = False
    await heir.adopt()
    assert set(database.rows) == {"a"}


async def test_a_disk_that_takes_nothing_costs_no_answer(database, tmp_path, caplog):
    file = tmp_path / "spool"
    file.write_text("no folder")
    database.is_down = True
    spool = Spool(file, database.insert, adopt=database.insert)
    await spool.take(entries("a"))
    assert "cannot be spooled" in caplog.text
    database.is_down = False
    await spool.flush()
    assert set(database.rows) == {"a"}
