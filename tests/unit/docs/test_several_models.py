"""The README's strategy and scorer are run as they stand, and its ensemble and its request are read."""

import importlib
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from app.fanout.extensions import SCORERS, STRATEGIES, Extensions
from app.fanout.moves import Fail, Give, Wait
from app.fanout.spec import read_fanout, spec_of
from app.fanout.states import LegState
from app.fanout.strategies import strategy_of
from app.settings.policy import EnsembleSettings
from providers.types import Choice, Completion, TextPart

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("### Several models, one answer")[2].partition("\n### ")[0]
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE))


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """The package of the README, installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "acme_fanout.py").write_text(BLOCKS["python"], encoding="utf-8")
    info = tmp_path / "acme_fanout-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme_fanout\nVersion: 1.0\n", encoding="utf-8")
    groups = tomllib.loads(BLOCKS["toml"])["project"]["entry-points"]
    lines = [line for group, points in groups.items() for line in (f"[{group}]", *map(" = ".join, points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    importlib.invalidate_caches()
    yield Extensions()
    sys.modules.pop("acme_fanout", None)


def done(index, text):
    choice = Choice(index=0, content=[TextPart(text=text)], finish_reason="stop")
    completion = Completion(id="c", model="m", created=0, choices=[choice])
    return LegState(index=index, model="m", status="done", completion=completion)


def test_the_strategy_decides(acme):
    spec = read_fanout({"strategy": "shortest", "models": ["a", "b"]}, extensions=acme)
    strategy = strategy_of(spec, patience_ns=(), extensions=acme)
    waiting = [LegState(index=at, model="m") for at in (0, 1)]
    assert strategy.next(waiting, now_ns=0, is_overdue=False) == Wait(start=(0, 1))
    running = LegState(index=1, model="m", status="running")
    assert strategy.next([done(0, "long words"), running], now_ns=0, is_overdue=False) == Wait()
    assert strategy.next([done(0, "long words"), running], now_ns=0, is_overdue=True) == Give(index=0)
    assert strategy.next([done(0, "long words"), done(1, "short")], now_ns=0, is_overdue=False) == Give(index=1)
    failed = [LegState(index=at, model="m", status="failed", error="x") for at in (0, 1)]
    assert isinstance(strategy.next(failed, now_ns=0, is_overdue=False), Fail)


def test_the_scorer_scores(acme):
    assert acme.names(STRATEGIES) == ["shortest"]
    assert acme.load(SCORERS, "brief")("why?", ["long words", "short"]) == [-10, -5]


def test_the_ensemble_is_one():
    for name, fields in yaml.safe_load(BLOCKS["yaml"])["ensembles"].items():
        members = tuple(fields.pop("members"))
        assert spec_of(EnsembleSettings(members=members, **fields), label=name).strategy == "best_of"


def test_the_request_is_one():
    body = json.loads(re.search(r"-d '(.*)'", BLOCKS["sh"], re.DOTALL)[1])
    assert read_fanout(body["fanout"]).quorum == 2


def test_every_strategy_has_its_line():
    named = re.findall(r"^\| `(\w+)` \|", SECTION, re.MULTILINE)
    assert set(named) == {
        "race", "hedge", "first_valid", "quorum", "best_of", "mixture", "cascade", "compare",
    }  # fmt: skip
