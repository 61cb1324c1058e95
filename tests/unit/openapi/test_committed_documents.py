"""The committed OpenAPI documents are those that the planes serve."""

from pathlib import Path

import pytest

from app.commands.openapi import run

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("plane", ["gateway", "admin"])
def test_the_committed_document_is_the_served_one(plane: str):
    committed = (ROOT / f"infra/openapi/{plane}.json").read_text()
    served = run(plane)
    assert committed.rstrip("\n") == served.rstrip("\n"), (
        f"write it anew: llm-gateway openapi --plane {plane} > infra/openapi/{plane}.json"
    )
