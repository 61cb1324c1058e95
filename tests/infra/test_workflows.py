"""The workflows use only what they name by commit, with only the rights that they need."""

import re

import pytest
import yaml
from shipped import ROOT

FILES = sorted((ROOT / ".github/workflows").glob("*.yaml"))
PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def jobs():
    return [(path.stem, name, job) for path in FILES for name, job in yaml.safe_load(path.read_text())["jobs"].items()]


def test_there_are_three():
    assert [path.stem for path in FILES] == ["ci", "image", "release"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_whole_commit_and_says_its_version(path):
    uses = re.findall(r"uses: (.*)$", path.read_text(), flags=re.MULTILINE)
    assert uses
    assert [each for each in uses if not PINNED.match(each)] == []


def test_an_action_has_one_commit_everywhere():
    uses = {use for path in FILES for use in re.findall(r"uses: (.*)$", path.read_text(), flags=re.MULTILINE)}
    assert len({use.partition("@")[0] for use in uses}) == len(uses)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_allowed_that_a_job_does_not_ask_for(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    assert "concurrency" in workflow


@pytest.mark.parametrize(("stem", "name", "job"), jobs())
def test_rights_are_the_least(stem, name, job):
    more = {("image", "publish"): {"packages", "id-token"}, ("release", "publish"): {"id-token"}}
    writes = {right for right, level in job["permissions"].items() if level == "write"}
    assert writes == more.get((stem, name), set())
    assert job["timeout-minutes"] <= 90
    assert all(step.get("with", {}).get("persist-credentials") is False for step in checkouts(job))


def checkouts(job):
    return [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]


def test_ci_is_the_same_command_as_on_a_laptop():
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yaml").read_text())["jobs"]["run"]
    programs, command = [step["run"] for step in job["steps"] if "run" in step]
    assert command == ".ci/run"
    for program in ("promtool", "google-chrome", "kubectl", "docker compose", "node"):
        assert re.search(rf"\b{program} (--)?version\b", programs), f"{program} may be missing unnoticed"
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python"] == classifiers


def test_what_publishes_the_package_runs_nothing_of_ours():
    job = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())["jobs"]["publish"]
    assert not [step for step in job["steps"] if "run" in step]
    assert not checkouts(job)


def test_the_image_is_published_with_its_contents_its_origin_and_a_signature():
    (job,) = yaml.safe_load((ROOT / ".github/workflows/image.yaml").read_text())["jobs"].values()
    commands = "\n".join(step["run"] for step in job["steps"] if "run" in step)
    assert "--sbom=true --provenance=mode=max" in commands
    assert re.search(r"cosign sign --yes .*@\$\{digest\}", commands)
    arguments = re.findall(r"--build-arg (\w+)=", commands)
    declared = re.findall(r"^ARG (\w+)=", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)
    assert set(arguments) <= set(declared)


def test_no_step_puts_what_others_write_into_its_script():
    for _, _, job in jobs():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")
