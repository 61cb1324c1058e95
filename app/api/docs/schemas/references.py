"""How one shape refers to others where a type of Python cannot say it."""

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import Meta

TEMPLATE = "#/components/schemas/{name}"
MAX_INPUTS = 2_048
_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_TOKENS: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
TEXT_OR_TOKENS: list[dict[str, Any]] = [
    _TEXT,
    {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MAX_INPUTS},
    _TOKENS,
    {"type": "array", "items": _TOKENS, "minItems": 1, "maxItems": MAX_INPUTS},
]
"""What a model reads without a conversation: a text, several, or token ids in their place."""


def schemas_of(shapes: Iterable[Any]) -> dict[str, Any]:
    """Return the schemas of structs, and of those that they hold, by name.

    Their docstrings are taken without their indentation, which only Pythons before 3.13 keep: one document for all.
    """
    _, found = msgspec.json.schema_components(shapes, ref_template=TEMPLATE)
    for schema in found.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
    return found


def reference(name: str) -> dict[str, Any]:
    """Return what stands where the shape `name` is meant."""
    return {"$ref": TEMPLATE.format(name=name)}


def any_of(*names: str) -> Meta:
    """Return the annotation of a value that has one of the shapes named."""
    return Meta(extra_json_schema={"anyOf": [reference(name) for name in names]})


def a(name: str) -> Meta:
    """Return the annotation of a value that has the shape `name`, which is no struct."""
    return Meta(extra_json_schema=reference(name))


def by_type(name: str, about: str, shapes: Mapping[str, str], *, other: str) -> dict[str, Any]:
    """Return the schema of what its `type` tells apart; `shapes` names the shape of each type.

    A type that is not among them passes, being a vendor's own; `other` says what it is.
    """
    another = {
        "title": "Another",
        "description": other,
        "type": "object",
        "properties": {"type": {"type": "string", "not": {"enum": sorted(shapes)}}},
        "required": ["type"],
    }
    known = [reference(shape) for shape in dict.fromkeys(shapes.values())]
    return {"title": name, "description": about, "oneOf": [*known, another]}
