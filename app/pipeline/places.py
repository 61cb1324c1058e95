"""Where in a client's body something stands that a provider cannot be told, in the words of its dialect."""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.errors import RequestRefused


def place_of(subject: object, document: Mapping[str, Any]) -> str | None:
    """Return the path of the very object `subject` in a decoded body, such as `messages[0].content[1]`.

    `None` if it is not there, or a copy of it.
    """
    waiting: list[tuple[Any, str]] = [(document, "")]
    while waiting:
        value, path = waiting.pop()
        if value is subject:
            return path or None
        waiting += _inner(value, path)
    return None


def _inner(value: Any, path: str) -> Iterable[tuple[Any, str]]:
    if isinstance(value, Mapping):
        members = value.items()
        return [(each, f"{path}.{name}" if path else name) for name, each in members if isinstance(each, dict | list)]
    if isinstance(value, list):
        return [(each, f"{path}[{at}]") for at, each in enumerate(value) if isinstance(each, dict | list)]
    return ()


def tell_place(error: RequestRefused, document: Mapping[str, Any]) -> None:
    """Let a refusal name the place of what it is about: some dialects have nothing but the message to say it in."""
    place = None if error.subject is None else place_of(error.subject, document)
    if place is not None:
        error.param = place
        error.message = f"{place}: {error.message}"
