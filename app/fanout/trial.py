"""One validation under way: its schema, its cost so far, and what it has seen. Law: nothing is looked at for free."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from app.fanout.patterns import Allowance
from app.fanout.schemas import Schema

MOST_STEPS: Final = 100_000
"""Some 0.1 s of work."""
_MOST_DEPTH: Final = 120
"""How many schemas may apply one another above the same place."""


class TooCostly(RuntimeError):
    """The validation took more steps than it may."""


Marks = set[str | int]
"""The names or places of a container that have been evaluated."""


class Trial:
    """One validation: its schema, and what it may still cost."""

    __slots__ = ("_allowance", "_depth", "_keywords", "_steps", "schema")

    def __init__(self, schema: Schema, *, keywords: "Keywords", allowance: Allowance) -> None:
        self.schema = schema
        self._keywords = keywords
        self._allowance = allowance
        self._steps = MOST_STEPS
        self._depth = 0

    def spend(self, steps: int) -> None:
        """Count steps. Raises `TooCostly` when there are none left."""
        self._steps -= steps
        if self._steps < 0:
            raise TooCostly

    def matches(self, pattern: str, text: str) -> bool:
        """Whether a pattern of the schema matches a text."""
        self.spend(1)
        return self.schema.patterns[pattern].is_in(text, allowance=self._allowance)

    def weigh(self, value: Any) -> None:
        """Count a step for every value inside a value."""
        layer = [value]
        while layer:
            self.spend(len(layer))
            layer = [
                item
                for held in layer
                if isinstance(held, dict | list)
                for item in (held.values() if isinstance(held, dict) else held)
            ]

    def check(self, schema: Any, value: Any) -> Marks | None:
        """Return what of a valid value was evaluated; `None` if the value is not valid."""
        if isinstance(schema, bool):
            self.spend(1)
            return set() if schema else None
        self.spend(1 + len(schema))
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise TooCostly
        marks: Marks = set()
        words = [word for word in schema if word in self._keywords]
        words.sort(key=LATE.__contains__)
        for word in words:
            kinds, holds = self._keywords[word]
            if isinstance(value, kinds) and not holds(Look(self, schema, schema[word], value, marks)):
                marks = _INVALID
                break
        self._depth -= 1
        return None if marks is _INVALID else marks

    def adds(self, schema: Any, value: Any, *, marks: Marks) -> bool:
        """Whether a value is valid; what was evaluated is added to `marks`."""
        found = self.check(schema, value)
        if found is not None:
            marks |= found
        return found is not None


_INVALID: Final[Marks] = {"invalid"}


class Look(NamedTuple):
    """One keyword of a schema and the value that it speaks of."""

    trial: Trial
    schema: Mapping[str, Any]
    argument: Any
    value: Any
    marks: Marks

    def each(self, places: Iterable[Any], schema: Any) -> bool:
        """Whether the members at some places are all valid; they are marked."""
        for place in places:
            if self.trial.check(schema, self.value[place]) is None:
                return False
            self.marks.add(place)
        return True


Keywords = Mapping[str, tuple[Any, Callable[[Look], bool]]]
"""For each keyword the types of the values that it speaks of, and whether such a value is right."""
LATE: Final = frozenset({"unevaluatedItems", "unevaluatedProperties"})
"""They speak of what the other keywords have left."""
