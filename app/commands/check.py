"""`llm-gateway check`: every fault of the settings at once."""

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
        return [*map(_line, error.faults), _verdict(sources, error.faults)], False
    return [*map(_line, settings.warnings), _verdict(sources, settings.warnings), _summary(settings)], True


def schema_text() -> str:
    """Return the JSON schema of the file, for editors, with the options of every built-in adapter left open."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode()


def _line(fault: Fault) -> str:
    return f"{fault.severity}: {fault}"


def _verdict(sources: Sources, faults: list[Fault] | tuple[Fault, ...]) -> str:
    errors = sum(fault.severity == "error" for fault in faults)
    name = sources.path.name if sources.path else "the environment"
    found = f"{counted(errors, 'error')}, {counted(len(faults) - errors, 'warning')}"
    return f"{name}: {found}" if faults else f"{name}: no faults"


def _summary(settings: Settings) -> str:
    models = f"{len(settings.models)} models" if settings.models else "the catalogue's models"
    providers = ", ".join(settings.providers) or "none"
    return f"providers: {providers}; {models}; database {settings.database}; state {settings.state}"
