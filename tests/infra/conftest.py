"""The container's two files, read once."""

from typing import Any

import pytest
import yaml
from shipped import ROOT


@pytest.fixture(scope="session")
def containerfile() -> str:
    """The Containerfile, with continued lines joined."""
    return (ROOT / "Containerfile").read_text().replace("\\\n", "")


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """`compose.yaml`."""
    return yaml.safe_load((ROOT / "compose.yaml").read_text())
