"""The committed OpenAPI documents are those that the planes serve."""

from pathlib import Path

import msgspec
import pytest

from app.api.docs.schemas.references import schemas_of
from app.commands.openapi import run

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("plane", ["gateway", "admin"])
def test_the_committed_document_is_the_served_one(plane: str):
    committed = (ROOT / f"infra/openapi/{plane}.json").read_text()
    served = run(plane)
    assert committed.rstrip("\n") == served.rstrip("\n"), (
        f"write it anew: llm-gateway openapi --plane {plane} > infra/openapi/{plane}.json"
    )


def test_every_python_describes_alike():
    """Up to 3.12 a docstring keeps its indentation, from 3.13 on it has none."""

    class Indented(msgspec.Struct):
        __doc__ = "One line.\n\n    And another."

    class Not(msgspec.Struct):
        __doc__ = "One line.\n\nAnd another."

    found = schemas_of([Indented, Not])
    assert found["Indented"]["description"] == found["Not"]["description"] == "One line.\n\nAnd another."
