"""What two trees of settings differ in, value by value, and what of it a running process can take.

Law: pure; a secret that differs is said to differ, and neither is shown.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from app.settings.document import below
from app.settings.effective import effective, leaves
from app.settings.environment import ADAPTER_TOKEN, ADMIN_KEY, MASTER_SECRET
from app.settings.faults import Fault
from app.settings.model import ProviderSettings, Settings
from app.settings.reading import file_fields, struct_info
from app.settings.store_url import StoreUrl
from providers.types import Secret

NEEDS_RESTART = (
    "database",
    "state",
    "gateway.host",
    "gateway.port",
    "gateway.workers",
    "admin.host",
    "admin.port",
    "transport",
    "drain_s",
    "master_secret",
    "gateway.allowed_hosts",
    "admin.allowed_hosts",
    "cache.url",
    "spool",
    "gateway.jwt",
    "admin.jwt",
    "admin.url",
)
"""What a running process cannot change."""

_VARIABLES = {"master_secret": MASTER_SECRET, "admin_key": ADMIN_KEY, "adapter_token": ADAPTER_TOKEN}


def needs_restart(path: str) -> bool:
    """Return whether a running process cannot change a setting."""
    return any(path == kept or path.startswith((f"{kept}.", f"{kept}[")) for kept in NEEDS_RESTART)


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What a document is worth: the settings that it makes, those that would be in force, and every fault.

    Both are None where a fault is an error.
    """

    loaded: Settings | None = None
    adopted: Settings | None = None
    faults: tuple[Fault, ...] = ()


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as it would be written, and where it came from."""

    path: str
    value: Any
    origin: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that differs; None where there is none of the path. `is_secret`: the secrets themselves differ."""

    path: str
    before: Any
    after: Any
    is_secret: bool
    needs_restart: bool


def values_of(settings: Settings) -> list[Value]:
    """Return every setting, in the order of the tree."""
    return [
        Value(path=path, value=value, origin=_origin(settings, path)) for path, value in leaves(effective(settings))
    ]


def differences(before: Settings, after: Settings) -> list[Difference]:
    """Return what differs, in the order of the trees."""
    was, becomes = dict(leaves(effective(before))), dict(leaves(effective(after)))
    hidden_was, hidden_becomes = dict(_hidden(before, "")), dict(_hidden(after, ""))
    found = []
    for path in [*becomes, *(path for path in was if path not in becomes)]:
        is_secret = hidden_was.get(path) != hidden_becomes.get(path)
        if is_secret or _differ(was, becomes, path=path):
            found.append(
                Difference(
                    path=path,
                    before=was.get(path),
                    after=becomes.get(path),
                    is_secret=is_secret,
                    needs_restart=needs_restart(path),
                )
            )
    return found


def _differ(was: Mapping[str, Any], becomes: Mapping[str, Any], *, path: str) -> bool:
    return (path in was) != (path in becomes) or was.get(path) != becomes.get(path)


def _origin(settings: Settings, path: str) -> str:
    if path in settings.origins:
        return settings.origins[path]
    if path in _VARIABLES:
        return "default" if getattr(settings, path) is None else f"env {_VARIABLES[path]}"
    return settings.origin(path)


def _hidden(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of whatever is masked when it is shown."""
    if isinstance(value, (Secret, StoreUrl)):
        yield path, value.reveal()
    elif isinstance(value, msgspec.Struct):
        for key, child in _members(value):
            yield from _hidden(child, below(path, key))
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _hidden(child, below(path, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from _hidden(child, f"{path}[{index}]")


def _members(struct: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    for key, field in file_fields(struct_info(type(struct))).items():
        yield key, getattr(struct, field.name)
    if isinstance(struct, Settings):
        yield from ((name, getattr(struct, name)) for name in _VARIABLES)
    if isinstance(struct, ProviderSettings) and isinstance(struct.options, msgspec.Struct):
        yield from _members(struct.options)
