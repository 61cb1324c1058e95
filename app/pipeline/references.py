"""References to state that a vendor stored: files, earlier answers, conversations, threads, containers, cached prompts.

Whoever knows an id at a vendor can use it with the vendor's key, so an id may be another tenant's.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_FIELDS = frozenset(
    {
        "previous_response_id",
        "conversation",
        "container",
        "file_id",
        "file_ids",
        "vector_store_ids",
        "cachedContent",
        "cached_content",
    }
)
_TURNS = ("messages", "contents", "input")
_INSTRUCTIONS = ("systemInstruction", "system_instruction")
_PARTS = ("content", "parts", "output")
_OF_CLIENT = frozenset({"function", "custom", "input", "args", "response", "parameters"})
"""Objects whose members the client names as it likes."""
_ANSWERS = frozenset({"functionResponse", "function_response"})
"""Parts of Google's that hold parts themselves."""
_ITEM = "item_reference"
_THREAD, _LAST_MESSAGE = "thread", "previous_message_id"
_GOOGLE_FILES = "generativelanguage.googleapis.com"


class Reference(NamedTuple):
    """A reference that a body makes: the path of its field, what kind it is, and the id, where it is a single one."""

    path: str
    kind: str
    id: str | None


def find_references(document: Mapping[str, Any]) -> list[Reference]:
    """Return the references that a body makes, in any dialect; none for nearly all bodies."""
    found = [reference for name in _FIELDS & document.keys() for reference in _named(name, name, document[name])]
    thread = document.get(_THREAD)
    if isinstance(thread, dict) and _LAST_MESSAGE in thread:
        found += _named(f"{_THREAD}.{_LAST_MESSAGE}", _THREAD, thread[_LAST_MESSAGE])
    for name in _TURNS:
        if name in document:
            for path, turn in _objects_in(document[name], name):
                found += _in_turn(turn, path)
    for name in _INSTRUCTIONS:
        if isinstance(instruction := document.get(name), dict):
            found += _in_turn(instruction, name)
    if document.get("tools"):
        for path, tool in _objects_in(document["tools"], "tools"):
            found += _in_object(tool, path)
    return found


def _in_turn(turn: Mapping[str, Any], path: str) -> Iterator[Reference]:
    """Yield the references of a message, or of an item that is a reference itself."""
    if turn.get("type") == _ITEM:
        yield from _named(f"{path}.id", _ITEM, turn.get("id"))
    for name in _PARTS:
        parts = turn.get(name)
        if type(parts) is list:
            for place, part in _objects_in(parts, f"{path}.{name}"):
                yield from _in_object(part, place)
                if type(part.get("content")) is list:
                    yield from _in_turn(part, place)
                for answer in _ANSWERS & part.keys():
                    if isinstance(part[answer], dict):
                        yield from _in_turn(part[answer], f"{place}.{answer}")


def _objects_in(items: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a list with their paths; nothing of what is no list."""
    if isinstance(items, list):
        for position, item in enumerate(items):
            if isinstance(item, dict):
                yield f"{path}[{position}]", item


def _in_object(value: Mapping[str, Any], path: str) -> Iterator[Reference]:
    """Yield each reference in an object or in an object directly inside it, as in `{"file": {…}}`.

    A function's parameters are a schema, whose words are the client's own.
    """
    for name, inner in value.items():
        if name in _FIELDS:
            yield from _named(f"{path}.{name}", name, inner)
        elif isinstance(inner, dict) and name not in _OF_CLIENT:
            yield from _in_inner(inner, f"{path}.{name}")


def _in_inner(inner: Mapping[str, Any], path: str) -> Iterator[Reference]:
    for name, value in inner.items():
        if name in _FIELDS:
            yield from _named(f"{path}.{name}", name, value)
        elif name in {"fileUri", "file_uri"} and _is_google_file(value):
            yield Reference(f"{path}.{name}", "file_id", value)


def _named(path: str, kind: str, value: Any) -> Iterator[Reference]:
    """Yield what a field that refers names: an id, several, or an object that has one.

    An object without an id asks for something new (`{"type": "auto"}`), perhaps out of files that it names.
    """
    if isinstance(value, str):
        yield Reference(path, kind, value)
    elif isinstance(value, list):
        yield from (Reference(path, kind, item if isinstance(item, str) else None) for item in value)
    elif isinstance(value, dict):
        named = {name: value[name] for name in (_FIELDS | {"id"}) & value.keys()}
        for name, inner in named.items():
            yield from _named(f"{path}.{name}" if name != "id" else path, kind, inner)
    elif value is not None:
        yield Reference(path, kind, None)


def _is_google_file(uri: Any) -> bool:
    """Whether a URI names a file of Gemini's Files API, or of Cloud Storage, where the gateway's account reads it."""
    try:
        is_stored = isinstance(uri, str) and uri.startswith(("files/", "gs://"))
        return is_stored or (isinstance(uri, str) and urlsplit(uri).hostname == _GOOGLE_FILES)
    except ValueError:
        return False
