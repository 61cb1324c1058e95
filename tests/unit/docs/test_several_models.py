"""What the README says of several models is so: its ensemble and its request are read, its strategies are all."""

import json
import re
from pathlib import Path

import yaml

from app.fanout.spec import read_fanout, spec_of
from app.settings.policy import EnsembleSettings

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("### Several models, one answer")[2].partition("\n### ")[0]
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE))


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
