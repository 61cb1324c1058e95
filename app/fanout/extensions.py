"""Finds the strategies and scorers that other packages publish. Law: a package is loaded when it is first named.

A strategy is published in the entry points `llm_gateway.strategies`, as a callable that takes a `FanoutSpec` and
returns a `Strategy`; a scorer of `best_of` in `llm_gateway.scorers`, as a callable that takes the text of the question
and the list of answers and returns a number for each.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

STRATEGIES: Final = "llm_gateway.strategies"
SCORERS: Final = "llm_gateway.scorers"

Scorer = Callable[[str, list[str]], list[float]]


class BrokenExtension(RuntimeError):
    """A third party's strategy or scorer cannot be loaded."""


class Extensions:
    """The strategies and scorers that are installed. What is published is looked up once, when first asked for."""

    __slots__ = ("_loaded", "_published")

    def __init__(self) -> None:
        self._published: dict[str, dict[str, EntryPoint]] = {}
        self._loaded: dict[tuple[str, str], Callable[..., Any]] = {}

    def names(self, group: str) -> list[str]:
        """Return the names that are published in a group, sorted."""
        return sorted(self._of(group))

    def load(self, group: str, name: str) -> Callable[..., Any]:
        """Return what is published under a name. Raises `LookupError` and `BrokenExtension`."""
        found = self._loaded.get((group, name))
        if found is None:
            found = self._loaded[group, name] = _load(self._of(group)[name])
        return found

    def _of(self, group: str) -> dict[str, EntryPoint]:
        if group not in self._published:
            self._published[group] = {point.name: point for point in entry_points(group=group)}
        return self._published[group]


def _load(point: EntryPoint) -> Callable[..., Any]:
    try:
        found = point.load()
    except Exception as error:
        raise BrokenExtension(f"{point.name!r} ({point.value}) cannot be loaded: {error}") from error
    if not callable(found):
        raise BrokenExtension(f"{point.name!r} ({point.value}) cannot be called")
    made: Callable[..., Any] = found
    return made
