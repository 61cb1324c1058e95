"""Removes from the image's environment what no command of the gateway loads: a fifth of it.

Law: what is named here is there. A pattern that finds nothing fails the build, so that the list does not outlive its
reasons; what was removed wrongly is found by `verify.py`, which runs next.
"""

import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PATTERNS = (
    # What compiled modules were made of, and what type checkers read.
    *("**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.c", "**/*.h", "**/*.hpp", "**/*.cpp", "**/*.proto"),
    # Tests of others.
    *("aiosqlite/tests", "alembic/testing", "greenlet/tests", "litestar/testing", "regex/tests", "sqlalchemy/testing"),
    # Databases that the gateway does not speak to. Alembic names them for type checkers only.
    *("sqlalchemy/dialects/mssql", "sqlalchemy/dialects/mysql", "sqlalchemy/dialects/oracle"),
    # Colours for five hundred languages.
    *("pygments/lexers/[a-z]*.py", "pygments/lexers/_*_builtins.py"),
    # Messages of other services; a trace is made of none of them.
    *(
        "google/api",
        "google/cloud",
        "google/gapic",
        "google/logging",
        "google/longrunning",
        "google/rpc",
        "google/type",
    ),
    *("opentelemetry/semconv/_incubating/attributes/[!_o]*.py", "opentelemetry/semconv/_incubating/metrics/[!_o]*.py"),
    # Compilers of bindings: what is compiled needs neither.
    *("cffi", "pycparser"),
    # Commands of Redis' modules, and its client for several installations: both are loaded by whoever asks for them.
    *("redis/commands/bf", "redis/commands/json", "redis/commands/search", "redis/commands/timeseries"),
    *("redis/commands/vectorset", "redis/multidb", "redis/asyncio/multidb"),
    # Parts of Litestar, and another event loop, that nothing here imports.
    *("litestar/channels", "litestar/cli", "litestar/contrib", "litestar/repository", "anyio/_backends/_trio.py"),
)


def prune(site: Path) -> int:
    """Remove everything that a pattern names; return its bytes. Raises `LookupError` where one finds nothing."""
    freed_bytes = 0
    for pattern in PATTERNS:
        found = sorted(site.glob(pattern))
        if not found:
            raise LookupError(pattern)
        for path in found:
            freed_bytes += sum(each.stat().st_size for each in _files(path))
            _remove(path)
    return freed_bytes


def _files(path: Path) -> Iterator[Path]:
    return (each for each in (path, *path.rglob("*")) if each.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def main() -> int:
    """Prune the environment of this interpreter; return the exit code."""
    try:
        freed_bytes = prune(Path(sysconfig.get_path("platlib")))
    except LookupError as error:
        print(f"nothing is called {error} any more: take it out of this list", file=sys.stderr)
        return 1
    print(f"{freed_bytes / 1e6:.1f} MB removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
