"""The command that judges pairs: its intervals, and that it counts hits and refusals."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[4] / "infra" / "cache" / "judge_pairs.py"


@pytest.fixture(scope="module")
def judge():
    spec = spec_from_file_location("judge_pairs", SCRIPT)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    ("hits", "pairs", "bound"),
    [(0, 100, 0.0362), (1, 100, 0.0545), (10, 100, 0.1762), (8, 1500, 0.0105), (50, 100, 0.6017)],
)
def test_the_upper_bound_is_of_clopper_and_pearson(judge, hits, pairs, bound):
    assert judge.upper_bound(hits, pairs) == pytest.approx(bound, abs=0.0001)


def test_a_sure_rate_has_no_upper_bound_but_one(judge):
    assert judge.upper_bound(3, 3) == 1.0


def test_it_counts_hits_and_refusals(judge, tmp_path, monkeypatch, capsys):
    rows = [
        {"group": "1", "kind": "paraphrase", "a": "How do I sort a list?", "b": "how can I sort a list"},
        {"group": "1", "kind": "number", "a": "Name five rivers in Asia", "b": "Name six rivers in Asia"},
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(sys, "argv", ["judge_pairs.py", str(file), "--threshold", "0.5"])
    assert judge.main() == 0
    lines = {line[:20].strip(): line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["paraphrase"][1:4] == ["1", "1", "1"]
    assert lines["number"][-1] == "number:1"
