"""The reference for people: current, and complete to the last key."""

import re
import subprocess
import sys
from pathlib import Path

from app.settings import json_schema
from app.settings.environment import NO_SETTINGS
from providers.registry import Registry

ROOT = Path(__file__).parents[3]
SHIPPED = (ROOT / "infra/docs/configuration.md").read_text(encoding="utf-8")


def printed():
    command = [sys.executable, "-m", "app.settings", "reference"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_the_shipped_reference_is_current():
    assert printed() == SHIPPED, "run `python -m app.settings reference > infra/docs/configuration.md`"


def keys_under(heading):
    section = SHIPPED.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_every_key_has_a_row_with_a_meaning():
    schema = json_schema()
    assert keys_under("The whole file") == list(schema["properties"])
    places = {"GatewayPlane": "`gateway`", "ModelSettings": "`models.NAME`", "LimitRule": "`limits.rules[]`"}
    for struct, place in places.items():
        assert keys_under(place) == list(schema["$defs"][struct]["properties"])
    rows = re.findall(r"^\| `\w+` \| (.+) \| (.*) \| (.+) \|$", SHIPPED, re.MULTILINE)
    written = sum(len(each["properties"]) for each in (schema, *schema["$defs"].values()))
    assert len(rows) >= written
    assert [row for row in rows if not row[2].endswith(".")] == []


def test_no_way_of_writing_is_left_unsaid():
    forms = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", SHIPPED, re.MULTILINE)
    assert {key for key, form in forms if form == "anything"} <= {"check"}


def test_every_variable_that_is_no_key_is_there():
    assert set(keys_under("Variables that are no keys")) == NO_SETTINGS


def test_every_adapter_with_options_of_its_own_is_there():
    options = SHIPPED.partition("## Options of adapters")[2]
    for adapter in ("bedrock", "vertex", "ollama", "tgi", "native", "anthropic", "azure", "groq"):
        assert f"`{adapter}`" in options
        assert Registry().find(adapter).options.__struct_fields__
