"""What can be wrong with the settings. Law: every fault has the path of its setting, and none echoes a secret."""

from typing import Literal

import msgspec

Severity = Literal["error", "warning"]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong: where, what, and how to mend it.

    `path` is dotted, as in `models.gpt-4o-mini.targets[0].provider`, or empty for the file as a whole. `line` is the
    line of the file, from 1. `origin` says where the value came from. A `warning` does not stop the start.
    """

    path: str
    message: str
    suggestion: str | None = None
    severity: Severity = "error"
    line: int | None = None
    origin: str | None = None

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin else ""
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{where}{path}{self.message}{hint}"


class SettingsError(Exception):
    """The settings are wrong; `faults` holds every error and warning, in the order of the file."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        errors = [fault for fault in faults if fault.severity == "error"]
        super().__init__("\n".join(str(fault) for fault in errors))
