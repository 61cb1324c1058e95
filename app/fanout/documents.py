"""JSON that models write: found in their text, read within bounds, and compared by value.

Law: pure and bounded. Whatever is not plain JSON of moderate size is absent rather than half understood.
"""

import json
from collections.abc import Hashable
from decimal import Decimal
from typing import Any, Final, NoReturn

MOST_CHARACTERS: Final = 1 << 18
"""A longer text is not read as JSON."""
MOST_LEVELS: Final = 64
_MOST_DIGITS: Final = 1_000
_MOST_EXPONENT: Final = 400
_FENCE: Final = "```"
_LANGUAGES: Final = frozenset({"", "json"})


class NotJson(ValueError):
    """The text is no JSON document that can be used."""


def document_in(text: str) -> Any:
    """Return the JSON document that a text is, or that stands in the only fence of it.

    Numbers with a fraction or an exponent are `Decimal`s. Raises `NotJson`, also for a document of more than 64 levels,
    for a name given twice, and for numbers beyond all measure.
    """
    if len(text) > MOST_CHARACTERS:
        raise NotJson("the text is too long")
    try:
        return read(text)
    except NotJson:
        blocks = _fenced(text)
        if len(blocks) != 1:
            raise
    return read(blocks[0])


def _fenced(text: str) -> list[str]:
    """Return what stands in the fences of a text that are of JSON or say nothing of their language."""
    blocks: list[str] = []
    language, lines = None, list[str]()
    for line in text.splitlines():
        mark = line.strip()
        if language is None and mark.startswith(_FENCE):
            language, lines = mark.removeprefix(_FENCE).strip().lower(), []
        elif mark == _FENCE:
            blocks += ["\n".join(lines)] if language in _LANGUAGES else []
            language = None
        else:
            lines.append(line)
    return blocks


def read(text: str) -> Any:
    """Return the document that a text is. Raises `NotJson`."""
    try:
        document = _DECODER.decode(text.strip())
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from None
    if levels(document) > MOST_LEVELS:
        raise NotJson("the document has too many levels")
    return document


def levels(document: Any, *, most: int = MOST_LEVELS) -> int:
    """Return how deep a document is nested, a plain value being 0; anything beyond `most` is `most + 1`."""
    layer, depth = [document], 0
    while depth <= most:
        layer = [item for value in layer if isinstance(value, dict | list) for item in _members(value)]
        if not layer:
            return depth
        depth += 1
    return depth


def _members(value: dict[str, Any] | list[Any]) -> list[Any]:
    """Return what a container holds; something even if it is empty, so that it counts as a level."""
    members = list(value.values()) if isinstance(value, dict) else value
    return members or [None]


def frozen(value: Any) -> Hashable:
    """Return a key that is equal for equal JSON values: names in any order, numbers in any form, `1` unlike `true`."""
    match value:
        case bool() | None:
            return (value,)
        case str():
            return value
        case int() | float() | Decimal():
            return ("number", canonical_number(value))
        case list():
            return ("list", *(frozen(item) for item in value))
        case dict():
            return ("object", *sorted(((name, frozen(item)) for name, item in value.items()), key=_name))
    raise TypeError(type(value).__name__)


def _name(member: tuple[str, Hashable]) -> str:
    return member[0]


def exact(number: float | Decimal) -> Decimal:
    """Return a number as the decimal that it is written as."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def canonical_number(number: float | Decimal) -> str:
    """Return the one way to write a finite number: its digits without zeros at either end, and an exponent."""
    if isinstance(number, int):
        sign, text, exponent = number < 0, str(abs(number)), 0
    else:
        sign, digits, exponent = _taken_apart(exact(number))
        text = "".join(map(str, digits)).lstrip("0")
    short = text.rstrip("0")
    if not short:
        return "0"
    return f"{'-' if sign else ''}{short}e{exponent + len(text) - len(short)}"


def _taken_apart(number: Decimal) -> tuple[bool, tuple[int, ...], int]:
    sign, digits, exponent = number.as_tuple()
    return bool(sign), digits, int(exponent)


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise NotJson("a number has too many digits")
    return int(text)


def _broken(text: str) -> Decimal:
    if len(text) > _MOST_DIGITS:
        raise NotJson("a number has too many digits")
    number = Decimal(text)
    if number and abs(number.adjusted()) > _MOST_EXPONENT:
        raise NotJson("a number is too large or too small")
    return number


def _no_constant(text: str) -> NoReturn:
    raise NotJson(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("a name is given twice")
    return found


_DECODER: Final = json.JSONDecoder(
    parse_int=_whole, parse_float=_broken, parse_constant=_no_constant, object_pairs_hook=_object
)
