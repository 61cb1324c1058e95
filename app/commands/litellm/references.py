"""What the foreign file refers to by `os.environ/NAME`, and what it should not hold itself.

Law: a secret is named, never copied.
"""

import re
from collections.abc import Mapping

from app.commands.litellm.report import Report

ENVIRON = "os.environ/"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*$")


class References:
    """Turns references into ours; `environ` is what is set here, for values that ours cannot refer to."""

    def __init__(self, report: Report, *, environ: Mapping[str, str]) -> None:
        self._report = report
        self._environ = environ
        self._variables: dict[str, str] = {}

    def model_of(self, written: str, where: str) -> str | None:
        """Return the name of a model; that of a variable only if it is set here, for nothing else can stand for it."""
        if not written.startswith(ENVIRON):
            return written
        name = written.removeprefix(ENVIRON)
        if not self._environ.get(name):
            self._report.lose(where, f"{name} is not set here: import where it is, or name the model yourself")
            return None
        return self.value_of(written, where, example="")

    def value_of(self, written: str, where: str, *, example: str) -> str:
        """Return text that the file may not refer to a variable for; without the variable, an example to replace."""
        if not written.startswith(ENVIRON):
            return written
        name = written.removeprefix(ENVIRON)
        if self._environ.get(name):
            self._report.change(where, f"the value of {name} was written out, for this is no secret")
            return self._environ[name].strip()
        self._report.change(where, f"{name} is not set here, so write its value in place of `{example}`")
        return example

    def secret_of(self, written: str, where: str, *, variable: str) -> str:
        """Return where a secret is; one that is written out becomes a variable that has to be set."""
        if written.startswith(ENVIRON):
            name = written.removeprefix(ENVIRON)
            if _NAME.match(name):
                return f"env:{name}"
            variable = re.sub(r"\W", "_", name).upper() or variable
        foreign = re.match(r"os\.getenv\(\W*(\w+)\W*\)$|\$\{?(\w+)\}?$", written)
        if foreign:
            return f"env:{foreign[1] or foreign[2]}"
        name = self._variable_for(written, variable)
        self._report.change(where, f"the secret itself is not copied: put it into the variable {name}")
        return f"env:{name}"

    def _variable_for(self, secret: str, variable: str) -> str:
        """Return a variable that nothing else means: one for each secret, the same one for the same secret."""
        if secret not in self._variables:
            taken, number, name = set(self._variables.values()), 2, f"IMPORTED_{variable}"
            while name in taken:
                name, number = f"IMPORTED_{variable}_{number}", number + 1
            self._variables[secret] = name
        return self._variables[secret]
