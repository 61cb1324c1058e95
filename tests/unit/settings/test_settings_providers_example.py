"""The example with a provider of every adapter is right, and leaves none out."""

import re
from pathlib import Path

import pytest
import yaml

from app.commands import check
from providers.catalog import load_catalog

EXAMPLE = Path(__file__).parents[3] / "infra" / "config" / "gateway.providers.yaml"
ACCOUNT = '{"type": "service_account", "client_email": "a@b.c", "private_key": "x", "token_uri": "https://x.example/t"}'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = EXAMPLE.read_text(encoding="utf-8")
    for name in re.findall(r"env:(\w+)", text):
        monkeypatch.setenv(name, "a-secret-of-thirty-two-characters-or-more")
    (tmp_path / "account.json").write_text(ACCOUNT)
    made = tmp_path / "gateway.yaml"
    made.write_text(text.replace("/etc/gateway/service-account.json", str(tmp_path / "account.json")))
    return made


def test_it_has_no_error(file: Path):
    lines, is_usable = check.run(file)
    assert is_usable
    assert not [line for line in lines if "error:" in line]


def test_every_wire_is_there():
    providers = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["providers"]
    adapters = {settings.get("adapter", name) for name, settings in providers.items()}
    catalog = load_catalog().vendors
    assert {catalog[adapter].wire for adapter in adapters} == {row.wire for row in catalog.values()}
