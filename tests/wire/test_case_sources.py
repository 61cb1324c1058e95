"""No recorded case without its source: a vendor's page and the month it was read, or the type of an SDK."""

import json
from pathlib import Path

import pytest

from providers.testing.cases import SOURCE

FILES = sorted(Path(__file__).parent.glob("*/cases/*.json"))


def sources(document: object, inherited: str | None = None) -> list[str | None]:
    """Return the source of every case in a file; a file may name one for all of its cases."""
    found: list[str | None] = []
    if isinstance(document, dict):
        given = document.get("source", inherited)
        if "name" in document and "cases" not in document:
            return [given]
        for value in document.values():
            found += sources(value, given)
    elif isinstance(document, list):
        for item in document:
            found += sources(item, inherited)
    return found


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parents[1].name}/{path.name}" for path in FILES])
def test_every_case_names_its_source(path: Path):
    found = sources(json.loads(path.read_bytes()))
    assert found
    assert [source for source in found if source is None or not SOURCE.search(source)] == []


@pytest.mark.parametrize("source", [None, "", "openai", "https://example.com", "a page, read 2026-11"])
def test_a_case_without_one_is_caught(source: str | None):
    found = sources({"cases": [{"name": "a", **({} if source is None else {"source": source})}]})
    assert [one for one in found if one is None or not SOURCE.search(one)]
