"""The changes that an operator makes to requests that are said in other words than their client's.

Law: a name in a transform is a canonical field's, as OpenAI's chat completions call it, or else one of the provider's
own wire; in which dialect the client spoke changes nothing of it.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from app.routing.vocabulary import Vocabulary, member
from app.settings.model import Transform
from providers.openai.downstream import parse_chat
from providers.openai.wire import CHAT
from providers.types import ChatRequest, Sampling, WireFields

_CAPS = frozenset({"max_tokens", "max_completion_tokens"})
_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(_CAPS, "max_output_tokens"),
    "reasoning_effort": "reasoning",
    **{
        name: name
        for name in ("tools", "tool_choice", "parallel_tool_calls", "response_format", "n", "user", "metadata")
    },
}
"""The canonical fields beside the sampling, by their names in chat completions."""
_SAMPLING = frozenset(Sampling.__struct_fields__)
_OBJECTS = frozenset({"tools", "tool_choice", "response_format"})
"""Canonical fields that each wire has a form of its own for, so that they are never another one by name."""
_UNSET = ChatRequest(model="", messages=[], dialect="")


class Bent(NamedTuple):
    """A request as its operator wants it; `written` are the canonical fields in which the client had no part."""

    request: ChatRequest
    written: frozenset[str]


def reading_part(transform: Transform) -> Transform:
    """Return what of a transform is done to the client's body before it is read: what is said there in its words."""
    return Transform(drop=transform.drop, system_prefix=transform.system_prefix)


def bend(request: ChatRequest, transform: Transform, document: Mapping[str, Any], *, vocabulary: Vocabulary) -> Bent:
    """Return a request with an operator's changes, in the order of `transform_edits`, less the system's prefix.

    `document` is the client's body, which `request` was read from. What has no canonical form is the provider's own:
    that goes into `wire`.
    """
    request, renamed = _renamed(request, transform.rename)
    for name in transform.drop:
        request = without(request, name)
    gone = {*transform.drop, *transform.rename}
    missing = {
        name: value
        for name, value in transform.default.items()
        if name not in renamed
        and not is_set(request, name)
        and (name in gone or not _is_in(document, vocabulary.path_in(document, name)))
    }
    values = {**renamed, **missing, **transform.set}
    written = {name for name in (*missing, *transform.set) if not _is_in(document, vocabulary.path_in(document, name))}
    return Bent(_with(request, values, defaults=missing), frozenset(written))


def is_set(request: ChatRequest, name: str) -> bool:
    """Whether a request says a field, canonical or of its dialect's own."""
    if name in _SAMPLING:
        return getattr(request.sampling, name) not in (None, [])
    if name in _FIELDS:
        return bool(getattr(request, _FIELDS[name]) != getattr(_UNSET, _FIELDS[name]))
    return name in request.extras


def is_same(name: str, other: str) -> bool:
    """Whether two names are of one field."""
    return name == other or (name in _CAPS and other in _CAPS)


def without(request: ChatRequest, name: str) -> ChatRequest:
    """Return a request that does not say a field."""
    if name in _SAMPLING:
        empty = getattr(_UNSET.sampling, name)
        return msgspec.structs.replace(request, sampling=msgspec.structs.replace(request.sampling, **{name: empty}))
    if name in _FIELDS:
        return msgspec.structs.replace(request, **{_FIELDS[name]: getattr(_UNSET, _FIELDS[name])})
    if name in request.extras:
        return msgspec.structs.replace(
            request, extras={each: value for each, value in request.extras.items() if each != name}
        )
    return request


def with_cap_named(request: ChatRequest, transform: Transform, *, relays: Collection[str]) -> ChatRequest:
    """Return a request whose output cap, which limits may have lowered, has the name that its operator gives it.

    `relays` are the operations whose bytes its provider takes: only chat completions have two names for the cap.
    """
    cap = request.max_output_tokens
    for old, new in transform.rename.items():
        if cap is not None and old in _CAPS and (CHAT in relays or new not in _CAPS):
            put = {**request.wire.put, new: cap}
            return msgspec.structs.replace(
                request, max_output_tokens=None, wire=msgspec.structs.replace(request.wire, put=put)
            )
    return request


def _is_in(document: Mapping[str, Any], path: str) -> bool:
    return path in document or ("." in path and member(document, path) is not None)


def _renamed(request: ChatRequest, renames: Mapping[str, str]) -> tuple[ChatRequest, dict[str, Any]]:
    """Return a request without the fields that get other names, and these by their new ones."""
    renamed: dict[str, Any] = {}
    for old, new in renames.items():
        if old in _OBJECTS | _CAPS or not is_set(request, old) or is_set(request, new) or new in renamed:
            continue
        value = _value(request, old)
        if value is not None:
            renamed[new] = value
            request = without(request, old)
    return request, renamed


def _value(request: ChatRequest, name: str) -> Any:
    """Return the value of a field in the words of chat completions."""
    if name in _SAMPLING:
        return getattr(request.sampling, name)
    if name == "reasoning_effort":
        return None if request.reasoning is None else request.reasoning.effort
    return getattr(request, _FIELDS[name]) if name in _FIELDS else request.extras[name]


def _with(request: ChatRequest, values: Mapping[str, Any], *, defaults: Mapping[str, Any]) -> ChatRequest:
    """Return a request that says `values`; of the provider's own, `defaults` give way to what is there."""
    if not values:
        return request
    said = parse_chat({"model": "", "messages": [], **values})
    own = said.extras
    canonical = [name for name in values if name not in own]
    sampling = {name: getattr(said.sampling, name) for name in canonical if name in _SAMPLING}
    fields = {_FIELDS[name]: getattr(said, _FIELDS[name]) for name in canonical if name in _FIELDS}
    if request.reasoning is not None and said.reasoning is not None:
        # Whether the thoughts are shown is the client's wish still.
        fields["reasoning"] = msgspec.structs.replace(said.reasoning, include=request.reasoning.include)
    return msgspec.structs.replace(
        request,
        **fields,
        sampling=msgspec.structs.replace(request.sampling, **sampling) if sampling else request.sampling,
        extras={name: value for name, value in request.extras.items() if name not in values},
        wire=_wire_fields(own, defaults) if own else request.wire,
    )


def _wire_fields(own: Mapping[str, Any], defaults: Mapping[str, Any]) -> WireFields:
    return WireFields(
        default={name: value for name, value in own.items() if name in defaults},
        put={name: value for name, value in own.items() if name not in defaults},
    )
