"""Lua scripts, read from their own files. Law: a script is known by its SHA-1, so its source travels once."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script and the SHA-1 by which Redis knows it."""

    name: str
    source: bytes
    sha: str


def load_script(name: str) -> Script:
    """Read `<name>.lua` from this folder."""
    source = (files(__package__) / f"{name}.lua").read_bytes()
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest())
