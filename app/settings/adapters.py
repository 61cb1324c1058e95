"""A provider's keys are read in two steps: those that all providers have, and the options of its adapter.

Law: adapters are known by name through a callable only; this floor imports no vendor.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from app.settings.document import Node, below
from app.settings.model import ProviderSettings
from app.settings.reading import FAILED, Reader, file_fields, struct_info
from app.settings.suggestions import closest, did_you_mean, one_of, shown
from providers.types import Secret

AdapterOptions = Callable[[str], type[msgspec.Struct] | None]
"""Gives the options struct of an adapter by its name, or `None` if there is no such adapter."""

CatalogRow = tuple[str, str, Sequence[str]]
"""A vendor's name, its adapter, and the environment variables that commonly hold its key, the usual one first."""

ECHO = "echo"
_SECTION = "providers."


class ProviderReader:
    """Reads one entry of `providers`."""

    def __init__(self, reader: Reader, *, adapter_options: AdapterOptions, adapters: Collection[str]) -> None:
        self._reader = reader
        self._adapter_options = adapter_options
        self._adapters = adapters

    def read(self, info: inspect.StructType, node: Node, path: str) -> Any:
        """Return the provider with its adapter's options, or `FAILED`."""
        members = self._reader.members(node, path)
        if members is None:
            return FAILED
        adapter = self._adapter(members, path)
        options_type = self._adapter_options(adapter)
        if options_type is None:
            options_type = self._meant(adapter, members, path=path)
        generic = file_fields(info)
        options = None
        if options_type is not None:
            options = self._options(options_type, members, generic=generic, path=path)
        known = {key: member for key, member in members.items() if key in generic}
        provider = self._reader.build(info, known, path=path)
        return provider if provider is FAILED else _finished(provider, adapter=adapter, options=options)

    def _adapter(self, members: Mapping[str, Node], path: str) -> str:
        node = members.get("adapter")
        if node is not None and isinstance(node.value, str) and node.value:
            return node.value
        return path.removeprefix(_SECTION)

    def _meant(self, adapter: str, members: Mapping[str, Node], *, path: str) -> type[msgspec.Struct] | None:
        """Record that there is no such adapter; return the options of the one that was probably meant."""
        where = below(path, "adapter")
        node = members.get("adapter")
        misspelt = closest("adapter", members)
        if node is not None:
            hint = did_you_mean(adapter, self._adapters, otherwise=f"the adapters are {one_of(self._adapters)}")
            self._reader.fault(where, f"there is no adapter {shown(adapter)}", node=node, suggestion=hint)
            match = closest(adapter, self._adapters)
            return None if match is None else self._adapter_options(match)
        if misspelt is not None:
            self._reader.refuse_unknown({misspelt: members[misspelt]}, known=["adapter"], path=path)
            return None
        hint = did_you_mean(adapter, self._adapters, otherwise="such as `adapter: openai`")
        self._reader.fault(where, "is required: no adapter has this provider's name", suggestion=hint)
        return None

    def _options(
        self,
        options_type: type[msgspec.Struct],
        members: Mapping[str, Node],
        *,
        generic: Mapping[str, inspect.Field],
        path: str,
    ) -> Any:
        info = struct_info(options_type)
        own = file_fields(info)
        misspelt = self._reader.refuse_unknown(members, known=dict.fromkeys([*generic, *own]), path=path)
        chosen = {
            key: member
            for key, member in members.items()
            if key in own and (key not in generic or member.value is not None)
        }
        return self._reader.build(info, chosen, path=path, misspelt=misspelt)


def _finished(provider: ProviderSettings, *, adapter: str, options: Any) -> ProviderSettings:
    return msgspec.structs.replace(
        provider,
        adapter=adapter,
        base_url=provider.base_url.rstrip("/") if provider.base_url else provider.base_url,
        options=None if options is FAILED else options,
    )


def discover_providers(
    environ: Mapping[str, str], catalog_rows: Sequence[CatalogRow], *, adapter_options: AdapterOptions
) -> dict[str, tuple[ProviderSettings, str]]:
    """Return the providers that need no file: `echo`, and one for each vendor whose key is in the environment.

    They are in the catalogue's order, each with its origin. Vendors whose adapter does not exist, or cannot be used
    without options, are left out.
    """
    found: dict[str, tuple[ProviderSettings, str]] = {}
    echo = _bare_provider(ECHO, adapter_options, key=None)
    if echo is not None:
        found[ECHO] = (echo, "default")
    for name, adapter, variables in catalog_rows:
        variable = next((variable for variable in variables if environ.get(variable, "").strip()), None)
        if variable is None or name in found:
            continue
        provider = _bare_provider(adapter, adapter_options, key=Secret(environ[variable].strip()))
        if provider is not None:
            found[name] = (provider, f"env {variable}")
    return found


def _bare_provider(adapter: str, adapter_options: AdapterOptions, *, key: Secret | None) -> ProviderSettings | None:
    options_type = adapter_options(adapter)
    if options_type is None or any(field.required for field in struct_info(options_type).fields):
        return None
    return ProviderSettings(adapter=adapter, api_key=key, options=options_type())
