"""Finds the plug-in that a configured provider names: built in, a row of the catalogue, or somebody else's package."""

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

import msgspec

from providers.catalog import Catalog, Vendor, Wire, load_catalog
from providers.echo.plugin import echo_plugin
from providers.plugin import Plugin

ENTRY_POINT_GROUP = "llm_gateway.providers"
_WIRES: dict[Wire, str] = {
    "openai": "providers.openai.plugin:openai_plugin",
    "azure": "providers.openai.azure:azure_plugin",
    "anthropic": "providers.anthropic.plugin:anthropic_plugin",
    "gemini": "providers.gemini.plugin:gemini_plugin",
    "vertex": "providers.gemini.vertex:vertex_plugin",
    "bedrock": "providers.bedrock.plugin:bedrock_plugin",
    "cohere": "providers.cohere.plugin:cohere_plugin",
    "ollama": "providers.ollama.plugin:ollama_plugin",
    "tgi": "providers.huggingface.plugin:tgi_plugin",
    "native": "providers.native.plugin:native_plugin",
}
"""What makes the plug-in of a row, by its wire; imported when a provider first names a row of that wire."""


class UnknownAdapter(LookupError):
    """No plug-in has this name."""


class BrokenPlugin(RuntimeError):
    """A third party's plug-in cannot be loaded."""


class Registry:
    """All adapters that the file may name. Third parties' packages are loaded when they are first named."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        self.catalog = catalog or load_catalog()
        self._found: dict[str, Plugin] = {"echo": echo_plugin}
        self._entry_points: dict[str, EntryPoint] | None = None

    def names(self) -> list[str]:
        """Return the names of all adapters, sorted."""
        return sorted(self._found.keys() | self.catalog.vendors.keys() | self._published().keys())

    def find(self, name: str) -> Plugin:
        """Return a plug-in by its name. Raises `UnknownAdapter` and `BrokenPlugin`."""
        plugin = self._found.get(name)
        if plugin is None:
            plugin = self._found[name] = self._load(name)
        return plugin

    def well_known(self) -> Iterator[tuple[str, Vendor]]:
        """Yield the vendors that a key in the environment is enough to use, in order of precedence."""
        yield from ((name, row) for name, row in self.catalog.vendors.items() if row.is_discoverable)

    def _load(self, name: str) -> Plugin:
        row = self.catalog.vendors.get(name)
        if row is not None:
            return _of_row(name, row)
        published = self._published().get(name)
        if published is None:
            raise UnknownAdapter(name)
        return _load_entry_point(published)

    def _published(self) -> dict[str, EntryPoint]:
        if self._entry_points is None:
            self._entry_points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
        return self._entry_points


def _of_row(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of a row of the catalogue."""
    module, _, factory = _WIRES[row.wire].partition(":")
    plugin: Plugin = getattr(import_module(module), factory)(name, row)
    return msgspec.structs.replace(plugin, bills_after_disconnect=row.bills_after_disconnect)


def _load_entry_point(point: EntryPoint) -> Plugin:
    try:
        plugin = point.load()
    except Exception as error:
        raise BrokenPlugin(f"the plug-in {point.name!r} ({point.value}) cannot be loaded: {error}") from error
    if not isinstance(plugin, Plugin):
        raise BrokenPlugin(f"the plug-in {point.name!r} ({point.value}) is not a providers.plugin.Plugin")
    return plugin
