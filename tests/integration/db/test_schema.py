import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

import migrations
from app.db import schema
from app.db.columns import metadata
from app.domain.access import tables as access
from app.domain.answers import tables as answers
from app.domain.audit import tables as audit
from app.domain.ensembles import tables as ensembles
from app.domain.keys import tables as keys
from app.domain.prices import tables as prices
from app.domain.responses import tables as responses
from app.domain.tenants import tables as tenants
from app.domain.upstream import tables as upstream
from app.domain.usage import tables as usage

MODELS = (access, answers, audit, ensembles, keys, prices, responses, tenants, upstream, usage)


async def on(url: str, work: Callable[[Connection], object]) -> object:
    if url.startswith("sqlite"):
        engine = create_engine(make_url(url).set(drivername="sqlite"))
        with engine.connect() as connection:
            result = work(connection)
        engine.dispose()
        return result
    async_engine = create_async_engine(url)
    async with async_engine.connect() as connection:
        result = await connection.run_sync(work)
    await async_engine.dispose()
    return result


def tables_of(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_goes_up_down_and_up_again(empty_url: str) -> None:
    assert schema.current(empty_url) is None
    schema.upgrade(empty_url)
    assert schema.current(empty_url) == schema.head()
    schema.downgrade(empty_url)
    assert schema.current(empty_url) is None
    schema.upgrade(empty_url)
    schema.upgrade(empty_url)
    assert schema.current(empty_url) == schema.head()


async def test_downgrade_leaves_no_table(empty_url: str) -> None:
    await _in_thread(schema.upgrade, empty_url)
    assert await on(empty_url, tables_of) == set(metadata.tables)
    await _in_thread(schema.downgrade, empty_url)
    assert await on(empty_url, tables_of) == set()


async def test_migrated_schema_equals_the_models(url: str) -> None:
    assert len(MODELS) == 10

    def differences(connection: Connection) -> object:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, metadata)

    assert await on(url, differences) == []


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.head()]


def test_leaves_no_thread_behind(empty_url: str) -> None:
    before = set(threading.enumerate())
    schema.upgrade(empty_url)
    assert schema.current(empty_url) == schema.head()
    assert set(threading.enumerate()) == before


def test_makes_the_folder_of_the_file_private(tmp_path: Path) -> None:
    schema.upgrade(f"sqlite+aiosqlite:///{tmp_path}/.gateway/gateway.db")
    assert (tmp_path / ".gateway").stat().st_mode & 0o777 == 0o700


def test_reading_the_revision_makes_no_file(tmp_path: Path) -> None:
    assert schema.current(f"sqlite+aiosqlite:///{tmp_path}/none/gateway.db") is None
    assert not (tmp_path / "none").exists()


def test_a_failed_upgrade_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/gateway.db"
    folder = tmp_path / "history"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text((Path(migrations.__file__).parent / "env.py").read_text())
    (folder / "versions" / "r.py").write_text(
        f"from alembic import op\nimport sqlalchemy as sa\nrevision='{schema.head()}'\ndown_revision=None\n"
        "def upgrade():\n    op.create_table('a', sa.Column('b', sa.Integer()))\n    raise LookupError('half way')\n"
    )
    monkeypatch.setattr(migrations, "__file__", str(folder / "__init__.py"))
    with pytest.raises(LookupError):
        schema.upgrade(url)
    assert schema.current(url) is None
    engine = create_engine(url.replace("+aiosqlite", ""))
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


async def test_two_migrations_at_once_are_one_after_the_other(empty_url: str) -> None:
    threads = [threading.Thread(target=schema.upgrade, args=(empty_url,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert await _in_thread(schema.current, empty_url) == schema.head()


async def _in_thread(function: Callable[[str], object], url: str) -> object:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(function(url)))
    thread.start()
    thread.join(60)
    return results[0]
