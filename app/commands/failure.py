"""How a command fails. Law: a text that says what to do, on standard error, and exit code 1."""

from collections.abc import Iterable


class CommandFailed(Exception):
    """The command could not do its work; the message is for whoever typed it."""


def listed(lines: Iterable[object]) -> str:
    """Return lines as an indented list that follows a heading."""
    return "".join(f"\n  {line}" for line in lines)
