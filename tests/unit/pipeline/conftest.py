"""The pipeline under test; its parts are in `scripted_pipeline`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scripted_pipeline import Pipeline


@pytest.fixture
def pipeline():
    return Pipeline()
