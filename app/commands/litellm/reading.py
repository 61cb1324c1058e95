"""Reads the foreign file as LiteLLM does, and hands out its keys one by one.

Law: what nobody took is in the report at the end.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from app.commands.failure import CommandFailed
from app.commands.litellm.report import Report

MAX_BYTES = 4 * 1024 * 1024
_MAX_INCLUDED = 32
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class Section:
    """An object of the file: its keys are taken, and what is left is reported."""

    def __init__(self, value: Mapping[Any, Any], path: str, report: Report) -> None:
        self._left = {str(key): item for key, item in value.items()}
        self.path = path
        self.report = report

    def at(self, key: str) -> str:
        """Return the path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, *keys: str) -> bool:
        """Tell whether one of the keys is written and not empty."""
        return any(self._left.get(key) not in (None, "") for key in keys)

    def fill(self, values: Mapping[Any, Any]) -> None:
        """Add keys that are not written."""
        self._left = {str(key): value for key, value in values.items()} | self._left

    def take(self, key: str) -> Any:
        """Return the value of a key as it was written, `None` if it is absent or empty."""
        return self._left.pop(key, None)

    def text(self, *keys: str) -> str | None:
        """Return the text of the first of the keys that has one; the others are taken with it, and reported."""
        found = self._first(keys)
        return None if found is None else found[1]

    def _first(self, keys: Sequence[str]) -> tuple[str, str] | None:
        written = [(key, text) for key in keys if (text := self._scalar(key))]
        for key, _ in written[1:]:
            self.report.change(self.at(key), f"is passed over, for `{written[0][0]}` is written too")
        return written[0] if written else None

    def _scalar(self, key: str) -> str | None:
        value = self.take(key)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value).strip()
        if value is not None:
            self.report.lose(self.at(key), "is not the text that is wanted there")
        return None

    def number(self, *keys: str) -> float | None:
        """Return the number of the first of the keys that has one; `"30"` and `1e-06` are numbers, too."""
        found = self._first(keys)
        if found is None:
            return None
        key, text = found
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
        self.report.lose(self.at(key), "is not a number; a variable of the environment cannot stand for one")
        return None

    def flag(self, key: str) -> bool | None:
        """Return whether a key is set, `None` if it is absent."""
        value = self.take(key)
        if value is None or isinstance(value, bool):
            return value
        word = str(value).lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        self.report.lose(self.at(key), "is neither true nor false")
        return None

    def section(self, key: str) -> "Section":
        """Return an object; an empty one where there is none."""
        value = self.take(key)
        if value is not None and not isinstance(value, dict):
            self.report.lose(self.at(key), "is not an object")
        return Section(value if isinstance(value, dict) else {}, self.at(key), self.report)

    def items(self, key: str) -> list[tuple[str, Any]]:
        """Return the elements of a list with their paths; a lone value is a list of one."""
        value = self.take(key)
        if value is None:
            return []
        elements = value if isinstance(value, list) else [value]
        return [(f"{self.at(key)}[{index}]", element) for index, element in enumerate(elements)]

    def ignore(self, *keys: str) -> None:
        """Take keys that need no equal, for they change nothing that a client or an operator would miss."""
        for key in keys:
            self._left.pop(key, None)

    def rest(self) -> Iterator[tuple[str, Any]]:
        """Take and yield every key that is left."""
        while self._left:
            key = next(iter(self._left))
            yield key, self._left.pop(key)

    def lose_rest(self, reasons: Mapping[str, str], otherwise: str) -> None:
        """Report every key that is left, with the reason for its name."""
        for key, _ in self.rest():
            self.report.lose(self.at(key), reasons.get(key, otherwise))


def read(path: Path, report: Report) -> Section:
    """Return the file with those that it includes; raises `CommandFailed` if one of them cannot be read."""
    root = _load(path)
    includes = root.pop("include", None) or []
    if not isinstance(includes, list) or len(includes) > _MAX_INCLUDED:
        raise CommandFailed(f"the file {path} includes what is no list of at most {_MAX_INCLUDED} files")
    for name in includes:
        _merge(root, _load(path.parent / str(name)))
    return Section(root, "", report)


def _merge(root: dict[Any, Any], more: dict[Any, Any]) -> None:
    """Add an included file: lists grow, and what both set is that of the included one, as LiteLLM does."""
    for key, value in more.items():
        mine = root.get(key)
        if isinstance(mine, list) and isinstance(value, list):
            root[key] = [*mine, *value]
        else:
            root[key] = value


def _load(path: Path) -> dict[Any, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"the file {path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise CommandFailed(f"the file {path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        root = yaml.safe_load(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise CommandFailed(f"the file {path} is not UTF-8 text") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CommandFailed(f"the file {path} is not YAML: {_place_of(error)}") from None
    if not isinstance(root, dict):
        raise CommandFailed(f"the file {path} is no LiteLLM configuration: it holds no object")
    return root


def _place_of(error: Exception) -> str:
    """Return where the YAML breaks, without the text around it, which may be a secret."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or type(error).__name__
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem
