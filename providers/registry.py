"""Finds the plug-in that a configured provider names: built in, a row of the catalogue, or somebody else's package."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from providers.catalog import Catalog, Vendor, load_catalog
from providers.echo.plugin import echo_plugin
from providers.openai.plugin import azure_plugin, openai_plugin
from providers.plugin import Plugin

ENTRY_POINT_GROUP = "llm_gateway.providers"
_WIRES = {"openai": openai_plugin, "azure": azure_plugin}


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
            return _WIRES[row.wire](name, row.quirks, base_url=row.base_url, keys=row.keys)
        published = self._published().get(name)
        if published is None:
            raise UnknownAdapter(name)
        return _load_entry_point(published)

    def _published(self) -> dict[str, EntryPoint]:
        if self._entry_points is None:
            self._entry_points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
        return self._entry_points


def _load_entry_point(point: EntryPoint) -> Plugin:
    try:
        plugin = point.load()
    except Exception as error:
        raise BrokenPlugin(f"the plug-in {point.name!r} ({point.value}) cannot be loaded: {error}") from error
    if not isinstance(plugin, Plugin):
        raise BrokenPlugin(f"the plug-in {point.name!r} ({point.value}) is not a providers.plugin.Plugin")
    return plugin
