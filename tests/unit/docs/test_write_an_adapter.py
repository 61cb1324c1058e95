"""The guide is run as it stands: its adapter keeps the contract, is found by its entry point, and is short."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from providers.native.wire import read_chat
from providers.registry import ENTRY_POINT_GROUP, Registry

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "infra/docs/write-an-adapter.md").read_text(encoding="utf-8")
BLOCKS = [(kind, text) for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)]


def block(kind, containing):
    (found,) = [text for each, text in BLOCKS if each == kind and containing in text]
    return found


ADAPTER = block("python", "class Acme(")
TEST = block("python", "class TestAcme(")
CASES = block("json", '"cases"')
ENTRY_POINT = block("toml", "entry-points")


@pytest.fixture
def package(tmp_path):
    (tmp_path / "acme_gateway.py").write_text(ADAPTER, encoding="utf-8")
    (tmp_path / "test_acme.py").write_text(TEST, encoding="utf-8")
    (tmp_path / "acme.json").write_text(CASES, encoding="utf-8")
    return tmp_path


def test_the_adapter_has_at_most_50_lines_of_code():
    lines = [line for line in ADAPTER.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 130


def test_the_contract_suite_passes_as_the_guide_runs_it(package):
    (package / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme.py"],
        cwd=package,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 20


def test_the_entry_point_publishes_the_plug_in(package, monkeypatch):
    monkeypatch.syspath_prepend(str(package))
    (name, value), *others = tomllib.loads(ENTRY_POINT)["project"]["entry-points"][ENTRY_POINT_GROUP].items()
    info = package / "acme_gateway-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-gateway\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{name} = {value}\n")
    importlib.invalidate_caches()
    try:
        plugin = Registry().find("acme")
    finally:
        sys.modules.pop("acme_gateway", None)
    assert (plugin.name, plugin.key_variables, others) == ("acme", ("ACME_API_KEY",), [])


def test_what_the_guide_says_to_send_is_understood():
    ask = read_chat(block("json", '"request": {"model": "acme-1"').encode())
    assert (ask.model, ask.request.stream) == ("acme-1", True)


def test_every_other_example_is_well_formed():
    for kind, text in BLOCKS:
        if kind == "json":
            msgspec.json.decode(text.encode())
