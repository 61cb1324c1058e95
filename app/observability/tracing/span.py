"""One span, complete, as it leaves. Law: plain data; whoever exports it knows how it is said on the wire."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

Kind = Literal["server", "client", "internal"]
Value = str | int | float | bool | Sequence[str]


class Span(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that took time. Times are wall time in nanoseconds; `parent_id` is absent at the root of a trace.

    `is_parent_remote` is whether the parent is the caller's. `failed` says whether it is to be shown as an error.
    """

    name: str
    kind: Kind
    trace_id: int
    span_id: int
    parent_id: int | None
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    is_parent_remote: bool = False
    state: str = ""
    failed: bool = False
