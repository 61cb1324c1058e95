"""What became of the keys that have no equal here. Law: in the order of finding, each once."""

from collections.abc import Iterator

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One key of the foreign file, by its path, and what there is to know."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Report:
    """Collects what is `lost`, and what is `changed`: carried over, but to be looked at."""

    def __init__(self) -> None:
        self._lost: dict[Finding, None] = {}
        self._changed: dict[Finding, None] = {}

    def lose(self, path: str, reason: str) -> None:
        """Record a key that is not carried over."""
        self._lost[Finding(path, reason)] = None

    def change(self, path: str, reason: str) -> None:
        """Record a key that is carried over with another meaning, or that leaves something to do."""
        self._changed[Finding(path, reason)] = None

    @property
    def lost(self) -> tuple[Finding, ...]:
        """What is not carried over."""
        return tuple(self._lost)

    @property
    def changed(self) -> tuple[Finding, ...]:
        """What is carried over, and to be looked at."""
        return tuple(self._changed)

    def lines(self) -> Iterator[str]:
        """Yield the report for people: two headed lists, those that are not empty."""
        for heading, findings in (
            ("Not carried over", self.lost),
            ("Carried over; please look at", self.changed),
        ):
            if findings:
                yield f"{heading}:"
                yield from (f"  {finding}" for finding in findings)
