"""JSON Schemas, made fit for vendors that refuse some of their keywords. Law: pure; never looser about names or types.

A keyword that a vendor refuses narrows values further than it can promise, so it goes into the description, where the
model still reads it.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

_MAX_DEPTH = 32
_OF_SCHEMAS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_SCHEMA_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SCHEMA = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_LITERAL = frozenset({"const", "enum", "default", "example", "examples", "required"})
_SILENT = frozenset({"$schema", "$id", "$comment", "title", "examples", "example", "default", "deprecated"})
"""Keywords that say nothing about which values are valid."""


def clean(
    schema: Mapping[str, Any],
    *,
    drop: Collection[str],
    keep: Mapping[str, Collection[Any]] | None = None,
    closes_objects: bool = False,
) -> dict[str, Any]:
    """Return `schema` without the keywords in `drop`, at any depth.

    What was dropped and narrows values is added to the description. `keep` names the values with which such a keyword
    may stay after all. `closes_objects` forbids members that are not named, for vendors that demand it.
    """
    rules = _Rules(frozenset(drop), {name: frozenset(values) for name, values in (keep or {}).items()}, closes_objects)
    cleaned: dict[str, Any] = _clean(schema, rules=rules, depth=0)
    return cleaned


class _Rules(NamedTuple):
    """What a vendor takes."""

    drop: frozenset[str]
    keep: Mapping[str, frozenset[Any]]
    closes: bool

    def refuses(self, name: str, value: Any) -> bool:
        """Whether a keyword must go, with this value."""
        return name in self.drop and not (isinstance(value, str | int) and value in self.keep.get(name, ()))


def _clean(schema: Any, *, rules: _Rules, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return schema

    def inner(value: Any) -> Any:
        return _clean(value, rules=rules, depth=depth + 1)

    cleaned: dict[str, Any] = {}
    for name, value in schema.items():
        if rules.refuses(name, value):
            continue
        if name in _OF_SCHEMAS and isinstance(value, Mapping):
            cleaned[name] = {key: inner(item) for key, item in value.items()}
        elif name in _SCHEMA_LISTS and isinstance(value, list):
            cleaned[name] = [inner(item) for item in value]
        else:
            cleaned[name] = inner(value) if name in _SCHEMA else value
    told = {name: value for name, value in schema.items() if rules.refuses(name, value) and name not in _SILENT}
    if told:
        cleaned["description"] = _described(schema.get("description"), told)
    if rules.closes and (cleaned.get("type") == "object" or "properties" in cleaned):
        cleaned["additionalProperties"] = False
    return cleaned


def _described(description: Any, told: Mapping[str, Any]) -> str:
    words = "; ".join(f"{name}: {_text(value)}" for name, value in told.items())
    return f"{description} ({words})" if isinstance(description, str) and description else words


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def may_be_strict(schema: Any) -> bool:
    """Whether a schema is of the form that OpenAI can promise: every object is closed, and demands all its members.

    Source: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas, read 2026-11.
    """
    if isinstance(schema, list):
        return all(may_be_strict(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    kind = schema.get("type")
    is_object = kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema
    if is_object and (schema.get("additionalProperties") is not False or not _demands_all(schema)):
        return False
    inner = [value for name, value in schema.items() if name in _SCHEMA | _SCHEMA_LISTS]
    found = [schema[name] for name in _OF_SCHEMAS & schema.keys()]
    named = [item for schemas in found if isinstance(schemas, Mapping) for item in schemas.values()]
    return may_be_strict([*inner, *named])


def _demands_all(schema: Mapping[str, Any]) -> bool:
    """Whether an object must have each of its members, and no other."""
    members, demanded = schema.get("properties") or {}, schema.get("required") or []
    if not isinstance(members, Mapping) or not isinstance(demanded, list):
        return False
    return all(isinstance(name, str) for name in demanded) and set(demanded) == set(members)


def of_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema of parameters that says what vendors demand: that it is an object, and its members, if none.

    Source: https://github.com/langchain-ai/langchain-mcp-adapters/issues/137, read 2026-11.
    """
    said = {"type": "object", **schema}
    return {**said, "properties": {}} if said["type"] == "object" and not said.keys() & _MEMBERS else said


_MEMBERS = frozenset({"properties", "$ref", "anyOf", "oneOf", "allOf"})


def inline_references(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return `schema` with each `$ref` to its own definitions replaced by what it means; a recursive one stays open."""
    found: dict[str, Any] = _inline(schema, schema, ())
    return {name: value for name, value in found.items() if name not in {"$defs", "definitions"}}


def _inline(node: Any, root: Mapping[str, Any], seen: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_inline(item, root, seen) for item in node]
    if not isinstance(node, Mapping):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        beside = {name: value for name, value in node.items() if name != "$ref"}
        if reference in seen:
            return beside
        return {**_inline(_resolve(reference, root), root, (*seen, reference)), **_inline(beside, root, seen)}
    return {name: value if name in _LITERAL else _inline(value, root, seen) for name, value in node.items()}


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a reference inside the document means; one that leads nowhere allows anything."""
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if name and isinstance(found, Mapping) else found
    return found if isinstance(found, Mapping) else {}


__all__ = ["clean", "inline_references", "may_be_strict", "of_object"]
