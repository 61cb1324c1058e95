"""References to secrets: `env:NAME` and `file:/path`. Law: no message repeats a value, only names and paths."""

import re
from collections.abc import Mapping
from pathlib import Path

from app.settings.document import is_clean
from app.settings.suggestions import closest

MAX_SECRET_BYTES = 64 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*$")
_FOREIGN = re.compile(r"(?:os\.environ/|\$\{?|\{\{\s*env\.|env://|ENV:)([A-Za-z_][A-Za-z0-9_]*)")


class BadReference(ValueError):
    """The text does not lead to a secret; `suggestion` says how to mend that."""

    def __init__(self, message: str, *, suggestion: str | None = None) -> None:
        self.message = message
        self.suggestion = suggestion
        super().__init__(message)


def is_reference(text: str) -> bool:
    """Tell whether the text says where a secret is, rather than what it is."""
    return text.startswith(("env:", "file:")) and not text.startswith("env://")


def referenced_variable(text: str) -> str | None:
    """Return the environment variable that the text refers to, if any."""
    return text.removeprefix("env:") if text.startswith("env:") else None


def resolve(text: str, *, environ: Mapping[str, str]) -> str:
    """Return what `env:NAME` or `file:/path` refers to, without the line end that editors and `echo` leave.

    Raises `BadReference` if it refers to nothing, or is no reference.
    """
    if not is_reference(text):
        raise BadReference(
            "a secret is not written here, but where it is: an environment variable or a file",
            suggestion=_rewritten(text, environ),
        )
    value = _variable(text[4:], environ) if text.startswith("env:") else _file(text[5:])
    stripped = value.strip("\r\n")
    if not stripped.strip():
        raise BadReference(f"`{text}` is empty")
    return stripped


def _rewritten(text: str, environ: Mapping[str, str]) -> str:
    foreign = _FOREIGN.match(text)
    if foreign:
        return f'write "env:{foreign[1]}"'
    if text in environ:
        return f'write "env:{text}"'
    return 'write "env:NAME" or "file:/path"'


def _variable(name: str, environ: Mapping[str, str]) -> str:
    if not _NAME.match(name):
        raise BadReference("`env:` is followed by the name of a variable", suggestion='such as "env:OPENAI_API_KEY"')
    value = environ.get(name)
    if value and not is_clean(value):
        raise BadReference(f"the environment variable {name} is not UTF-8 text")
    if value:
        return value
    problem = "is not set" if value is None else "is empty"
    match = closest(name, environ) if value is None else None
    raise BadReference(
        f"the environment variable {name} {problem}",
        suggestion=f'did you mean "env:{match}"?' if match else f"set {name}",
    )


def _file(name: str) -> str:
    path = Path(name)
    if not path.is_absolute():
        raise BadReference("`file:` is followed by an absolute path", suggestion='such as "file:/run/secrets/openai"')
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise BadReference(f"the file {name} cannot be read: {error.strerror}") from None
    except ValueError:
        raise BadReference("`file:` is followed by something that cannot be a path") from None
    if len(content) > MAX_SECRET_BYTES:
        raise BadReference(f"the file {name} is larger than a secret may be (64 KiB)")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadReference(f"the file {name} is not UTF-8 text") from None
