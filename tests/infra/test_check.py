"""The one command fails where a file is wrong, and does not call checked what it could not check."""

import shutil

import pytest
from shipped import ROOT, script


@pytest.fixture
def check():
    return script("infra/check.py")


@pytest.fixture
def copy(check, tmp_path, monkeypatch):
    """A repository of the files that are checked, for a test to break.

    Without the long test of alerts, which takes promtool eight seconds: tests/unit/monitoring runs that.
    """
    for name in ("infra/compose", "infra/config", "infra/kubernetes", "infra/monitoring", ".github"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("Containerfile", "compose.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "infra/monitoring/tests/alerts.yml").unlink()
    monkeypatch.setattr(check, "ROOT", tmp_path)
    return tmp_path


def replaced(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_every_file_of_this_repository_passes(check, copy):
    found = check.outcomes()
    assert [outcome for outcome in found if outcome.verdict == "failed"] == []
    assert sum(outcome.verdict == "ok" for outcome in found) > 0


BROKEN = [
    (
        "kubernetes",
        "infra/kubernetes/overlays/scaled/migrate.yaml",
        "backoffLimit: 6",
        "backofLimit: 6",
        "kubernetes-validate",
    ),
    ("kubernetes", "infra/kubernetes/base/services.yaml", "port: 3020", 'port: "3020"', "kubernetes-validate"),
    ("kubernetes", "infra/kubernetes/base/kustomization.yaml", "network.yaml", "networks.yaml", "kubernetes-validate"),
    ("compose", "compose.yaml", "read_only: true", "readonly: true", "check-jsonschema"),
    ("workflows", ".github/workflows/ci.yaml", "runs-on: ubuntu-24.04", "run-on: ubuntu-24.04", "check-jsonschema"),
    ("workflows", ".github/workflows/ci.yaml", "@08c6903cd8c0fde910a37f88322edcfb5dd907a8", "@v5", "zizmor"),
    ("container", "Containerfile", "WORKDIR /data", "WORKDIR data", "hadolint"),
    ("settings", "infra/compose/gateway.yaml", "port: 3020", "port: 0", "check-jsonschema"),
    ("prometheus", "infra/compose/prometheus.yml", "scrape_interval", "scrape_intervall", "promtool"),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken[1]}: {broken[3]}")
def test_what_is_wrong_fails(check, copy, broken):
    check_name, path, old, new, needs = broken
    if check.tool(needs) is None:
        pytest.skip(f"{needs} is not found")
    if check_name == "kubernetes" and check.tool("kubectl") is None:
        pytest.skip("kubectl is not found")
    replaced(copy / path, old, new)
    failed = [outcome for outcome in getattr(check, check_name)() if outcome.verdict == "failed"]
    assert failed
    assert all(outcome.said for outcome in failed)


def test_a_dashboard_without_panels_fails(check, copy):
    (copy / "infra/monitoring/grafana/empty.json").write_text("{}")
    assert "failed" in {outcome.verdict for outcome in check.grafana()}


def test_what_cannot_be_checked_is_said_and_is_no_success(check, monkeypatch, capsys):
    monkeypatch.setattr(check, "tool", lambda _name: None)
    assert check.main() == 0
    said = capsys.readouterr().out
    for name in ("kubectl", "hadolint", "zizmor", "promtool", "check-jsonschema", "docker compose"):
        assert name in said
    assert all(line.startswith("not checked") or "Grafana" in line for line in said.splitlines()[:-1])


def test_a_failure_is_the_exit_code(check, monkeypatch, capsys):
    monkeypatch.setattr(check, "CHECKS", (lambda: [check.Outcome("failed", "this", "it is wrong")],))
    assert check.main() == 1
    assert "failed       this: it is wrong" in capsys.readouterr().out
