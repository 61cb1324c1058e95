"""Every key of a file is carried over, or reported, or listed as one that needs no equal.

Law: a key leaves a trace, in what is written or in the report, so that the import of a file without it is another one.
"""

import copy
import itertools
import json
import shutil
from pathlib import Path

import pytest
import yaml

from app.commands.litellm import conversion, deployments, house
from app.commands.litellm.conversion import convert
from providers.registry import Registry

FILES = Path(__file__).parent / "files"
NAMES = sorted(path.stem for path in FILES.glob("*.yaml"))
REGISTRY = Registry()
UNNEEDED = {
    "litellm_params": deployments.PARAMS_UNNEEDED,
    "model_info": deployments.INFO_UNNEEDED,
    "litellm_settings": house.LIBRARY_UNNEEDED,
    "cache_params": house.CACHE_UNNEEDED,
    "router_settings": house.ROUTER_UNNEEDED,
    "general_settings": house.GENERAL_UNNEEDED,
    "credential_list": conversion.CREDENTIAL_UNNEEDED,
}
KNOWN = yaml.safe_load((Path(__file__).parent / "keys.yaml").read_text())
"""The keys of LiteLLM's own documents and types, by the object that they stand in."""
SCRATCH = {
    "model_list": [
        {"model_name": "chat", "litellm_params": {"model": "openai/a", "order": 1}, "model_info": {}},
        {"model_name": "chat", "litellm_params": {"model": "openai/b", "order": 1}},
    ],
    "litellm_settings": {"cache": True, "cache_params": {}},
    "router_settings": {},
    "general_settings": {},
}
PLACES = {
    "litellm_params": ("model_list", 0, "litellm_params"),
    "model_info": ("model_list", 0, "model_info"),
    "deployment": ("model_list", 0),
    "litellm_settings": ("litellm_settings",),
    "cache_params": ("litellm_settings", "cache_params"),
    "router_settings": ("router_settings",),
    "general_settings": ("general_settings",),
    "root": (),
}


@pytest.fixture
def imported(tmp_path):
    """Return a function that imports a tree: what is written, without its comments, and the report."""
    shutil.copy(FILES / "platform_models.yaml", tmp_path)  # another file includes it

    def convert_tree(tree):
        (tmp_path / "config.yaml").write_text(json.dumps(tree))
        done = convert(tmp_path / "config.yaml", catalog=REGISTRY.catalog, environ={})
        return done.text, done.report

    return convert_tree


def objects(value, path=()):
    """Yield every object of a tree by its path."""
    if isinstance(value, dict):
        yield path, value
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from objects(child, (*path, key))


def at(tree, path):
    for step in path:
        tree = tree[step]
    return tree


def written(path):
    """Return a path as the report has it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def is_within(path, whole):
    """Whether a path is one of those that are reported as a whole, or within it."""
    text = written(path)
    return any(text == each or text.startswith((f"{each}.", f"{each}[")) for each in whole)


def reported_whole(report):
    return {finding.path.partition(" (")[0] for finding in report.lost}


def needs_no_equal(path):
    """Whether a key, or what it stands in, is listed."""
    named = [step for step in path if not isinstance(step, int)]
    return any(
        key in UNNEEDED.get(place, ()) or (place == "model_info" and key.startswith(deployments.INFO_UNNEEDED_PREFIX))
        for place, key in itertools.pairwise(named)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_nobody_knows_is_reported_or_kept_wherever_it_stands(name, imported):
    tree = yaml.safe_load((FILES / f"{name}.yaml").read_text())
    whole = reported_whole(imported(tree)[1])
    silent = []
    for path, _ in objects(tree):
        changed = copy.deepcopy(tree)
        at(changed, path)["never_heard_of"] = 1
        if "never_heard_of" not in imported(changed)[0] and not is_within(path, whole):
            silent.append(written(path))
    assert [path for path in silent if not path.endswith("credential_info")] == []


@pytest.mark.parametrize("name", NAMES)
def test_without_a_key_or_with_another_value_the_import_is_another_one(name, imported):
    tree = yaml.safe_load((FILES / f"{name}.yaml").read_text())
    text, report = imported(tree)
    whole = reported_whole(report)
    leaves = [
        (*path, key)
        for path, found in objects(tree)
        for key, value in found.items()
        if value is not None and not isinstance(value, dict)
    ]
    wanted = [path for path in leaves if not needs_no_equal(path) and not is_within(path[:-1], whole)]
    assert [written(path) for path in wanted if not leaves_a_trace(tree, path, text=text, imported=imported)] == []


def leaves_a_trace(tree, path, *, text, imported):
    """Whether the import without a key differs; where that is what it says anyhow, the import of another value does."""
    *above, key = path
    changed = copy.deepcopy(tree)
    value = at(changed, above).pop(key)
    if imported(changed)[0] != text:
        return True
    for other in others_than(value):
        at(changed, above)[key] = other
        if imported(changed)[0] != text:
            return True
    return False


def others_than(value):
    """Return values of the same kind."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, (int, float)):
        return (value + 1, -1 - value)
    return (f"{value}1",) if isinstance(value, str) else ()


@pytest.mark.parametrize("place", KNOWN)
def test_a_key_of_the_documents_leaves_a_trace_whatever_it_holds(place, imported):
    text, _ = imported(SCRATCH)
    silent = []
    for key in KNOWN[place]:
        for value in (7, "words", ["one"], {"one": "two"}):
            changed = copy.deepcopy(SCRATCH)
            at(changed, PLACES[place])[key] = value
            if key not in UNNEEDED.get(place, ()) and imported(changed)[0] == text:
                silent.append((key, value))
    assert silent == []


def test_what_needs_no_equal_is_a_key_that_the_documents_know():
    unknown = {(place, key) for place, keys in UNNEEDED.items() for key in keys if place in KNOWN} - {
        (place, key) for place, keys in KNOWN.items() for key in keys
    }
    assert unknown == set()
