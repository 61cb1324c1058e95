"""Where a command's settings come from: the file, the environment, the catalogue, and an Ollama next door.

Law: every command, and every reload, reads them through this one place.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from app.commands.embedded import with_master_secret
from app.commands.failure import CommandFailed, listed
from app.commands.ollama import OLLAMA_ADAPTER, answers
from app.settings import Settings, SettingsError, discover_providers, load
from app.settings.adapters import ECHO
from app.settings.model import ProviderSettings
from providers.registry import BrokenPlugin, Registry, UnknownAdapter

DEFAULT_FILE = Path("gateway.yaml")
CONFIG_VARIABLE = "GATEWAY_CONFIG"


def config_path(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the one given, that of `GATEWAY_CONFIG`, `./gateway.yaml` if it exists, or none."""
    if given is not None:
        return given
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the settings are read from; reading again sees the file as it then is."""

    path: Path | None
    environ: Mapping[str, str]
    overrides: Mapping[str, str] = field(default_factory=dict)
    registry: Registry = field(default_factory=Registry)

    def read(self, document: bytes | None = None) -> Settings:
        """Return the settings as written, or as they would be with this document for a file. Raises `SettingsError`."""
        settings = load(
            self.path if document is None else document,
            environ=self.environ,
            adapter_options=self.options_of,
            adapters=self.registry.names(),
            catalog_rows=self._rows(),
            known_models=self._catalogued,
            overrides=self.overrides,
        )
        return self._with_ollama(settings)

    def complete(self) -> Settings:
        """Return the settings that a gateway runs with: in embedded mode with the master secret, made if need be.

        Raises `SettingsError`, and `CommandFailed` where there is no master secret and none may be made.
        """
        return with_master_secret(self.read())

    def options_of(self, adapter: str) -> type[msgspec.Struct] | None:
        """Return the options struct of an adapter, `None` if there is no such adapter."""
        try:
            return self.registry.find(adapter).options
        except UnknownAdapter:
            return None
        except BrokenPlugin as error:
            raise CommandFailed(str(error)) from error

    def _catalogued(self, settings: Settings) -> list[str] | None:
        """Return the names that the file's providers serve without `models`; nothing where one must be asked for them.

        Those that do not chat, and are served though nobody lists them, are among them.
        """
        names: dict[str, None] = {}
        for name, provider in settings.providers.items():
            models = self._models_of(provider)
            if not models:
                return None
            names |= {each: None for model in models for each in (model, f"{name}/{model}")}
        return [*names]

    def _models_of(self, provider: ProviderSettings) -> list[str]:
        """Return the models that a provider is known to have; none if nobody knows them."""
        if provider.adapter == ECHO:
            return [ECHO]
        plugin, catalog = self.registry.find(provider.adapter), self.registry.catalog
        vendor = plugin.catalog or ""
        is_vendors_own = provider.base_url is None or provider.base_url.rstrip("/") == plugin.base_url
        if not is_vendors_own or not catalog.models(vendor):
            return []
        return [model.id for model in catalog.snapshot.models(catalog.vendors[vendor].prices or "")]

    def _rows(self) -> list[tuple[str, str, tuple[str, ...]]]:
        return [(name, name, row.keys) for name, row in self.registry.well_known()]

    def _with_ollama(self, settings: Settings) -> Settings:
        """Add an Ollama that runs here, where nobody chose the providers."""
        found = discover_providers(self.environ, self._rows(), adapter_options=self.options_of)
        if settings.providers != {name: provider for name, (provider, _) in found.items()}:
            return settings
        options = self.options_of(OLLAMA_ADAPTER)
        if options is None or not answers():
            return settings
        ollama = ProviderSettings(adapter=OLLAMA_ADAPTER, options=options())
        return msgspec.structs.replace(settings, providers={**settings.providers, "ollama": ollama})


def open_sources(given: Path | None, *, overrides: Mapping[str, str] | None = None) -> Sources:
    """Return the sources of this process: its arguments, its environment, its folder."""
    return Sources(path=config_path(given, os.environ), environ=os.environ, overrides=overrides or {})


def read_settings(sources: Sources) -> Settings:
    """Return the settings as written; raises `CommandFailed` with every fault."""
    try:
        return sources.read()
    except SettingsError as error:
        faults = [fault for fault in error.faults if fault.severity == "error"]
        raise CommandFailed(f"the settings have {counted(len(faults), 'fault')}:{listed(faults)}") from None


def complete_settings(sources: Sources) -> Settings:
    """Return the settings that a gateway runs with; raises `CommandFailed` with every fault."""
    return with_master_secret(read_settings(sources))


def counted(number: int, noun: str) -> str:
    """Return `1 fault`, `2 faults`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
