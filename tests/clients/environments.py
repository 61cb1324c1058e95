"""Environments for clients that cannot live in the tests' own: of Python for each list of requirements, and of Node.

They are made once and kept in the user's cache folder, under the hash of what is installed; the checkout stays clean.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
_NODE_FILES = ("package.json", "package-lock.json")
_OLDEST_NODE = 20
_INSTALLED_WITHIN_S = 600
_MARK = "complete"


def python_with(requirements: str) -> Path:
    """Return the interpreter of an environment that has what `requirements/{requirements}.txt` lists.

    Skips the test where it has not been made yet and no package index can be reached.
    """
    listed = FOLDER / "requirements" / f"{requirements}.txt"

    def make(folder: Path) -> None:
        venv.create(folder, with_pip=True, clear=True, symlinks=True)
        _install([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "-r", str(listed)], cwd=folder)

    name = f"{requirements}-{sys.version_info.major}.{sys.version_info.minor}"
    return _kept(name, [listed], make) / "bin/python"


@contextmanager
def node_with_clients() -> Iterator[tuple[Path, Path]]:
    """Yield the program `node` and a folder with the drivers, which find the packages of `node/package-lock.json`.

    Skips the test where there is no node, or nothing is installed yet and no package registry can be reached.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the clients for Node are not run: node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < _OLDEST_NODE:
        pytest.skip(f"the clients for Node are not run: node {version} is older than {_OLDEST_NODE}")
    files = [FOLDER / "node" / name for name in _NODE_FILES]

    def make(folder: Path) -> None:
        for file in files:
            shutil.copy(file, folder)
        _install([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder)

    with tempfile.TemporaryDirectory(dir=_kept(f"node-{version}", files, make)) as drivers:
        for driver in (FOLDER / "node").glob("*.mjs"):
            shutil.copy(driver, drivers)
        yield Path(node), Path(drivers)


def _install(command: Sequence[str], *, cwd: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False, timeout=_INSTALLED_WITHIN_S
        )
        said = done.stderr[-1000:]
    except subprocess.TimeoutExpired:
        done, said = None, f"not within {_INSTALLED_WITHIN_S} s"
    if done is None or done.returncode != 0:
        pytest.skip(f"these clients are not run: their packages cannot be installed here: {said}")


def _kept(name: str, sources: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` fills, filling it if nobody has; only one process at a time does."""
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    folder = _cache() / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not (folder / _MARK).exists():
            shutil.rmtree(folder)
            folder.mkdir()
            make(folder)
            (folder / _MARK).touch()
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llm-api-gateway-tests"


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
