"""The tree as it would be written, for people to read. Law: a secret shows only whether it is set."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from app.kernel.money import format_usd
from app.settings.document import below
from app.settings.model import ProviderSettings, Settings
from app.settings.policy import LimitRule
from app.settings.reading import bare, file_fields, struct_info
from app.settings.store_url import StoreUrl
from providers.types import Secret

_ENVIRONMENT_SECRETS = ("master_secret", "admin_key", "adapter_token")


def effective(settings: Settings) -> dict[str, Any]:
    """Return all settings by their names in the file, ready for JSON.

    Money is a decimal string of USD, a secret `{"set": true}` or `{"set": false}`, the password of a store's URL `***`.
    """
    shown = _struct(settings)
    for name in _ENVIRONMENT_SECRETS:
        shown[name] = {"set": getattr(settings, name) is not None}
    return shown


def leaf_paths(settings: Settings) -> list[str]:
    """Return the path of every value, for origins."""
    return [path for path, _ in leaves(_struct(settings))]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of everything in a tree that has no members itself."""
    if isinstance(value, dict) and value and value.keys() != {"set"}:
        for key, child in value.items():
            yield from leaves(child, below(path, key))
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            yield from leaves(child, f"{path}[{index}]")
    else:
        yield path, value


def _struct(struct: msgspec.Struct) -> dict[str, Any]:
    shown = {}
    for key, field in file_fields(struct_info(type(struct))).items():
        value = getattr(struct, field.name)
        is_unset = value is None and _is_secret(field.type)
        shown[key] = {"set": False} if is_unset else written(value, field.type, owner=struct)
    if isinstance(struct, ProviderSettings) and isinstance(struct.options, msgspec.Struct):
        shown.update(_struct(struct.options))
    return shown


def written(value: Any, info: inspect.Type, *, owner: msgspec.Struct | None = None) -> Any:
    """Return a value of the type as it would be written; see `app.settings.forms`. `owner` is the struct it is in."""
    if not isinstance(info, inspect.Metadata):
        return _plain(value)
    extra = {**(info.extra or {}), **_inner_extra(info.type)}
    if value is None:
        return False if extra.get("off") else None
    is_money = extra.get("kind") == "usd" or (isinstance(owner, LimitRule) and owner.dimension == "cost")
    if is_money and isinstance(value, int) and extra.get("kind") in {"usd", "quantity"}:
        return format_usd(value)
    if "word" in extra and value == type(value)():
        return extra["word"]
    return _plain(value)


def _inner_extra(info: inspect.Type) -> dict[str, Any]:
    """Return the form of an optional type's one member."""
    if not isinstance(info, inspect.UnionType):
        return {}
    forms = [member.extra or {} for member in info.types if isinstance(member, inspect.Metadata)]
    return forms[0] if forms else {}


def _is_secret(info: inspect.Type) -> bool:
    inner = bare(info)
    return isinstance(inner, inspect.CustomType) and inner.cls is Secret


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return {"set": True}
    if isinstance(value, StoreUrl):
        return str(value)
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        shown = [_plain(child) for child in value]
        return sorted(shown, key=str) if isinstance(value, (set, frozenset)) else shown
    return value
