"""A value that satisfies a JSON Schema, always the same one for the same schema."""

from typing import Any

_MAX_DEPTH = 12
_PLAIN = {"string": "text", "number": 1.5, "boolean": True, "null": None}


def example_of(schema: dict[str, Any], *, root: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """Return a small value that fits `schema`; knows the keywords that structured output allows."""
    root = schema if root is None else root
    if depth > _MAX_DEPTH:
        return None
    fixed = _fixed(schema)
    if fixed is not None:
        return fixed[0]
    if "$ref" in schema:
        return example_of(_resolve(schema["$ref"], root=root), root=root, depth=depth + 1)
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return example_of(schema[keyword][0], root=root, depth=depth + 1)
    return _by_type(schema, root=root, depth=depth)


def _fixed(schema: dict[str, Any]) -> tuple[Any] | None:
    if "const" in schema:
        return (schema["const"],)
    if schema.get("enum"):
        return (schema["enum"][0],)
    return None


def _by_type(schema: dict[str, Any], *, root: dict[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: example_of(inner, root=root, depth=depth + 1) for name, inner in properties.items()}
    if kind == "array":
        inner = example_of(schema.get("items", {}), root=root, depth=depth + 1)
        return [inner] * max(1, schema.get("minItems", 1))
    if kind == "integer":
        return max(1, schema.get("minimum", 1))
    return _PLAIN.get(kind)


def _resolve(reference: str, *, root: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the document; one that leads nowhere is an empty schema."""
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step, {}) if step and isinstance(found, dict) else found
    return found if isinstance(found, dict) else {}
