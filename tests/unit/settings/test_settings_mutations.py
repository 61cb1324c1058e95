"""No key of the file can be misspelt unnoticed (field.md C20): every key of the full example is, in turn."""

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec import inspect

from app.settings import SettingsError
from app.settings.document import Node, parse
from app.settings.model import Settings
from app.settings.reading import bare, file_fields, struct_info

FULL = (Path(__file__).parents[3] / "infra" / "config" / "gateway.full.yaml").read_text()
ENV = {
    "DATABASE_URL": "postgresql+asyncpg://u:canary@db/g",
    "OPENAI_API_KEY_2": "canary-2",
    "AZURE_OPENAI_API_KEY": "canary-3",
    "PROXY_KEY": "canary-4",
}


class Key(NamedTuple):
    """A key of a struct as written in the example; `siblings` are the keys that its place allows."""

    struct: str
    name: str
    line: int
    siblings: frozenset[str]

    def rewritten(self, name: str) -> str:
        """Return the example with this key misspelt."""
        lines = FULL.splitlines()
        lines[self.line - 1], count = re.subn(rf"(?<![\w-]){self.name}:", f"{name}:", lines[self.line - 1], count=1)
        assert count == 1
        return "\n".join(lines)


def written_keys(info: inspect.Type, node: Node) -> Iterator[Key]:
    inner = bare(info)
    if isinstance(inner, inspect.StructType) and isinstance(node.value, dict):
        yield from _struct_keys(inner, node)
    elif isinstance(inner, inspect.DictType):
        for child in node.value.values():
            yield from written_keys(inner.value_type, child)
    elif isinstance(inner, inspect.VarTupleType):
        for child in node.value:
            yield from written_keys(inner.item_type, child)


def _struct_keys(info: inspect.StructType, node: Node) -> Iterator[Key]:
    fields = file_fields(info)
    for key, child in node.value.items():
        yield Key(info.cls.__name__, key, child.line, frozenset(fields))
        yield from written_keys(fields[key].type, child)


def every_key(info: inspect.Type) -> Iterator[tuple[str, str]]:
    inner = bare(info)
    fields = file_fields(inner) if isinstance(inner, inspect.StructType) else {}
    for key, field in fields.items():
        yield inner.cls.__name__, key
        yield from every_key(field.type)
    for part in ("value_type", "item_type"):
        if hasattr(inner, part):
            yield from every_key(getattr(inner, part))


KEYS = [*dict.fromkeys(written_keys(struct_info(Settings), parse(FULL, name="full")[0]))]
FIRSTS = [*{(key.struct, key.name): key for key in reversed(KEYS)}.values()]

MISSPELLINGS: dict[str, Callable[[str], str]] = {
    "one letter more": lambda name: f"{name}x",
    "one letter less": lambda name: name[:-1],
    "doubled": lambda name: name[:1] + name,
    "swapped": lambda name: name[1] + name[0] + name[2:] if name[0] != name[1] else f"{name}_",
    "capital": str.capitalize,
    "hyphenated": lambda name: name.replace("_", "-") if "_" in name else f"-{name}",
    "camel": lambda name: re.sub(r"_(\w)", lambda match: match[1].upper(), name) if "_" in name else f"{name}S",
}


def misses(key: Key, misspelt: str, load_text) -> bool:
    """Load the example with one key misspelt; tell whether the right key was not suggested at the right line."""
    with pytest.raises(SettingsError) as caught:
        load_text(key.rewritten(misspelt), ENV)
    suggestions = [fault.suggestion or "" for fault in caught.value.faults if fault.line == key.line]
    return not any(f"`{key.name}`" in suggestion for suggestion in suggestions)


def test_the_full_example_holds_every_key_there_is():
    assert {*every_key(struct_info(Settings))} - {(key.struct, key.name) for key in KEYS} == set()


@pytest.mark.parametrize("key", FIRSTS, ids=lambda key: f"{key.struct}.{key.name}")
def test_a_misspelt_key_stops_the_start_with_the_right_one_suggested(key, load_text):
    misspelt = MISSPELLINGS["one letter more"](key.name)
    assert not misses(key, misspelt, load_text)


@pytest.mark.long
@pytest.mark.parametrize("how", MISSPELLINGS)
def test_every_key_misspelt_in_every_way_is_noticed(how, load_text):
    missed = [
        (key.struct, key.name, misspelt)
        for key in KEYS
        if (misspelt := MISSPELLINGS[how](key.name)) not in key.siblings and misses(key, misspelt, load_text)
    ]
    assert missed == []


def broken(rng: random.Random) -> str:
    """Return the example with one to three spans cut, doubled or overwritten."""
    text = FULL
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(text))
        end = min(len(text), start + rng.randint(1, 12))
        text = (
            text[:start]
            + rng.choice(["", text[start:end] * 2, "{", "null", "[", ": ", '"', "-1", "&a", "*a"])
            + text[end:]
        )
    return text


def said_of(seed: int, load_text) -> str:
    """Return what is said of a damaged example; any other error than `SettingsError` passes through."""
    try:
        load_text(broken(random.Random(seed)), ENV)
    except SettingsError as error:
        return str(error)
    return "loaded"


def test_a_damaged_file_gives_faults_never_a_traceback(load_text):
    for seed in range(30):
        said = said_of(seed, load_text)
        assert said
        assert "canary" not in said


@pytest.mark.long
def test_a_file_damaged_in_any_of_many_ways_gives_faults_never_a_traceback(load_text):
    for seed in range(5000):
        said = said_of(seed, load_text)
        assert said
        assert "canary" not in said
