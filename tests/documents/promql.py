"""What a PromQL expression names: metrics, and the labels asked of them."""

import re
from typing import NamedTuple

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?(?![\w:]*\s*\()")
_MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_DURATION = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_WORDS = frozenset(
    {
        *("and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "offset"),
        *("sum", "min", "max", "avg", "count", "inf", "nan"),
    }
)


class Named(NamedTuple):
    """Metrics with the labels that are matched on each, and labels that results are grouped by."""

    selectors: list[tuple[str, frozenset[str]]]
    groupings: frozenset[str]


def names_in(expression: str) -> Named:
    """Return what an expression names; its strings are not looked into."""
    plain = _DURATION.sub("", _STRING.sub('""', expression))
    groupings = {name.strip() for found in _GROUPING.findall(plain) for name in found.split(",") if name.strip()}
    plain = _GROUPING.sub("", plain)
    selectors = [
        (name, frozenset(_MATCHER.findall(matchers or "")))
        for name, matchers in _SELECTOR.findall(plain)
        if name not in _WORDS and not plain[plain.find(name) - 1 : plain.find(name)].isdigit()
    ]
    return Named(selectors, frozenset(groupings))
