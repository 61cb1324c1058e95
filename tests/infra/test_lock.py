"""The lock files have all that is asked for, nothing without a hash, and what they leave out is not missed."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from shipped import ROOT

LEFT_OUT = {"faker", "polyfactory"}
WITHOUT = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LEFT_OUT}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.argv = ["llm-gateway", "openapi", "--plane", sys.argv[1]]
from app.cli import main
main()
"""


def locked(name):
    """Return the pinned requirements and the number of hashes of each."""
    entries = re.split(r"\n(?=\S)", (ROOT / "infra/lock" / name).read_text().strip())
    pins = {}
    for entry in entries:
        requirement = Requirement(entry.partition("\\\n")[0].strip())
        pins[canonicalize_name(requirement.name)] = (requirement, entry.count("--hash=sha256:"))
    return pins


def version_of(requirement):
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("name", ["requirements.txt", "build.txt"])
def test_everything_is_pinned_with_hashes_and_names_no_place(name):
    pins = locked(name)
    assert len(pins) > 3
    assert all(count > 0 for _, count in pins.values())
    assert all(version_of(requirement) for requirement, _ in pins.values())
    assert "://" not in (ROOT / "infra/lock" / name).read_text()


def asked_of_the_image():
    """What the image is to have: the dependencies, and the extra that sends traces."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(each) for each in (*project["dependencies"], *project["optional-dependencies"]["otel"])]


def needs_of(pin, extras):
    """Return what a pinned distribution asks for, by its own word if that very version is installed, else nothing."""
    try:
        found = metadata.distribution(pin.name)
    except metadata.PackageNotFoundError:
        return []
    if found.version != version_of(pin):
        return []
    needs = [Requirement(each) for each in found.requires or []]
    return [
        need for need in needs if need.marker is None or any(need.marker.evaluate({"extra": each}) for each in extras)
    ]


def test_the_lock_has_what_the_package_asks_for():
    pins = locked("requirements.txt")
    for requirement in asked_of_the_image():
        pin, _ = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version_of(pin)), f"{requirement} is not {pin}"


def test_the_lock_has_what_that_asks_for_in_turn():
    pins = locked("requirements.txt")
    extras = {canonicalize_name(each.name): each.extras for each in asked_of_the_image()}
    needs = {name: needs_of(pin, extras.get(name) or {""}) for name, (pin, _) in pins.items()}
    missing = {
        f"{name} asks for {need.name}"
        for name, given in needs.items()
        for need in given
        if canonicalize_name(need.name) not in pins.keys() | LEFT_OUT
    }
    assert missing == set()


def test_the_lock_of_the_build_has_what_the_build_asks_for():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert asked == (ROOT / "infra/lock/build.in").read_text().split()
    pins = locked("build.txt")
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(version_of(pins[canonicalize_name(requirement.name)][0]))


def test_what_the_lock_leaves_out_is_what_its_document_says():
    assert not LEFT_OUT & locked("requirements.txt").keys()
    command = (ROOT / "infra/lock/README.md").read_text()
    assert set(re.findall(r"--no-emit-package (\S+)", command)) == LEFT_OUT


@pytest.mark.parametrize("plane", ["gateway", "admin"])
def test_what_the_lock_leaves_out_is_not_missed(plane):
    done = subprocess.run([sys.executable, "-c", WITHOUT, plane], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "infra/openapi" / f"{plane}.json").read_text()
