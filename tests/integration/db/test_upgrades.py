"""Releases follow each other over a database that is in use: both code and data of the one before go on.

Every statement of an older release reads, writes and deletes columns of its own schema. So each table of each revision
is filled, read, changed and emptied by the columns that it had then, on the schema that the next ones make of it.
"""

import asyncio
import itertools
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, MetaData, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

import migrations
from app.db import schema
from app.db.faults import DatabaseUnavailable
from migrations import HEAD

ROOT = Path(__file__).parents[3]
REVISIONS = [f"{number:04}" for number in range(1, int(HEAD) + 1)]
STEPS = list(itertools.pairwise(REVISIONS))
ANYTIME = datetime(2026, 11, 23, 12, tzinfo=UTC)
CHOICES = {"role": "owner", "status": "active", "kind": "attempt", "usage_source": "provider"}
VERSIONS = "alembic_version"


def over(url: str, work: Callable[[Connection], Any]) -> Any:
    """Do work in one transaction, from a thread that has no loop."""
    if url.startswith("sqlite"):
        engine = create_engine(make_url(url).set(drivername="sqlite"))
        sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
        with engine.begin() as connection:
            result = work(connection)
        engine.dispose()
        return result

    async def run() -> Any:
        async_engine = create_async_engine(url, poolclass=sa.NullPool)
        async with async_engine.begin() as connection:
            return await connection.run_sync(work)

    return asyncio.run(run())


def tables_of(url: str) -> MetaData:
    """Return the schema as it is, without Alembic's own table."""

    def reflect(connection: Connection) -> MetaData:
        found = MetaData()
        found.reflect(connection, only=lambda name, _: name != VERSIONS)
        return found

    return over(url, reflect)


class Rows:
    """Makes one row for each table, of the columns that it is told, with parents before children."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def fill(self, connection: Connection, tables: MetaData) -> dict[str, dict[str, Any]]:
        """Insert a row into each table by those columns alone; return what was inserted."""
        made: dict[str, dict[str, Any]] = {}
        for table in tables.sorted_tables:
            row = {column.name: self._value(column, made, connection) for column in table.columns}
            if table.name == "key_secrets":
                row["admin_key_id"] = None
            made[table.name] = row
            connection.execute(sa.insert(table).values(row))
        return made

    def _value(self, column: sa.Column[Any], made: dict[str, dict[str, Any]], connection: Connection) -> Any:
        for key in column.foreign_keys:
            return made[key.column.table.name][key.column.name]
        return self._plain(column, is_sqlite=connection.dialect.name == "sqlite")

    def _plain(self, column: sa.Column[Any], *, is_sqlite: bool) -> Any:
        number, length = next(self._numbers), getattr(column.type, "length", None) or 8
        values = {
            sa.Uuid: uuid.UUID(int=number),
            sa.DateTime: ANYTIME.replace(tzinfo=None) if is_sqlite else ANYTIME,
            sa.Boolean: False,
            sa.JSON: {"a": number},
            sa.LargeBinary: number.to_bytes(length, "big"),
            sa.Integer: number,
            sa.Float: float(number),
            sa.String: uuid.UUID(int=number).hex if length == 32 else f"{number:x}"[:length],
        }
        chosen = CHOICES.get(column.name) if isinstance(column.type, sa.String) else None
        return chosen or next(value for kind, value in values.items() if isinstance(column.type, kind))


def where(table: sa.Table, row: dict[str, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == row[column.name] for column in table.primary_key.columns))


def read(connection: Connection, tables: MetaData, rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each row by the columns that the schema `tables` had."""
    found = {}
    for name, row in rows.items():
        statement = sa.select(tables.tables[name]).where(where(tables.tables[name], row))
        found[name] = dict(connection.execute(statement).mappings().one())
    return found


def change_and_delete(connection: Connection, tables: MetaData, rows: dict[str, dict[str, Any]]) -> None:
    """Write every column again, then delete each row, children before parents."""
    for table in reversed(tables.sorted_tables):
        row = rows[table.name]
        rest = {name: value for name, value in row.items() if name not in table.primary_key.columns}
        if rest:
            assert connection.execute(sa.update(table).where(where(table, row)).values(rest)).rowcount == 1
        assert connection.execute(sa.delete(table).where(where(table, row))).rowcount == 1


@pytest.mark.parametrize(("old", "new"), STEPS)
def test_the_release_before_goes_on_over_the_next_schema(empty_url: str, old: str, new: str) -> None:
    schema.upgrade(empty_url, old)
    tables = tables_of(empty_url)
    rows = Rows()
    before = over(empty_url, lambda connection: rows.fill(connection, tables))
    kept = over(empty_url, lambda connection: read(connection, tables, before))
    schema.upgrade(empty_url, new)
    assert_only_widened(tables, tables_of(empty_url))
    assert over(empty_url, lambda connection: read(connection, tables, before)) == kept
    later = over(empty_url, lambda connection: rows.fill(connection, tables))
    over(empty_url, lambda connection: change_and_delete(connection, tables, later))
    over(empty_url, lambda connection: change_and_delete(connection, tables, before))


