"""JSON Schemas of callers, read before anything is asked of them. Law: pure; what is not understood is refused.

The dialect is that of 2020-12, with the words of draft 7 that it renamed. `format` and `content…` only describe, as the
standard has it. A reference may lead anywhere inside the schema and nowhere else.

The library of the field, `jsonschema`, is not used: it takes seconds to check a schema of 64 KB, asks the network for
references, and knows no bound for patterns or steps. Source: measured with its 4.26.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from app.fanout.documents import frozen, levels
from app.fanout.patterns import BadPattern, Pattern

MOST_BYTES: Final = 64 * 1024
MOST_LEVELS: Final = 32
_MOST_PATTERN_CHARACTERS: Final = 8 * 1024
"""How long all patterns of a schema may be together: compiling them takes time too."""

OF_ONE: Final = frozenset(
    {"additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"}
    | {"additionalItems", "unevaluatedItems", "unevaluatedProperties"}
)
OF_SEVERAL: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
OF_NAMED: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_REFUSED: Final = frozenset({"$dynamicRef", "$recursiveRef"})
_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


class BadSchema(ValueError):
    """The schema cannot be used; the message says where and why."""


class Schema:
    """A schema that was read, with what its patterns and references mean."""

    __slots__ = ("_anchors", "_known", "options", "patterns", "references", "root")

    def __init__(self, root: Any) -> None:
        """Read a schema. Raises `BadSchema`."""
        _check_size(root)
        self.root = root
        self.patterns: dict[str, Pattern] = {}
        self.references: dict[str, Any] = {}
        self.options: dict[int, frozenset[Hashable]] = {}
        """The values of each `enum`, by the identity of its list."""
        self._known: set[int] = set()
        self._anchors: dict[str, Any] = {}
        self._read_all(root, "#")

    def _read_all(self, root: Any, place: str) -> None:
        """Read a schema with all inside it and all that it refers to."""
        wanted: dict[str, str] = {}
        for at, schema in _schemas(root, place):
            _check(schema, place=at)
            self._compile(schema, place=at)
            self._known.add(id(schema))
            if "$anchor" in schema:
                self._anchors[f"#{schema['$anchor']}"] = schema
            if "$ref" in schema and schema["$ref"] not in self.references:
                wanted[schema["$ref"]] = at
            if "enum" in schema:
                self.options[id(schema["enum"])] = frozenset(map(frozen, schema["enum"]))
        for reference, at in wanted.items():
            if reference not in self.references:
                self._refer(reference, place=at)

    def _refer(self, reference: str, *, place: str) -> None:
        """Find what a reference means, which may be no schema that was read yet."""
        found = self._anchors.get(reference, _ABSENT)
        if found is _ABSENT:
            found = _target(self.root, reference, place=place)
        self.references[reference] = found
        if id(found) not in self._known:
            self._read_all(found, reference)

    def _compile(self, schema: Mapping[str, Any], *, place: str) -> None:
        texts = [schema["pattern"]] if "pattern" in schema else []
        for text in [*texts, *schema.get("patternProperties", {})]:
            if text in self.patterns:
                continue
            if sum(map(len, self.patterns)) + len(text) > _MOST_PATTERN_CHARACTERS:
                raise BadSchema(f"its patterns have more than {_MOST_PATTERN_CHARACTERS} characters together")
            try:
                self.patterns[text] = Pattern(text)
            except BadPattern as error:
                raise BadSchema(f"at {place}: {error}") from None


_ABSENT: Final = object()


def _check_size(root: Any) -> None:
    if not isinstance(root, dict | bool):
        raise BadSchema("a schema is an object")
    if levels(root, most=MOST_LEVELS) > MOST_LEVELS:
        raise BadSchema(f"a schema has at most {MOST_LEVELS} levels")
    if len(msgspec.json.encode(root)) > MOST_BYTES:
        raise BadSchema(f"a schema has at most {MOST_BYTES} bytes")


def _schemas(node: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema that is an object, the outermost first, with its place. Raises `BadSchema`."""
    if isinstance(node, bool):
        return
    if not isinstance(node, dict):
        raise BadSchema(f"at {place}: a schema is an object")
    yield place, node
    for word, value in node.items():
        for step, inner in _inside(word, value, place=place):
            yield from _schemas(inner, f"{place}/{word}{step}")


def _inside(word: str, value: Any, *, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the schemas that a keyword holds, each with what its place adds to the keyword's."""
    if word in OF_SEVERAL or (word == "items" and isinstance(value, list)):
        if not isinstance(value, list):
            raise BadSchema(f"at {place}/{word}: a list of schemas is wanted")
        yield from ((f"/{at}", inner) for at, inner in enumerate(value))
    elif word in OF_NAMED:
        if not isinstance(value, dict):
            raise BadSchema(f"at {place}/{word}: an object of schemas is wanted")
        yield from ((f"/{name}", inner) for name, inner in value.items())
    elif word == "dependencies" and isinstance(value, dict):
        yield from ((f"/{name}", inner) for name, inner in value.items() if not isinstance(inner, list))
    elif word in OF_ONE:
        yield "", value


def _target(root: Any, reference: str, *, place: str) -> Any:
    """Return the schema that a JSON pointer leads to. Raises `BadSchema` for one that leads elsewhere."""
    found = root
    if reference != "#" and not reference.startswith("#/"):
        raise BadSchema(f"at {place}: $ref may only lead inside the schema")
    for step in reference.split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(name)] if name.isascii() and name.isdigit() and int(name[:6]) < len(found) else _ABSENT
        else:
            found = found.get(name, _ABSENT) if isinstance(found, dict) else _ABSENT
    if not isinstance(found, dict | bool):
        raise BadSchema(f"at {place}: $ref leads to no schema")
    return found


def _check(schema: Mapping[str, Any], *, place: str) -> None:
    """Raise `BadSchema` for a keyword that is not understood or has a value of the wrong kind."""
    for word, value in schema.items():
        if word in _REFUSED or (word == "$id" and place != "#"):
            raise BadSchema(f"at {place}: {word} is not supported")
        rule = _RULES.get(word)
        if rule is not None and not rule[0](value):
            raise BadSchema(f"at {place}: {word} must be {rule[1]}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_above_zero(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)


def _is_names_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_names(names) for names in value.values())


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_some(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


_Rule = tuple[Callable[[Any], bool], str]
_RULES: Final[Mapping[str, _Rule]] = {
    **dict.fromkeys(("$anchor", "$id", "$ref", "$schema", "pattern"), (_is_text, "text")),
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"), (_is_number, "a number")),
    **dict.fromkeys(
        (f"{end}{what}" for end in ("max", "min") for what in ("Contains", "Items", "Length", "Properties")),
        (_is_count, "a whole number, 0 or more"),
    ),
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), (_is_some, "a list of at least one schema")),
    "dependencies": (_is_object, "an object"),
    "dependentRequired": (_is_names_by_name, "an object of lists of names"),
    "enum": (_is_list, "a list"),
    "multipleOf": (_is_above_zero, "a number above 0"),
    "required": (_is_names, "a list of names"),
    "type": (_is_type, "the name of a type or a list of such"),
    "uniqueItems": (_is_flag, "true or false"),
}
