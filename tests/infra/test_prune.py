"""What is removed from the image is what its list names, and a name of nothing is a fault."""

import subprocess
import sys

import pytest
from shipped import ROOT, script

ABSENT = """
import sys, sysconfig
from pathlib import Path

class Absent:
    def __init__(self, removed):
        self.removed = removed

    def find_spec(self, name, path=None, target=None):
        if name.replace(".", "/") in self.removed:
            raise ModuleNotFoundError(name)

site = Path(sysconfig.get_path("platlib"))
names = {
    str(path.relative_to(site).with_suffix(""))
    for pattern in sys.argv[1].split()
    for path in site.glob(pattern)
    if path.is_dir() or path.suffix == ".py"
}
sys.meta_path.insert(0, Absent(names))
sys.argv = ["llm-gateway", *sys.argv[2:]]
from app.cli import main
main()
"""


@pytest.fixture
def prune():
    return script("infra/image/prune.py")


def a_site(folder, patterns):
    """Make something for every pattern, and a neighbour of it."""
    for number, pattern in enumerate(patterns):
        path = folder / pattern.replace("**/", "acme/").replace("[a-z]*", "abap").replace("[!_o]*", "aws").replace(
            "*", "x"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.write_bytes(b"x" * number)
        else:
            path.mkdir()
            (path / "module.py").write_bytes(b"x" * number)
        (path.parent / "kept.txt").write_text("kept")


def test_what_is_named_goes_and_nothing_else(prune, tmp_path):
    a_site(tmp_path, prune.PATTERNS)
    assert prune.prune(tmp_path) == sum(range(len(prune.PATTERNS)))
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"kept.txt"}


@pytest.mark.parametrize("missing", ["cffi", "**/*.pyx"])
def test_a_name_of_nothing_is_a_fault(prune, tmp_path, missing):
    a_site(tmp_path, [pattern for pattern in prune.PATTERNS if pattern != missing])
    with pytest.raises(LookupError) as caught:
        prune.prune(tmp_path)
    assert caught.value.args == (missing,)


@pytest.mark.parametrize("plane", ["gateway", "admin"])
def test_what_is_removed_is_not_missed(prune, plane):
    command = [sys.executable, "-c", ABSENT, " ".join(prune.PATTERNS), "openapi", "--plane", plane]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "infra/openapi" / f"{plane}.json").read_text()


def test_the_schema_is_made_without_what_is_removed(prune, tmp_path):
    folder = f"sqlite+aiosqlite:///{tmp_path}/gateway.db"
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, " ".join(prune.PATTERNS), "migrate"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "GATEWAY_DATABASE": folder},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "gateway.db").exists()
