"""A validator for the part of JSON Schema 2020-12 that our documents use; what it does not know, it refuses.

Law: a keyword that is not checked is an error, so that a schema never promises more than the tests hold it to.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

_NOTES = frozenset(
    {
        *("title", "description", "examples", "default", "deprecated", "discriminator", "writeOnly", "readOnly"),
        *("contentMediaType", "contentEncoding"),
    }
)
_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_FORMATS = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}


class UnknownKeyword(Exception):
    """The schema says something that this validator does not check."""


def faults_of(value: Any, schema: Any, *, document: Any, path: str = "$") -> list[str]:
    """Return what is wrong with a value, each fault with its path; nothing if it obeys the schema."""
    return list(_faults(value, schema, document, path))


def resolve(reference: str, document: Any) -> Any:
    """Return what a local reference means. Raises `KeyError` if it means nothing."""
    found = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return found


def _faults(value: Any, schema: Any, document: Any, path: str) -> Iterator[str]:
    for keyword, wanted in schema.items():
        if keyword in _NOTES:
            continue
        check = _CHECKS.get(keyword)
        if check is None:
            raise UnknownKeyword(f"{keyword} at {path}")
        yield from check(value, wanted, schema=schema, document=document, path=path)


def _ref(value: Any, wanted: str, *, document: Any, path: str, **_: Any) -> Iterator[str]:
    yield from _faults(value, resolve(wanted, document), document, path)


def _type(value: Any, wanted: Any, *, path: str, **_: Any) -> Iterator[str]:
    names = [wanted] if isinstance(wanted, str) else wanted
    if not any(_TYPES[name](value) for name in names):
        yield f"{path} is not of type {' or '.join(names)}"


def _enum(value: Any, wanted: list[Any], *, path: str, **_: Any) -> Iterator[str]:
    if not any(value == item and type(value) is type(item) for item in wanted):
        yield f"{path} is none of {wanted}"


def _const(value: Any, wanted: Any, *, path: str, **_: Any) -> Iterator[str]:
    yield from _enum(value, [wanted], path=path)


def _choice(value: Any, wanted: list[Any], *, document: Any, path: str, at_most: int | None = None) -> Iterator[str]:
    tried = [faults_of(value, schema, document=document, path=path) for schema in wanted]
    fitting = sum(not faults for faults in tried)
    if fitting == 0:
        yield min(tried, key=len)[0] + f" (as the nearest of {len(wanted)} shapes)"
    elif at_most is not None and fitting > at_most:
        yield f"{path} has {fitting} shapes at once"


def _any_of(value: Any, wanted: list[Any], *, document: Any, path: str, **_: Any) -> Iterator[str]:
    yield from _choice(value, wanted, document=document, path=path)


def _one_of(value: Any, wanted: list[Any], *, document: Any, path: str, **_: Any) -> Iterator[str]:
    yield from _choice(value, wanted, document=document, path=path, at_most=1)


def _all_of(value: Any, wanted: list[Any], *, document: Any, path: str, **_: Any) -> Iterator[str]:
    for schema in wanted:
        yield from _faults(value, schema, document, path)


def _not(value: Any, wanted: Any, *, document: Any, path: str, **_: Any) -> Iterator[str]:
    if not faults_of(value, wanted, document=document, path=path):
        yield f"{path} is what it must not be"


def _properties(value: Any, wanted: dict[str, Any], *, document: Any, path: str, **_: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name in wanted.keys() & value.keys():
            yield from _faults(value[name], wanted[name], document, f"{path}.{name}")


def _required(value: Any, wanted: list[str], *, path: str, **_: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{path} lacks {name}" for name in wanted if name not in value)


def _additional(value: Any, wanted: Any, *, schema: Any, document: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for name in value.keys() - schema.get("properties", {}).keys():
        if wanted is False:
            yield f"{path} must not hold {name}"
        elif isinstance(wanted, dict):
            yield from _faults(value[name], wanted, document, f"{path}.{name}")


def _items(value: Any, wanted: Any, *, document: Any, path: str, **_: Any) -> Iterator[str]:
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _faults(item, wanted, document, f"{path}[{position}]")


def _bound(kind: Callable[[Any], bool], breaks: Callable[[Any, Any], bool], said: str) -> Callable[..., Iterator[str]]:
    def check(value: Any, wanted: Any, *, path: str, **_: Any) -> Iterator[str]:
        if kind(value) and breaks(value, wanted):
            yield f"{path} {said} {wanted}"

    return check


_CHECKS: dict[str, Callable[..., Iterator[str]]] = {
    "$ref": _ref,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "not": _not,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "items": _items,
    "minimum": _bound(_TYPES["number"], lambda value, low: value < low, "is less than"),
    "maximum": _bound(_TYPES["number"], lambda value, high: value > high, "is more than"),
    "exclusiveMinimum": _bound(_TYPES["number"], lambda value, low: value <= low, "is not more than"),
    "exclusiveMaximum": _bound(_TYPES["number"], lambda value, high: value >= high, "is not less than"),
    "minLength": _bound(_TYPES["string"], lambda value, low: len(value) < low, "is shorter than"),
    "maxLength": _bound(_TYPES["string"], lambda value, high: len(value) > high, "is longer than"),
    "pattern": _bound(_TYPES["string"], lambda value, pattern: not re.search(pattern, value), "does not match"),
    "format": _bound(_TYPES["string"], lambda value, name: not _FORMATS[name].fullmatch(value), "is no"),
    "minItems": _bound(_TYPES["array"], lambda value, low: len(value) < low, "has fewer items than"),
    "maxItems": _bound(_TYPES["array"], lambda value, high: len(value) > high, "has more items than"),
    "minProperties": _bound(_TYPES["object"], lambda value, low: len(value) < low, "has fewer members than"),
    "maxProperties": _bound(_TYPES["object"], lambda value, high: len(value) > high, "has more members than"),
}
KEYWORDS = _NOTES | _CHECKS.keys()
"""What a schema may say."""
