"""How one shape refers to others where a type of Python cannot say it."""

from typing import Any

from msgspec import Meta

TEMPLATE = "#/components/schemas/{name}"


def any_of(*names: str) -> Meta:
    """Return the annotation of a value that has one of the shapes named."""
    choices: list[dict[str, Any]] = [{"$ref": TEMPLATE.format(name=name)} for name in names]
    return Meta(extra_json_schema={"anyOf": choices})
