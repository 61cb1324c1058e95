"""The changes that an operator makes to request bodies of a model, as pure functions over a decoded body."""

from collections.abc import Mapping
from typing import Any

import msgspec

from app.settings.model import Transform
from providers.types import Edits

NO_EDITS = Edits()
_SYSTEM_ROLES = frozenset({"system", "developer"})


def transform_edits(transform: Transform, document: Mapping[str, Any]) -> Edits:
    """Return the edits for one body. Order: rename, drop, default, set, system_prefix.

    `default` adds only what the client left out; `system_prefix` goes in front of the system message's text, or
    becomes the system message.
    """
    rename = _renames(transform.rename, document)
    names = {rename.get(name, name): name for name in document}
    drop = frozenset(names[name] for name in transform.drop if name in names)
    present = {name for name, old in names.items() if old not in drop}
    values = {name: value for name, value in transform.default.items() if name not in present} | dict(transform.set)
    if transform.system_prefix is not None:
        messages = values.get("messages", document.get("messages"))
        values["messages"] = prefix_system(messages, transform.system_prefix)
    put = {name: msgspec.json.encode(value) for name, value in values.items()}
    return Edits(put=put, drop=drop, rename={old: new for old, new in rename.items() if old not in drop})


def _renames(wanted: Mapping[str, str], document: Mapping[str, Any]) -> dict[str, str]:
    """Return the renames of members that are there; never to a name that another member has or gets."""
    taken = set(document)
    renames = {}
    for old, new in wanted.items():
        if old in document and new not in taken:
            taken.add(new)
            renames[old] = new
    return renames


def prefix_system(messages: Any, prefix: str) -> list[Any]:
    """Return the messages with `prefix` before the first system message's text, or as a new system message."""
    kept = list(messages) if isinstance(messages, list) else []
    for position, message in enumerate(kept):
        if message.get("role") in _SYSTEM_ROLES:
            kept[position] = {**message, "content": _prefix_content(message.get("content"), prefix)}
            return kept
    return [{"role": "system", "content": prefix}, *kept]


def _prefix_content(content: Any, prefix: str) -> Any:
    if isinstance(content, list):
        return [{"type": "text", "text": prefix}, *content]
    return f"{prefix}\n\n{content}" if content else prefix


def apply_edits(document: Mapping[str, Any], edits: Edits) -> dict[str, Any]:
    """Return the decoded body as the edits leave it."""
    kept = {edits.rename.get(name, name): value for name, value in document.items() if name not in edits.drop}
    return kept | {name: msgspec.json.decode(value) for name, value in edits.put.items()}
