"""Numbers and units in one spelling: "two hundred and fifty", "1,000", "5k", "3rd". Law: pure and linear."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from app.cache.guards.lexicon import Lexicon

_PRONOUN_AFTER: Final = frozenset(
    {"no", "the", "this", "that", "which", "each", "every", "does", "can", "should", "would", "do", "any"}
)
_PRONOUN_BEFORE: Final = frozenset({"another", "can", "should", "would", "does", "is", "go", ""})
_ORDINAL: Final = frozenset({"st", "nd", "rd", "th"})
_SCALES: Final[Mapping[str, int]] = {
    "k": 1_000,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "bn": 1_000_000_000,
}
_DECADE: Final = (2, 4)
"""How many digits a decade has: 90s, 1990s."""
_MOST_WORDS: Final = 8
_TEN, _TWENTY, _HUNDRED = 10, 20, 100
_MOST_K_DIGITS: Final = 4
"""Behind more digits a "k" is kelvin."""
_NO_UNITS: Final = frozenset({"in", "am", "pm", "sec", "min", "ms", "mi", "bit", "second"})
"""Units that without a number before them are other words."""


class Number(NamedTuple):
    """A number in its one spelling, and of how many words it is: of none where none stands."""

    value: str
    words: int


_NO_NUMBER: Final = Number("", 0)


def number_at(words: list[str], position: int, lexicon: Lexicon) -> Number:
    """Return the number that starts at a position."""
    text = words[position]
    if text[0].isdigit() or (text[0] == "." and len(text) > 1):
        return _NO_NUMBER if any(map(str.isalpha, text)) else _digits(words, position)
    before = words[position - 1] if position else ""
    after = words[position + 1] if position + 1 < len(words) else ""
    if text == "one" and (before in _PRONOUN_AFTER or after in _PRONOUN_BEFORE):
        return _NO_NUMBER
    if text in lexicon.maps["ordinal"]:
        return Number(lexicon.maps["ordinal"][text] + "th", 1)
    if text in lexicon.maps["fraction"]:
        return Number(lexicon.maps["fraction"][text], 1)
    return _spelt(words[position : position + _MOST_WORDS], lexicon)


def unit_at(words: list[str], position: int, lexicon: Lexicon, *, is_behind_number: bool) -> str | None:
    """Return what stands for a unit, or for a sign of money, with `~` if a number is beside it; nothing for a word."""
    text, units, signs = words[position], lexicon.maps["unit"], lexicon.maps["signs"]
    if text in signs:
        return f"~{signs[text]}"
    unit = units.get(text) or units.get(lexicon.forms.base(text))
    if unit is None:
        return None
    if is_behind_number and text not in {"in", "a"}:
        return f"~{unit}"
    beside = words[max(position - 1, 0) : position + 2]
    return unit if "/" in beside or (len(text) > 1 and text not in _NO_UNITS) else None


def _digits(words: list[str], position: int) -> Number:
    text = words[position].replace(",", "")
    after = words[position + 1] if position + 1 < len(words) else ""
    is_whole = text.isdigit() and text.isascii()
    if is_whole and after == "s" and len(text) in _DECADE:
        return Number(f"{text}s", 2)
    if is_whole and after in _ORDINAL:
        return Number(f"{int(text)}th", 2)
    plain = text.replace(".", "", 1)
    if after in _SCALES and plain.isdigit() and plain.isascii() and (after != "k" or len(text) <= _MOST_K_DIGITS):
        return Number(_scaled(text, _SCALES[after]), 2)
    return Number(str(int(text)) if is_whole else text, 1)


def _scaled(text: str, scale: int) -> str:
    whole, _, part = text.partition(".")
    value = int((whole or "0") + part) * scale
    return str(value // 10 ** len(part)) if value % 10 ** len(part) == 0 else f"{text}x{scale}"


def _spelt(words: list[str], lexicon: Lexicon) -> Number:
    """Return the number in words that starts with the first of some."""
    ones, scales, ordinals = lexicon.maps["number"], lexicon.maps["scale"], lexicon.maps["ordinal"]
    total = current = used = 0
    for offset, text in enumerate(words):
        if text in ones and (not used or _fits(current, int(ones[text]))):
            current += int(ones[text])
        elif text in scales and used:
            current = (current or 1) * int(scales[text])
            if int(scales[text]) > _HUNDRED:
                total, current = total + current, 0
        elif used and text in ordinals and _fits(current, int(ordinals[text])):
            return Number(f"{total + current + int(ordinals[text])}th", offset + 1)
        elif text in {"-", "and"} and used and _goes_on(text, words[offset + 1 : offset + 2], ones, current):
            continue
        else:
            break
        used = offset + 1
    return Number(str(total + current), used)


def _fits(current: int, value: int) -> bool:
    """Tell whether a smaller number may follow: "twenty" and "one", "hundred" and "fifty"."""
    if current == 0:
        return True
    behind_tens = current % _TEN == 0 and current % _HUNDRED >= _TWENTY and value < _TEN
    return behind_tens or (current % _HUNDRED == 0 and value < _HUNDRED)


def _goes_on(joint: str, following: list[str], ones: Mapping[str, str], current: int) -> bool:
    """Tell whether a number goes on behind a hyphen or an "and"."""
    is_open = current > 0 if joint == "-" else current >= _HUNDRED
    return is_open and bool(following) and following[0] in ones and _fits(current, int(ones[following[0]]))
