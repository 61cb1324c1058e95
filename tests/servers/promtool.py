"""Prometheus' own checker, where there is one: `PROMTOOL` names it, or it is on the path (Debian: `prometheus`)."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def promtool(arguments: Sequence[str | Path], *, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run it; skips the test where it is not installed."""
    program = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed; Debian's package `prometheus` has it, or PROMTOOL names it")
    return subprocess.run([program, *arguments], input=stdin, capture_output=True, check=False, timeout=280)
