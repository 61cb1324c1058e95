"""The changes that an operator makes to request bodies of a model, as pure functions over a decoded body."""

from collections.abc import Mapping
from typing import Any

import msgspec

from app.routing.vocabulary import CHAT, Vocabulary, member
from app.settings.model import Transform
from providers.types import Edits

NO_EDITS = Edits()


def transform_edits(transform: Transform, document: Mapping[str, Any], vocabulary: Vocabulary = CHAT) -> Edits:
    """Return the edits for one body, whose dialect says the transform's names as `vocabulary` does.

    Order: rename, drop, default, set, system_prefix. `default` adds only what the client left out; `system_prefix` goes
    in front of the system message's text, or becomes the system message. What the dialect has no word for is left out.
    """
    lacks = vocabulary.lacks
    defaults, given, drops = (
        {vocabulary.path_in(document, name): value for name, value in members.items()}
        for members in (
            _without(transform.default, lacks),
            _without(transform.set, lacks),
            dict.fromkeys(transform.drop),
        )
    )
    rename = _renames(transform.rename, document)
    names = {rename.get(name, name): name for name in document}
    drop = frozenset(names[name] for name in drops if name in names)
    present = {name for name, old in names.items() if old not in drop}
    missing = {name: value for name, value in defaults.items() if not _is_said(document, name, present)}
    values = missing | given
    values = _nested(document, values, drops={name for name in drops if "." in name})
    if transform.system_prefix is not None:
        values |= vocabulary.system_prefix({**document, **values}, transform.system_prefix)
    put = {name: msgspec.json.encode(value) for name, value in values.items()}
    return Edits(put=put, drop=drop, rename={old: new for old, new in rename.items() if old not in drop})


def edits_for(transform: Transform | None, document: Mapping[str, Any], *, vocabulary: Vocabulary, own: Edits) -> Edits:
    """Return an operator's edits for one body, with our `own` after them."""
    if transform is None:
        return own
    edits = transform_edits(transform, document, vocabulary)
    if own is NO_EDITS:
        return edits
    return msgspec.structs.replace(edits, put={**edits.put, **own.put}, drop=edits.drop | own.drop)


def _without(members: Mapping[str, Any], names: frozenset[str]) -> Mapping[str, Any]:
    return members if names.isdisjoint(members) else {n: value for n, value in members.items() if n not in names}


def unwritten(transform: Transform, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the fields of a transform that `transform_edits` does not write, for the dialect has no word for them."""
    return tuple(sorted(vocabulary.lacks.intersection((*transform.default, *transform.set))))


def _is_said(document: Mapping[str, Any], path: str, present: set[str]) -> bool:
    return path in present or ("." in path and member(document, path) is not None)


def _nested(document: Mapping[str, Any], values: Mapping[str, Any], *, drops: set[str]) -> dict[str, Any]:
    """Return top-level members only: those with a path inside become whole objects with that member changed."""
    flat = {name: value for name, value in values.items() if "." not in name}
    for path in [*drops, *(name for name in values if "." in name)]:
        outer, *inner = path.split(".")
        there = flat.get(outer, document.get(outer))
        if path in values:
            flat[outer] = _with_member(there, inner, {inner[-1]: values[path]})
        elif isinstance(there, Mapping) and (left := _with_member(there, inner, {})) != there:
            flat[outer] = left
    return flat


def _with_member(there: Any, path: list[str], last: dict[str, Any]) -> dict[str, Any]:
    """Return an object in which the member at a path is what `last` says, or is gone."""
    kept: dict[str, Any] = dict(there) if isinstance(there, Mapping) else {}
    if len(path) == 1:
        kept.pop(path[0], None)
        return kept | last
    if not last and path[0] not in kept:
        return kept
    return kept | {path[0]: _with_member(kept.get(path[0]), path[1:], last)}


def _renames(wanted: Mapping[str, str], document: Mapping[str, Any]) -> dict[str, str]:
    """Return the renames of members that are there; never to a name that another member has or gets."""
    taken = set(document)
    renames = {}
    for old, new in wanted.items():
        if old in document and new not in taken:
            taken.add(new)
            renames[old] = new
    return renames


def apply_edits(document: Mapping[str, Any], edits: Edits) -> dict[str, Any]:
    """Return the decoded body as the edits leave it."""
    kept = {edits.rename.get(name, name): value for name, value in document.items() if name not in edits.drop}
    return kept | {name: msgspec.json.decode(value) for name, value in edits.put.items()}
