"""Anthropic's wire as a provider's: the contract of every adapter, over recorded cases."""

from pathlib import Path

from providers.anthropic.plugin import anthropic_plugin
from providers.catalog import load_catalog
from providers.testing.cases import load_cases
from providers.testing.contract import HttpAdapterContract

CASES = Path(__file__).parent / "cases"


class TestAnthropic(HttpAdapterContract):
    """What every adapter must do."""

    plugin = anthropic_plugin("anthropic", load_catalog().vendors["anthropic"])
    cases = load_cases(CASES / "answers.json", CASES / "streams.json")
    refuses = frozenset({"embed"})
