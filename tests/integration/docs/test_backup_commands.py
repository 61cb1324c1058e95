"""The commands of the operations guide are run as they stand: what was there before is there after."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers import binaries
from servers.postgres import Postgres, dsn

from app.db import schema

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "infra/docs/operations.md").read_text(encoding="utf-8")
MASTER = "a-master-secret-of-forty-characters-----"


def block(name: str) -> str:
    (found,) = re.findall(rf"^```sh\n# {name}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    return found


@pytest.fixture
def shell(tmp_path):
    """Return a function that types commands in an empty folder; `llm-gateway` and `python3` are those under test."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "llm-gateway").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m app "$@"\n')
    (tools / "llm-gateway").chmod(0o755)
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python3").chmod(0o755)
    found = binaries.postgres()
    folders = [str(tools), *([str(found.folder)] if found else []), "/usr/bin", "/bin"]
    home = tmp_path / "home"
    home.mkdir()

    def type_in(script: str, **environ: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-euc", script],
            cwd=home,
            env={"PATH": os.pathsep.join(folders), **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    type_in.home = home  # type: ignore[attr-defined] # a function may have any
    return type_in


def test_sqlite(shell):
    shell("llm-gateway keys create --name first")
    before = shell("llm-gateway keys list --json")
    shell(block("backup-sqlite"))
    shell("llm-gateway keys create --name later")
    assert shell("llm-gateway keys list --json") != before
    shell(block("restore-sqlite"))
    assert shell("llm-gateway keys list --json") == before
    assert '"first"' in before
    assert (shell.home / ".gateway").stat().st_mode & 0o777 == 0o700
    assert "broken" not in shell("llm-gateway audit verify")


def test_postgresql(shell, postgres_server: Postgres):
    if not (binaries.postgres().folder / "pg_dump").exists():
        pytest.skip("pg_dump of the server's release is not here")
    url = postgres_server.new_database()
    schema.upgrade(url)
    environ = {"GATEWAY_DATABASE": url, "GATEWAY_MASTER_SECRET": MASTER, "PGURL": dsn(url)}
    shell("llm-gateway keys create --name first", **environ)
    before = shell("llm-gateway keys list --json", **environ)
    shell(block("backup-postgresql"), **environ)
    empty = postgres_server.new_database()
    environ |= {"GATEWAY_DATABASE": empty, "PGURL": dsn(empty)}
    shell(block("restore-postgresql"), **environ)
    assert shell("llm-gateway keys list --json", **environ) == before
    shell("llm-gateway audit verify", **environ)


def test_one_step_back(shell, database_url: str):
    schema.upgrade(database_url)
    shell(block("roll-back"), GATEWAY_DATABASE=database_url, PYTHONPATH=str(ROOT))
    assert int(schema.current(database_url) or "0") == int(schema.head()) - 1
