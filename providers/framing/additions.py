"""Members that are added to a JSON body which a dialect has written, by their paths: a dot before each inner name."""

from collections.abc import Mapping
from typing import Any

import msgspec


def add_members(body: bytes, *, default: Mapping[str, Any], put: Mapping[str, Any]) -> bytes:
    """Return the JSON object `body` with the members `put`, and those of `default` that it has not.

    Raises `msgspec.DecodeError` if it is no JSON object.
    """
    document: dict[str, Any] = msgspec.json.decode(body, type=dict)
    for path, value in default.items():
        _add(document, path.split("."), value, is_forced=False)
    for path, value in put.items():
        _add(document, path.split("."), value, is_forced=True)
    return msgspec.json.encode(document)


def _add(there: dict[str, Any], path: list[str], value: Any, *, is_forced: bool) -> None:
    *outer, last = path
    for name in outer:
        inner = there.get(name)
        if not isinstance(inner, dict):
            if name in there and not is_forced:
                return
            inner = there[name] = {}
        there = inner
    if is_forced or last not in there:
        there[last] = value