@pytest.mark.parametrize("old", [REVISIONS[0], REVISIONS[-2]])
def test_what_was_there_is_there_after_the_way_up_down_and_up(empty_url: str, old: str) -> None:
    schema.upgrade(empty_url, old)
    tables = tables_of(empty_url)
    rows = over(empty_url, lambda connection: Rows().fill(connection, tables))
    before = over(empty_url, lambda connection: read(connection, tables, rows))
    seen = []
    for go, revision in ((schema.upgrade, HEAD), (schema.downgrade, old), (schema.upgrade, HEAD)):
        go(empty_url, revision)
        assert schema.current(empty_url) == revision
        assert over(empty_url, lambda connection: read(connection, tables, rows)) == before
        seen.append(shape_of(tables_of(empty_url)))
    assert seen == [seen[0], shape_of(tables), seen[0]]


def shape_of(tables: MetaData) -> dict[str, set[str]]:
    return {name: {column.name for column in table.columns} for name, table in tables.tables.items()}


def assert_only_widened(before: MetaData, after: MetaData) -> None:
    """Nothing has gone, and nothing new is asked of those who write as before."""
    for name, table in before.tables.items():
        now = after.tables[name]
        types = {column.name: str(column.type) for column in now.columns}
        assert {column.name: str(column.type) for column in table.columns}.items() <= types.items()
        added = [column for column in now.columns if column.name not in table.columns]
        assert [column.name for column in added if not column.nullable and column.server_default is None] == []
        assert _demands(now) == _demands(table)


def _demands(table: sa.Table) -> set[str]:
    """Return what a table refuses: keys, checks, and what must be unique."""
    rules = {str(constraint.name) for constraint in table.constraints}
    return rules | {str(index.name) for index in table.indexes if index.unique}


def run_migrate(url: str, *, environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app", "migrate"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "GATEWAY_DATABASE": url, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_processes_that_migrate_at_once_all_end_well(empty_url: str) -> None:
    schema.upgrade(empty_url, REVISIONS[0])
    started = [run_migrate(empty_url) for _ in range(3)]
    outputs = [process.communicate(timeout=100)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], outputs
    assert schema.current(empty_url) == HEAD


SLOW = """
import sqlalchemy as sa
import time
from alembic import op
from pathlib import Path
revision = "9999"
down_revision = "{head}"
def upgrade():
    op.add_column("organizations", sa.Column("half_way", sa.Text()))
    op.create_table("half_way", sa.Column("id", sa.Integer()))
    Path("{reached}").touch()
    time.sleep({sleep_s})
def downgrade():
    pass
"""
MIGRATES = """
import sys, migrations
from app.db import schema
migrations.__file__ = sys.argv[1]
schema.upgrade(sys.argv[2], "9999")
"""


@pytest.fixture
def longer_history(tmp_path: Path) -> Callable[..., Path]:
    """Make a history with one revision more, which says when it is half way, and stays there for a while."""
    folder = tmp_path / "history"
    (folder / "versions").mkdir(parents=True)
    source = Path(migrations.__file__).parent
    (folder / "env.py").write_text((source / "env.py").read_text())
    for path in source.glob("versions/r*.py"):
        (folder / "versions" / path.name).write_text(path.read_text())

    def make(*, sleep_s: float) -> Path:
        text = SLOW.format(head=HEAD, reached=tmp_path / "reached", sleep_s=sleep_s)
        (folder / "versions" / "r9999_slow.py").write_text(text)
        return folder / "__init__.py"

    return make


def half_way(history: Path, url: str, reached: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", MIGRATES, str(history), url], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not reached.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_a_migration_that_is_killed_half_way_changes_nothing(
    empty_url: str, longer_history: Callable[..., Path], tmp_path: Path
) -> None:
    schema.upgrade(empty_url)
    tables = tables_of(empty_url)
    rows = over(empty_url, lambda connection: Rows().fill(connection, tables))
    process = half_way(longer_history(sleep_s=300), empty_url, tmp_path / "reached")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert schema.current(empty_url) == HEAD
    after = tables_of(empty_url)
    assert "half_way" not in after.tables
    assert "half_way" not in after.tables["organizations"].columns
    over(empty_url, lambda connection: change_and_delete(connection, after, rows))
    schema.downgrade(empty_url, REVISIONS[-2])
    again = run_migrate(empty_url)
    text = again.communicate(timeout=60)[0]
    assert (again.returncode, schema.current(empty_url)) == (0, HEAD), text


def test_a_second_migration_waits_for_the_first(
    database_url: str, longer_history: Callable[..., Path], tmp_path: Path
) -> None:
    schema.upgrade(database_url)
    first = half_way(longer_history(sleep_s=3), database_url, tmp_path / "reached")
    began_s = time.monotonic()
    second = run_migrate(database_url)
    text = second.communicate(timeout=60)[0]
    assert first.wait(30) == 0
    assert schema.current(database_url) == "9999"
    assert time.monotonic() - began_s >= 1, text


def test_a_migration_does_not_stand_in_front_of_the_traffic(
    database_url: str, longer_history: Callable[..., Path]
) -> None:
    schema.upgrade(database_url)
    history = longer_history(sleep_s=0)

    async def hold_and_migrate() -> float:
        engine = create_async_engine(database_url, poolclass=sa.NullPool)
        async with engine.connect() as reader:
            await reader.execute(sa.text("SELECT count(*) FROM organizations"))
            began_s = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", MIGRATES, str(history), database_url, cwd=ROOT, stderr=asyncio.subprocess.PIPE
            )
            _, errors = await process.communicate()
            assert process.returncode != 0
            assert DatabaseUnavailable.__name__.encode() in errors
            return time.monotonic() - began_s

    assert asyncio.run(hold_and_migrate()) < 30
    assert schema.current(database_url) == HEAD
