"""One scalar of the file or the environment becomes one value. Law: pure; a refusal says what is wanted instead."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import inspect

from app.kernel.money import MAX_NUSD, parse_usd
from app.settings.document import Node
from app.settings.suggestions import closest, one_of, shown

_INT = re.compile(r"[-+]?[0-9]{1,30}$")
_USD = re.compile(r"[0-9]{1,12}(\.[0-9]{1,20})?$")
_JSON_LIMIT = 2**63
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class Refused(ValueError):
    """The value is not of the kind wanted; `suggestion` says what to write."""

    def __init__(self, message: str, *, suggestion: str | None = None) -> None:
        self.message = message
        self.suggestion = suggestion
        super().__init__(message)


def named_kind(node: Node) -> str:
    """Return in words what the node holds."""
    kinds: dict[type, str] = {
        dict: "an object",
        list: "a list",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
    }
    return kinds.get(type(node.value), "nothing (null)")


def text_of(node: Node) -> str:
    """Return the node's text; an unquoted `123`, `off` or `2024-10-21` is text where text is wanted."""
    if isinstance(node.value, str):
        return node.value
    if node.text and node.value is not None:
        return node.text
    raise Refused(f"must be text, not {named_kind(node)}")


def boolean_of(node: Node) -> bool:
    """Return the node's truth value; the environment may also say yes, no, on, off, 1 and 0."""
    if isinstance(node.value, bool):
        return node.value
    word = node.value.lower() if isinstance(node.value, str) else ""
    if node.is_text and word in _TRUE | _FALSE:
        return word in _TRUE
    hint = f"write {'true' if word in _TRUE else 'false'}" if word in _TRUE | _FALSE else None
    raise Refused(f"must be true or false, not {named_kind(node)}", suggestion=hint)


def integer_of(node: Node) -> int:
    """Return the node's whole number."""
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node.value, str) and _INT.match(node.value):
        if node.is_text:
            return int(node.value)
        raise Refused("must be a whole number, not text", suggestion=f"write {node.value} without quotes")
    raise Refused(f"must be a whole number, not {named_kind(node)}", suggestion=_plain_integer(node))


def _plain_integer(node: Node) -> str | None:
    if isinstance(node.value, float) and node.value.is_integer():
        return f"write {int(node.value)}"
    if isinstance(node.value, str) and _INT.match(node.value.replace("_", "")):
        return f"write {node.value.replace('_', '')}"
    return None


def number_of(node: Node) -> float:
    """Return the node's finite number."""
    value = node.value
    if isinstance(value, str) and node.is_text:
        value = _parsed_number(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if abs(value) < 1e300 and math.isfinite(value):  # noqa: PLR2004 - beyond it a float overflows
            return float(value)
        raise Refused("must be a finite number")
    raise Refused(f"must be a number, not {named_kind(node)}")


def _parsed_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def choice_of(node: Node, *, choices: tuple[Any, ...]) -> Any:
    """Return the one of the `choices` (texts) that the node holds."""
    text = text_of(node)
    if text in choices:
        return text
    match = closest(text, [str(choice) for choice in choices])
    raise Refused(
        f"must be {one_of(str(choice) for choice in choices)}, not {shown(text)}",
        suggestion=f"did you mean `{match}`?" if match else None,
    )


def usd_of(node: Node) -> int:
    """Return the nano-USD in the node's decimal string of USD."""
    if not isinstance(node.value, str):
        hint = f'write "{node.text}" in quotes' if _is_number(node) else 'such as "0.15"'
        raise Refused(f"must be an amount of USD in quotes, not {named_kind(node)}", suggestion=hint)
    text = node.value.strip()
    hint = 'write a decimal number in quotes, such as "0.15"'
    if not _USD.match(text):
        raise Refused(f"must be a plain decimal amount of USD, not {shown(text)}", suggestion=hint)
    try:
        return parse_usd(text)
    except ValueError as error:
        raise Refused(str(error), suggestion=hint) from None


def _is_number(node: Node) -> bool:
    return bool(node.text) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def quantity_of(node: Node, *, siblings: Mapping[str, Node]) -> int:
    """Return a count, or nano-USD if the sibling `dimension` is `cost`."""
    dimension = siblings.get("dimension")
    if dimension is not None and dimension.value == "cost":
        return usd_of(node)
    count = integer_of(node)
    if count > MAX_NUSD:
        raise Refused(f"must be at most {MAX_NUSD}")
    return count


def anything_of(node: Node) -> Any:
    """Return the node's value as JSON has it, which knows no infinity."""
    for leaf in leaves(node):
        if isinstance(leaf, (int, float)) and not -_JSON_LIMIT < leaf < _JSON_LIMIT:
            raise Refused("must hold finite numbers only, whole ones of 64 bits")
    return node.plain()


def leaves(node: Node) -> Iterator[Any]:
    """Yield every scalar in the node."""
    if isinstance(node.value, dict):
        for child in node.value.values():
            yield from leaves(child)
    elif isinstance(node.value, list):
        for child in node.value:
            yield from leaves(child)
    else:
        yield node.value


def within(value: float, info: inspect.IntType | inspect.FloatType) -> None:
    """Raise `Refused` unless the number is in the type's range."""
    if info.ge is not None and value < info.ge:
        raise Refused(f"must be at least {info.ge}")
    if info.gt is not None and value <= info.gt:
        raise Refused(f"must be more than {info.gt}")
    if info.le is not None and value > info.le:
        raise Refused(f"must be at most {info.le}")
    if info.lt is not None and value >= info.lt:
        raise Refused(f"must be less than {info.lt}")


def long_enough(text: str, info: inspect.StrType) -> None:
    """Raise `Refused` unless the text has the type's length and pattern."""
    if info.min_length is not None and len(text) < info.min_length:
        raise Refused("must not be empty" if info.min_length == 1 else f"needs {info.min_length} characters or more")
    if info.max_length is not None and len(text) > info.max_length:
        raise Refused(f"has more than {info.max_length} characters")
    if info.pattern is not None and not re.search(info.pattern, text):
        raise Refused(f"must match `{info.pattern}`")
