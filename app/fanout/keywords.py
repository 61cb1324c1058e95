"""The keywords of JSON Schema, one function each: whether a value is right. Law: pure; each pays for what it looks at.

A function is asked only about values of the type that its keyword speaks of. Source: JSON Schema 2020-12, Core and
Validation.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from app.fanout.documents import exact, frozen
from app.fanout.trial import Keywords, Look

_STEPS_OF_DIVISION: Final = 10


def _has_type(look: Look) -> bool:
    names = look.argument if isinstance(look.argument, list) else [look.argument]
    return any(_is_of(name, look.value) for name in names)


def _is_of(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, Decimal) and value == value.to_integral_value())
    return isinstance(value, _KINDS[name])


_NUMBER: Final = (int, Decimal)
_KINDS: Final[Mapping[str, Any]] = {
    "array": list,
    "boolean": bool,
    "null": type(None),
    "number": _NUMBER,
    "object": dict,
    "string": str,
}


def _is_option(look: Look) -> bool:
    look.trial.weigh(look.value)
    return frozen(look.value) in look.trial.schema.options[id(look.argument)]


def _is_constant(look: Look) -> bool:
    look.trial.weigh(look.value)
    look.trial.weigh(look.argument)
    return frozen(look.value) == frozen(look.argument)


def _has_no_equals(look: Look) -> bool:
    if not look.argument:
        return True
    look.trial.weigh(look.value)
    return len({frozen(item) for item in look.value}) == len(look.value)


def _is_multiple(look: Look) -> bool:
    look.trial.spend(_STEPS_OF_DIVISION)
    return isinstance(look.value, bool) or Fraction(look.value) % Fraction(exact(look.argument)) == 0


def _compares(holds: Callable[[Any, Any], bool]) -> Callable[[Look], bool]:
    def compares(look: Look) -> bool:
        return isinstance(look.value, bool) or holds(look.value, exact(look.argument))

    return compares


def _counts(holds: Callable[[Any, Any], bool]) -> Callable[[Look], bool]:
    def counts(look: Look) -> bool:
        return holds(len(look.value), look.argument)

    return counts


def _matches(look: Look) -> bool:
    return look.trial.matches(look.argument, look.value)


def _has_required(look: Look) -> bool:
    look.trial.spend(len(look.argument))
    return all(name in look.value for name in look.argument)


def _has_dependents(look: Look) -> bool:
    for name, wanted in look.argument.items():
        look.trial.spend(1)
        if name not in look.value:
            continue
        if isinstance(wanted, list):
            look.trial.spend(len(wanted))
            if not all(other in look.value for other in wanted):
                return False
        elif not look.trial.adds(wanted, look.value, marks=look.marks):
            return False
    return True


def _has_properties(look: Look) -> bool:
    look.trial.spend(len(look.value))
    return all(look.each([name], look.argument[name]) for name in look.value if name in look.argument)


def _has_pattern_properties(look: Look) -> bool:
    return all(
        look.each([name], schema)
        for pattern, schema in look.argument.items()
        for name in look.value
        if look.trial.matches(pattern, name)
    )


def _has_additional_properties(look: Look) -> bool:
    named, patterns = look.schema.get("properties", {}), look.schema.get("patternProperties", {})
    look.trial.spend(len(look.value))
    others = [
        name
        for name in look.value
        if name not in named and not any(look.trial.matches(pattern, name) for pattern in patterns)
    ]
    return look.each(others, look.argument)


def _has_unevaluated(look: Look) -> bool:
    look.trial.spend(len(look.value))
    places = look.value if isinstance(look.value, dict) else range(len(look.value))
    return look.each([place for place in places if place not in look.marks], look.argument)


def _has_names(look: Look) -> bool:
    return all(look.trial.check(look.argument, name) is not None for name in look.value)


def _starts_with(look: Look) -> bool:
    return all(look.each([at], schema) for at, schema in enumerate(look.argument[: len(look.value)]))


def _has_items(look: Look) -> bool:
    if isinstance(look.argument, list):
        return _starts_with(look)
    return look.each(range(len(look.schema.get("prefixItems", [])), len(look.value)), look.argument)


def _has_more_items(look: Look) -> bool:
    first = look.schema.get("items")
    return not isinstance(first, list) or look.each(range(len(first), len(look.value)), look.argument)


def _contains(look: Look) -> bool:
    found = [at for at, item in enumerate(look.value) if look.trial.check(look.argument, item) is not None]
    look.marks.update(found)
    return bool(look.schema.get("minContains", 1) <= len(found) <= look.schema.get("maxContains", len(found)))


def _is_all(look: Look) -> bool:
    return all(look.trial.adds(schema, look.value, marks=look.marks) for schema in look.argument)


def _is_any(look: Look) -> bool:
    return _how_many(look) > 0  # all are asked, for what they mark


def _is_one(look: Look) -> bool:
    return _how_many(look) == 1


def _how_many(look: Look) -> int:
    return sum(look.trial.adds(schema, look.value, marks=look.marks) for schema in look.argument)


def _is_not(look: Look) -> bool:
    return look.trial.check(look.argument, look.value) is None


def _is_conditional(look: Look) -> bool:
    is_so = look.trial.adds(look.argument, look.value, marks=look.marks)
    return look.trial.adds(look.schema.get("then" if is_so else "else", True), look.value, marks=look.marks)


def _is_referred(look: Look) -> bool:
    return look.trial.adds(look.trial.schema.references[look.argument], look.value, marks=look.marks)


def _at_least(value: Any, bound: Any) -> bool:
    return bool(value >= bound)


def _at_most(value: Any, bound: Any) -> bool:
    return bool(value <= bound)


def _above(value: Any, bound: Any) -> bool:
    return bool(value > bound)


def _below(value: Any, bound: Any) -> bool:
    return bool(value < bound)


KEYWORDS: Final[Keywords] = {
    "$ref": (object, _is_referred),
    "additionalItems": (list, _has_more_items),
    "additionalProperties": (dict, _has_additional_properties),
    "allOf": (object, _is_all),
    "anyOf": (object, _is_any),
    "const": (object, _is_constant),
    "contains": (list, _contains),
    "dependencies": (dict, _has_dependents),
    "dependentRequired": (dict, _has_dependents),
    "dependentSchemas": (dict, _has_dependents),
    "enum": (object, _is_option),
    "exclusiveMaximum": (_NUMBER, _compares(_below)),
    "exclusiveMinimum": (_NUMBER, _compares(_above)),
    "if": (object, _is_conditional),
    "items": (list, _has_items),
    "maxItems": (list, _counts(_at_most)),
    "maxLength": (str, _counts(_at_most)),
    "maxProperties": (dict, _counts(_at_most)),
    "maximum": (_NUMBER, _compares(_at_most)),
    "minItems": (list, _counts(_at_least)),
    "minLength": (str, _counts(_at_least)),
    "minProperties": (dict, _counts(_at_least)),
    "minimum": (_NUMBER, _compares(_at_least)),
    "multipleOf": (_NUMBER, _is_multiple),
    "not": (object, _is_not),
    "oneOf": (object, _is_one),
    "pattern": (str, _matches),
    "patternProperties": (dict, _has_pattern_properties),
    "prefixItems": (list, _starts_with),
    "properties": (dict, _has_properties),
    "propertyNames": (dict, _has_names),
    "required": (dict, _has_required),
    "type": (object, _has_type),
    "unevaluatedItems": (list, _has_unevaluated),
    "unevaluatedProperties": (dict, _has_unevaluated),
    "uniqueItems": (list, _has_no_equals),
}
