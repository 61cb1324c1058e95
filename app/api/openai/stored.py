"""References to state that a vendor stored: files, earlier answers, conversations, containers, cached prompts."""

from collections.abc import Iterator, Mapping
from typing import Any

_FIELDS = frozenset(
    {"previous_response_id", "conversation", "container", "file_id", "file_ids", "cachedContent", "cached_content"}
)


def stored_reference(document: Mapping[str, Any]) -> str | None:
    """Return the path of a reference that a body makes; none for nearly all bodies.

    Whoever knows an id at a vendor can use it with the vendor's key, so an id may be another tenant's.
    """
    for name in _FIELDS & document.keys():
        if document[name] is not None:
            return name
    for path, message in _objects_in(document.get("messages"), "messages"):
        for place, part in _objects_in(message.get("content"), f"{path}.content"):
            for name in _named_in(part):
                return f"{place}.{name}"
    for path, tool in _objects_in(document.get("tools"), "tools"):
        for name in _named_in(tool):
            return f"{path}.{name}"
    return None


def _objects_in(items: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a list with their paths; nothing of what is no list."""
    if isinstance(items, list):
        for position, item in enumerate(items):
            if isinstance(item, dict):
                yield f"{path}[{position}]", item


def _named_in(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the path of each reference in an object or in an object directly inside it, as in `{"file": {…}}`.

    A function's parameters are a schema, whose words are the client's own.
    """
    for name, inner in value.items():
        if name in _FIELDS and inner is not None:
            yield name
        elif isinstance(inner, dict) and name not in {"function", "custom"}:
            yield from (f"{name}.{field}" for field in _FIELDS & inner.keys() if inner[field] is not None)
