"""`llm-gateway check`: every fault of the settings, and of installed layers, at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from app.commands.sources import Sources, counted, open_sources
from app.middleware.layers import BrokenLayer, InstalledLayer, installed_layers, listed
from app.settings import Fault, Settings, SettingsError, json_schema


class _Examined(NamedTuple):
    """The settings, if they can be used, what is wrong with them or with what is installed, and the layers."""

    settings: Settings | None
    faults: tuple[Fault, ...]
    layers: tuple[InstalledLayer, ...]

    @property
    def is_usable(self) -> bool:
        """Whether a gateway would start."""
        return all(fault.severity == "warning" for fault in self.faults)


def run(config: Path | None) -> tuple[list[str], bool]:
    """Return the lines of the report, and whether a gateway would start."""
    sources = open_sources(config)
    settings, faults, layers = examined = _examine(sources)
    lines = [*map(line_of, faults), _verdict(sources, faults)]
    if settings is not None:
        lines.append(_summary(settings))
    if layers:
        lines.append(f"layers, the outermost first: {listed(layers)}")
    return lines, examined.is_usable


def run_as_json(config: Path | None) -> tuple[list[str], bool]:
    """Return the report as the admin API has it, without what would change, and whether a gateway would start."""
    examined = _examine(open_sources(config))
    document = {"valid": examined.is_usable, "findings": examined.faults, "changes": []}
    return [msgspec.json.format(msgspec.json.encode(document), indent=2).decode()], examined.is_usable


def _examine(sources: Sources) -> _Examined:
    settings: Settings | None = None
    layers: tuple[InstalledLayer, ...] = ()
    try:
        settings = sources.read()
        faults = settings.warnings
    except SettingsError as error:
        faults = tuple(error.faults)
    try:
        layers = installed_layers()
    except BrokenLayer as error:
        faults = (*faults, Fault(path="", message=str(error), origin="installed packages"))
    return _Examined(settings, faults, layers)


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
