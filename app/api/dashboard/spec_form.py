"""Objects whose settings a form has as JSON. Law: only what was changed is sent; a secret is never in the text."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from app.kernel.errors import InvalidRequest

OF_ALL = frozenset({"id", "name", "source", "origin", "problem", "created_at", "updated_at", "version"})
"""What is of every object and none of its settings."""


def read_spec(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that were written; raises `InvalidRequest` that says where they are no JSON object."""
    try:
        return msgspec.json.decode(form.get("spec", "{}"), type=dict[str, Any])
    except msgspec.ValidationError:
        raise InvalidRequest("the settings are a JSON object: {…}", code="invalid_json", param="spec") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidRequest(_no_json(form["spec"]), code="invalid_json", param="spec") from None


def read_named_spec(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings with the name, which has a field of its own."""
    spec = read_spec(form)
    if "name" in spec:
        raise InvalidRequest("the name has a field of its own", param="spec.name")
    return spec | ({"name": form["name"]} if "name" in form else {})


def settings_of(described: Mapping[str, Any], defaults: Mapping[str, Any], *, hidden: frozenset[str]) -> dict[str, Any]:
    """Return what is shown of an object: what differs from the defaults, as JSON reads it again."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(described)))
    usual: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(defaults)))
    kept = {
        name: _without_nothing(value)
        for name, value in plain.items()
        if name not in hidden and value != usual.get(name)
    }
    return {name: value for name, value in kept.items() if value is not None}


def written(settings: Mapping[str, Any]) -> str:
    """Return settings as a form shows them."""
    return msgspec.json.format(msgspec.json.encode(dict(settings)), indent=2).decode()


def changed(before: Mapping[str, Any], after: Mapping[str, Any], *, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a patch: what differs, and the default, else null, of what was taken out."""
    taken_out = {name: defaults.get(name) for name in before if name not in after}
    return taken_out | {name: value for name, value in after.items() if name not in before or before[name] != value}


def _no_json(text: str) -> str:
    """Return what is wrong with a text, and where, which the fast decoder does not tell."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"this is no JSON: {error.msg}, in line {error.lineno}, column {error.colno}"
    except RecursionError:
        pass
    return "this is no JSON that a gateway reads"


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nothing(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nothing(inner) for inner in value]
    return value
