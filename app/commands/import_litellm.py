"""`llm-gateway import litellm`: a `gateway.yaml` for the file of a LiteLLM proxy.

Law: nothing is lost in silence. What was written is read again as `check` would, with every variable taken as set.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from app.commands.failure import CommandFailed
from app.commands.litellm.conversion import convert
from app.commands.sources import DEFAULT_FILE, Sources
from app.settings import SettingsError
from providers.registry import Registry

_VARIABLE = re.compile(r"\benv:([A-Za-z_][A-Za-z0-9_]*)")
_STANDS_FOR_A_SECRET = "x" * 32
_STATE = re.compile(r"^state: '?env:(\w+)", re.MULTILINE)
_SOME_KEY = "SOME_KEY"
_SOME_REDIS = "redis://127.0.0.1:6379/0"
_KEY_FILE = re.compile(r"\bcredentials: '?(env|file):[^',}]*'?")
"""The key file of an account, which is on the machine that the gateway will run on, and is read by `check`."""


class Imported(NamedTuple):
    """Our file, the lines of the report, and whether something is not carried over."""

    text: str
    report: list[str]
    has_losses: bool


def run(path: Path) -> Imported:
    """Return the file for that of a LiteLLM proxy; raises `CommandFailed` if it cannot be read."""
    registry = Registry()
    converted = convert(path, catalog=registry.catalog, environ=os.environ)
    lines = [*converted.report.lines()]
    variables = sorted(set(_VARIABLE.findall(_without_comments(converted.text))))
    if variables:
        lines += ["Variables to set:", f"  {', '.join(variables)}"]
    faults = _faults(converted.text, registry, variables=variables)
    if faults:
        lines += ["`llm-gateway check` finds faults:", *(f"  {fault}" for fault in faults)]
    return Imported(converted.text, lines, bool(converted.report.lost or faults))


def write(imported: Imported, output: Path | None, *, replaces: bool) -> None:
    """Write the file, `gateway.yaml` unless it is named; raises `CommandFailed` if one is there and is not replaced."""
    output = output or DEFAULT_FILE
    try:
        with output.open("w" if replaces else "x", encoding="utf-8") as file:
            file.write(imported.text)
    except FileExistsError:
        raise CommandFailed(f"the file {output} exists; --force replaces it") from None
    except OSError as error:
        raise CommandFailed(f"the file {output} cannot be written: {error.strerror}") from None


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def _faults(text: str, registry: Registry, *, variables: list[str]) -> list[str]:
    """Return the errors that `check` would find where every variable is set."""
    environ = dict.fromkeys([*variables, _SOME_KEY], _STANDS_FOR_A_SECRET)
    environ |= dict.fromkeys(_STATE.findall(text), _SOME_REDIS)
    text = _KEY_FILE.sub(f"api_key: 'env:{_SOME_KEY}'", text)
    sources = Sources(path=None, environ=environ, registry=registry)
    try:
        sources.read(text.encode())
    except SettingsError as error:
        return [str(fault) for fault in error.faults if fault.severity == "error"]
    return []
