"""The documents hold together: links lead somewhere, runbooks answer alerts, what they name exists, examples run."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from app.cli import cli
from app.fanout.extensions import SCORERS, STRATEGIES, Extensions
from app.fanout.moves import Fail, Give, Wait
from app.fanout.spec import read_fanout
from app.fanout.states import LegState
from app.fanout.strategies import strategy_of
from app.observability import metrics
from app.settings.policy import EnsembleSettings
from providers.types import Choice, Completion, TextPart

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "infra/docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
STRATEGY = (DOCS / "write-a-strategy.md").read_text(encoding="utf-8")
RUNBOOKS = OPERATIONS.partition("\n## Runbooks\n")[2]
NAMES = re.findall(r"^### (.+)$", RUNBOOKS, re.MULTILINE)


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """Return the anchors of a page's headings, as the sites that show Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


def test_every_runbook_says_what_it_means_where_to_look_and_what_to_do():
    assert len(NAMES) == len(set(NAMES)) > 20
    for name in NAMES:
        assert re.fullmatch(r"gateway(-[a-z]+)+", name)
        section = RUNBOOKS.partition(f"### {name}\n")[2].partition("\n### ")[0]
        assert re.findall(r"^- \*\*(.+?)\.?\*\*", section, re.MULTILINE) == ["What it means", "Look at", "Do"]


def test_every_alert_has_its_runbook():
    rules = ROOT / "infra/monitoring"
    for path in sorted(rules.rglob("*.yml")) if rules.exists() else ():
        for alert, url in re.findall(r"alert: (\w+).*?runbook_url: \"?(\S+?)\"?\n", path.read_text(), re.DOTALL):
            kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower()
            assert url.partition("#")[2] == kebab
            assert kebab in NAMES


def test_every_metric_that_a_runbook_names_is_measured():
    known = {value.name for value in vars(metrics).values() if isinstance(value, metrics.Family)}
    named = set(re.findall(r"\bgateway_[a-z_]+", OPERATIONS))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= known


def test_every_command_has_its_line_in_the_readme():
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Commands\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `llm-gateway ([a-z-]+)", table, re.MULTILINE))
    assert told == set(cli.commands)


def test_the_changelog_tells_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    told = re.findall(r"^## \[(.+?)\]", (DOCS / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert version in told[:2]


def test_every_floor_of_the_code_is_in_the_architecture():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = re.findall(r"app\.\w+", " ".join(contract["layers"]))
    rows = [row.partition("|")[0] for row in re.findall(r"^\| (`.+)$", ARCHITECTURE, re.MULTILINE)]
    told = re.findall(r"`(app\.\w+)`", " ".join(rows))
    assert sorted(told) == sorted(floors)
    heights = {name: height for height, row in enumerate(rows) for name in re.findall(r"`(app\.\w+)`", row)}
    assert [heights[name] for name in floors] == sorted(heights[name] for name in floors)


def test_the_picture_has_the_ring_of_the_code_in_its_order():
    picture = re.search(r"```mermaid\n(.*?)```", ARCHITECTURE, re.DOTALL)[1]
    layers = re.findall(r"(\w+)\[\"\1<br/>", picture)
    assert layers == ["meter", "admit", "cached", "fanned", "routed", "dispatch"]
    for layer in layers:
        importlib.import_module(f"app.pipeline.{layer}")
    assert picture.count("[") == picture.count("]")
    assert picture.count("subgraph ") == len(re.findall(r"^\s*end$", picture, re.MULTILINE))


BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", STRATEGY, re.DOTALL | re.MULTILINE))
SOURCES = re.findall(r"^```python\n(.*?)^```$", STRATEGY, re.DOTALL | re.MULTILINE)


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """The package of the guide, installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "acme_strategies.py").write_text("\n".join(SOURCES), encoding="utf-8")
    info = tmp_path / "acme_strategies-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme_strategies\nVersion: 1.0\n", encoding="utf-8")
    groups = tomllib.loads(BLOCKS["toml"])["project"]["entry-points"]
    lines = [line for group, points in groups.items() for line in (f"[{group}]", *map(" = ".join, points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    importlib.invalidate_caches()
    yield Extensions()
    sys.modules.pop("acme_strategies", None)


def done(index, text):
    choice = Choice(index=0, content=[TextPart(text=text)], finish_reason="stop")
    completion = Completion(id="c", model="m", created=0, choices=[choice])
    return LegState(index=index, model="m", status="done", completion=completion)


def test_the_strategy_of_the_guide_decides(acme):
    spec = read_fanout({"strategy": "longest", "models": ["a", "b", "c"]}, extensions=acme)
    strategy = strategy_of(spec, patience_ns=(), extensions=acme)
    waiting = [LegState(index=at, model="m") for at in range(3)]
    assert strategy.next(waiting, now_ns=0, is_overdue=False) == Wait(start=(0, 1, 2))
    running = LegState(index=2, model="m", status="running")
    one = [done(0, "short"), LegState(index=1, model="m", status="running"), running]
    assert strategy.next(one, now_ns=0, is_overdue=False) == Wait()
    assert strategy.next(one, now_ns=0, is_overdue=True) == Give(index=0)
    assert strategy.next([done(0, "short"), done(1, "rather long"), running], now_ns=0, is_overdue=False) == Give(
        index=1
    )
    failed = [LegState(index=at, model="m", status="failed", error="x") for at in range(3)]
    assert isinstance(strategy.next(failed, now_ns=0, is_overdue=False), Fail)
    assert acme.names(STRATEGIES) == ["longest"]


def test_the_scorer_of_the_guide_scores(acme):
    assert acme.load(SCORERS, "on_topic")("Why is the sky blue", ["a blue sky", "nothing"]) == [2, 0]


def test_the_ensembles_of_the_guide_are_such(acme):
    for fields in yaml.safe_load(BLOCKS["yaml"])["ensembles"].values():
        members = tuple(fields.pop("members"))
        assert EnsembleSettings(members=members, **fields).members == members
