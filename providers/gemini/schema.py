"""Schemas of parameters and answers: JSON Schema, or the older form that Google took from OpenAPI.

Source: https://ai.google.dev/gemini-api/docs/structured-output, read 2026-11; google-genai 3.6: types.Schema.
"""

from collections.abc import Mapping
from typing import Any

from providers.gemini.wire import named
from providers.schemas import clean

_IGNORED = frozenset(
    {
        "$schema",
        "$comment",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "dependentRequired",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxContains",
        "maxLength",
        "maxProperties",
        "minContains",
        "minLength",
        "minProperties",
        "multipleOf",
        "pattern",
        "patternProperties",
        "propertyNames",
        "uniqueItems",
    }
)
"""Keywords that Google ignores, so that the model is told of them in words."""
_COUNTS = ("maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties")


def to_wire(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema in the keywords that Google heeds."""
    wire: dict[str, Any] = _with_enums(clean(schema, drop=_IGNORED))
    return wire


def _with_enums(schema: Any) -> Any:
    """Say each single allowed text or number as a choice of one; Google does not heed `const`."""
    if isinstance(schema, list):
        return [_with_enums(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("const"), str | int | float) and not isinstance(schema["const"], bool):
        schema = {**{name: value for name, value in schema.items() if name != "const"}, "enum": [schema["const"]]}
    inner = {name: _with_enums(value) for name, value in schema.items() if name in _SCHEMAS}
    named = {
        name: {key: _with_enums(item) for key, item in value.items()}
        for name, value in schema.items()
        if name in _OF_SCHEMAS and isinstance(value, dict)
    }
    return {**schema, **inner, **named}


_SCHEMAS = frozenset({"items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties"})
_OF_SCHEMAS = frozenset({"properties", "$defs", "definitions"})


def is_empty(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is that of a function without parameters."""
    return schema.get("type") == "object" and not schema.get("properties") and not schema.keys() & {"anyOf", "$ref"}


def from_openapi(schema: Any) -> Any:
    """Return the JSON Schema that says what a schema of Google's older form says."""
    if not isinstance(schema, dict):
        return schema
    found = named(schema)
    is_nullable = found.pop("nullable", None) is True
    if isinstance(kind := found.get("type"), str):
        found["type"] = [kind.lower(), "null"] if is_nullable else kind.lower()
    for name in _COUNTS:
        if isinstance(value := found.get(name), str) and value.isdecimal():
            found[name] = int(value)
    for name in ("items", "additionalProperties"):
        if name in found:
            found[name] = from_openapi(found[name])
    if isinstance(properties := found.get("properties"), dict):
        found["properties"] = {key: from_openapi(item) for key, item in properties.items()}
    if isinstance(choices := found.get("anyOf"), list):
        found["anyOf"] = [from_openapi(item) for item in choices]
    if is_nullable and isinstance(found.get("enum"), list):
        found["enum"] = [*found["enum"], None]
    return found
