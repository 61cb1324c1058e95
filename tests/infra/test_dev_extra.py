"""What the tests import is named by the package or its extra `dev`, not brought along by luck."""

import ast
import re
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from shipped import ROOT

OWN_ENVIRONMENTS = ROOT / "tests/clients/python"
"""Drivers that run in environments of their own, made from tests/clients/requirements."""
FILES = [path for path in sorted((ROOT / "tests").rglob("*.py")) if OWN_ENVIRONMENTS not in path.parents]
BROUGHT = metadata.packages_distributions()
OURS = {
    *("app", "providers", "migrations"),
    *(path.stem for folder in ("tests", "infra") for path in (ROOT / folder).rglob("*")),
}


def imports_of(source):
    """Return the first names of the modules that a source imports, or asks for by `importorskip`."""
    found = set(re.findall(r'importorskip\("(\w+)', source))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def strangers(source):
    """Return the modules of a source that are neither Python's nor ours; a folder of ours may be called as theirs."""
    found = imports_of(source) - sys.stdlib_module_names
    return {name for name in found if name not in OURS or name in BROUGHT.keys() - {"app", "providers", "migrations"}}


@pytest.fixture(scope="module")
def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = (*project["dependencies"], *project["optional-dependencies"]["dev"])
    return {canonicalize_name(Requirement(each).name) for each in asked}


def test_every_module_that_a_test_imports_is_declared(declared):
    wanted = {name: path for path in FILES for name in strangers(path.read_text())}
    assert {"httpx", "openai", "playwright", "packaging"} <= wanted.keys()
    missing = {
        f"{name} of {path.relative_to(ROOT)}"
        for name, path in wanted.items()
        if not declared & {canonicalize_name(each) for each in BROUGHT.get(name, [name])}
    }
    assert missing == set()


def test_the_reader_of_imports_finds_them():
    source = "import os, acme.more\nfrom acme_two.deep import it\nfrom app import cli\nfrom openai import OpenAI\n"
    assert strangers(source) == {"acme", "acme_two", "openai"}


def test_the_extra_of_traces_is_in_the_extra_of_tests():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras["otel"]) <= set(extras["dev"])
