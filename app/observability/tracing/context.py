"""The headers `traceparent` and `tracestate`. Law: pure; what cannot be read is as if it had not been sent.

Source: www.w3.org/TR/trace-context-1, read 2026-11.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(
    rb"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_FIRST_VERSION, _NO_VERSION = b"00", b"ff"
_SAMPLED = 1
_STATE_BYTES, _STATE_MEMBERS = 512, 32


class Parent(NamedTuple):
    """The span of the caller's that a request belongs to. `state` is what other systems have added, as it came."""

    trace_id: int
    span_id: int
    is_sampled: bool
    state: str


def read_parent(headers: Mapping[bytes, bytes]) -> Parent | None:
    """Return the caller's span; nothing where none is named, or not in the words of the standard."""
    given = headers.get(b"traceparent")
    found = None if given is None else _PARENT.fullmatch(given.strip())
    if found is None:
        return None
    version, trace, span, flags, rest = found.groups()
    if version == _NO_VERSION or (version == _FIRST_VERSION and rest is not None):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED), _state(headers.get(b"tracestate", b"")))


def _state(given: bytes) -> str:
    """Return the state, whole or not at all."""
    members = [member for part in given.split(b",") if (member := part.strip(b" \t"))]
    if len(given) > _STATE_BYTES or len(members) > _STATE_MEMBERS:
        return ""
    return b",".join(members).decode() if all(map(_MEMBER.fullmatch, members)) else ""


def headers_under(trace_id: int, span_id: int, *, is_sampled: bool, state: str) -> tuple[tuple[str, str], ...]:
    """Return the headers of a call whose parent is a span of ours."""
    parent = ("traceparent", f"00-{trace_id:032x}-{span_id:016x}-{int(is_sampled):02x}")
    return (parent, ("tracestate", state)) if state else (parent,)
