"""`llm-gateway check`: every fault of the settings at once."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from app.commands.sources import Sources, counted, open_sources
from app.settings import Fault, Settings, SettingsError, json_schema


def run(config: Path | None) -> tuple[list[str], bool]:
    """Return the lines of the report, and whether the settings can be used."""
    sources = open_sources(config)
    try:
        settings = sources.read()
    except SettingsError as error:
        return [*map(line_of, error.faults), _verdict(sources, error.faults)], False
    return [*map(line_of, settings.warnings), _verdict(sources, settings.warnings), _summary(settings)], True


def run_as_json(config: Path | None) -> tuple[list[str], bool]:
    """Return the report as the admin API has it, without what would change, and whether the settings can be used."""
    try:
        faults, is_usable = open_sources(config).read().warnings, True
    except SettingsError as error:
        faults, is_usable = tuple(error.faults), False
    document = {"valid": is_usable, "findings": faults, "changes": []}
    return [msgspec.json.format(msgspec.json.encode(document), indent=2).decode()], is_usable


def schema_text() -> str:
    """Return the JSON schema of the file, for editors, with the options of every built-in adapter left open."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode()


def line_of(fault: Fault) -> str:
    """Return a fault as one line."""
    return f"{fault.severity}: {fault}"


def _verdict(sources: Sources, faults: Sequence[Fault]) -> str:
    return verdict_of(sources.path.name if sources.path else "the environment", faults)


def verdict_of(name: str, faults: Sequence[Fault]) -> str:
    """Return how many faults what is named has."""
    errors = sum(fault.severity == "error" for fault in faults)
    found = f"{counted(errors, 'error')}, {counted(len(faults) - errors, 'warning')}"
    return f"{name}: {found}" if faults else f"{name}: no faults"


def _summary(settings: Settings) -> str:
    models = f"{len(settings.models)} models" if settings.models else "the catalogue's models"
    providers = ", ".join(settings.providers) or "none"
    return f"providers: {providers}; {models}; database {settings.database}; state {settings.state}"
