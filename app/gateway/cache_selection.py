"""Which entries are to be forgotten. Law: pure; what is forgotten to be named empties nothing."""

import re
from collections.abc import Mapping
from uuid import UUID

from app.gateway.cache_view import PurgeCache
from app.kernel.errors import InvalidRequest

_ENTRY_ID = re.compile(r"[0-9a-f]{32}")
_MOST_NAME, _MOST_TAG_NAME, _MOST_TAG_VALUE = 300, 64, 256
_NOTHING_NAMED = "say what is to be purged: id, model, tag or scope; or everything, with `all: true`"


def named(spec: PurgeCache) -> dict[str, str | bool]:
    """Return what names entries, as it was given."""
    said = {
        "id": spec.entry_id if spec.id is None else spec.id,
        "model": spec.model,
        "tag": spec.tag,
        "scope": spec.scope,
    }
    found: dict[str, str | bool] = {name: value for name, value in said.items() if value is not None}
    return found | {"all": True} if spec.all else found


def selection_of(spec: PurgeCache, organization_id: UUID) -> Mapping[str, str | None]:
    """Return what a store is asked to remove; raises `InvalidRequest` for what names nothing, or cannot be a name."""
    names = named(spec)
    if not names:
        raise InvalidRequest(_NOTHING_NAMED, param="all", code="nothing_named")
    if spec.all and len(names) > 1:
        raise InvalidRequest("`all` stands alone: leave it out, or all that narrows it", param="all")
    return {
        "entry_id": _read_entry_id(spec),
        "model": None if spec.model is None else _read_model(spec.model),
        "tag": None if spec.tag is None else _read_tag(spec.tag),
        "scope": None if spec.scope is None else _read_scope(spec.scope, organization_id),
    }


def _read_entry_id(spec: PurgeCache) -> str | None:
    said = {name: text.lower() for name, text in (("id", spec.id), ("entry_id", spec.entry_id)) if text is not None}
    for name, text in said.items():
        if not _ENTRY_ID.fullmatch(text):
            raise InvalidRequest(f"{name} is 32 hexadecimal digits, as in x-gateway-cache-id", param=name)
    if len({*said.values()}) > 1:
        raise InvalidRequest("id and entry_id are the same field: give one of them", param="entry_id")
    return next(iter(said.values()), None)


def _read_model(text: str) -> str:
    if not text or len(text) > _MOST_NAME or not text.isprintable():
        raise InvalidRequest("model is the public name of a model", param="model")
    return text


def _read_tag(text: str) -> str:
    name, mark, value = text.partition("=")
    is_name = 0 < len(name) <= _MOST_TAG_NAME and name.isprintable()
    if not mark or not is_name or len(value) > _MOST_TAG_VALUE or not value.isprintable():
        raise InvalidRequest("tag is of the form name=value", param="tag")
    return text


def _read_scope(text: str, organization_id: UUID) -> str:
    """Return who shares answers, as the store knows it."""
    if text == "organization":
        return f"organization:{organization_id.hex}"
    kind, _, identifier = text.partition(":")
    try:
        scope_id = UUID(identifier)
    except ValueError:
        scope_id = None
    if kind not in {"team", "key"} or scope_id is None:
        raise InvalidRequest("scope is organization, team:<id> or key:<id>", param="scope")
    return f"{kind}:{scope_id.hex}"
