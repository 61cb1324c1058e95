"""What the checks look at, and what they find."""

from collections.abc import Callable, Collection, Mapping, Sequence

from app.settings.document import Node
from app.settings.faults import Fault, Severity
from app.settings.model import Settings

IsPriced = Callable[[str, str], bool]
"""Tells whether the catalogue has a price for a model of an adapter."""


class Findings:
    """The settings as read, where each was written, and the faults found so far.

    `names` holds, for each section of named objects, every name that was written, also of those that could not be
    read. `known_models` are the names served without `models`, `None` if unknown. `key_variables` are, by adapter, the
    variables that commonly hold its credential.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        marks: Mapping[str, Node],
        names: Mapping[str, Collection[str]],
        known_models: Collection[str] | None = None,
        is_priced: IsPriced | None = None,
        key_variables: Mapping[str, Sequence[str]] | None = None,
        takes_secrets: bool = False,
    ) -> None:
        """Begin with no faults; with `takes_secrets` a secret is written itself, not where it is."""
        self.settings = settings
        self.takes_secrets = takes_secrets
        self.names = names
        self.known_models = known_models
        self.is_priced = is_priced
        self.key_variables = key_variables or {}
        self.faults: list[Fault] = []
        self._marks = marks

    def is_set(self, path: str) -> bool:
        """Tell whether the setting at `path` was written, in the file or the environment."""
        return path in self._marks

    def is_from_file(self, path: str) -> bool:
        """Tell whether the setting at `path` was written in the file."""
        return path in self._marks and self._marks[path].line is not None

    def is_text(self, path: str, prefix: str) -> bool:
        """Tell whether what was written at `path` is text that begins with `prefix`."""
        value = self._marks[path].value if path in self._marks else None
        return isinstance(value, str) and value.startswith(prefix)

    def error(self, path: str, message: str, *, suggestion: str | None = None) -> None:
        """Record what must not be."""
        self._add(path, message, suggestion, severity="error")

    def warn(self, path: str, message: str, *, suggestion: str | None = None) -> None:
        """Record what has no effect, or not the one meant."""
        self._add(path, message, suggestion, severity="warning")

    def _add(self, path: str, message: str, suggestion: str | None, *, severity: Severity) -> None:
        mark = self._mark(path)
        self.faults.append(
            Fault(
                path=path,
                message=message,
                suggestion=suggestion,
                severity=severity,
                line=mark.line if mark else None,
                origin=mark.origin if mark else None,
            )
        )

    def _mark(self, path: str) -> Node | None:
        """Return the node at `path`, or of its nearest parent that was written."""
        while path and path not in self._marks:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._marks.get(path) if path else None
