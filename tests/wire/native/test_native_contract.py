"""The native wire under the contract of every adapter that calls its provider over HTTP."""

from pathlib import Path

from providers.registry import Registry
from providers.testing.cases import load_cases
from providers.testing.contract import HttpAdapterContract

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


class TestNative(HttpAdapterContract):
    plugin = Registry().find("native")
    cases = load_cases(*CASES, stream_type="application/x-ndjson")
