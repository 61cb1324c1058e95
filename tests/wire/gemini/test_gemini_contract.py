"""The Gemini API and Vertex AI, by the suite that every adapter passes, over recorded cases."""

from pathlib import Path

from providers.registry import Registry
from providers.testing.cases import load_cases
from providers.testing.contract import HttpAdapterContract

CASES = load_cases(*sorted((Path(__file__).parent / "cases").glob("*.json")))
_FEATURES = {
    "citations",
    "choices",
    "documents",
    "extras",
    "finish",
    "images",
    "json",
    "reasoning",
    "sampling",
    "stream",
    "system",
    "text",
    "tools",
    "usage",
}


class TestGemini(HttpAdapterContract):
    plugin = Registry().find("gemini")
    cases = CASES


class TestVertex(HttpAdapterContract):
    plugin = Registry().find("vertex")
    cases = CASES
    base_url = "http://provider.invalid/v1"


def test_the_cases_show_every_feature():
    assert {case.feature for case in CASES} >= _FEATURES


def test_streams_are_short_enough_to_be_cut_everywhere():
    assert max(len(case.answer) for case in CASES if case.request.stream) < 2_048
