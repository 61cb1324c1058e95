"""Where a request belongs in its trace, and what is noted for its spans that nothing else needs to know.

Law: ids, times and names, and no content but of those whose operator has asked for it.
"""

from random import getrandbits
from typing import NamedTuple

from app.observability.tracing.context import Parent, headers_under

_SPAN_BITS, _TRACE_BITS = 64, 128


class LegRecord(NamedTuple):
    """One model of several that answered together: `role` is what became of it, or what it was asked for."""

    span_id: int
    number: int
    model: str
    role: str
    began_ns: int
    ended_ns: int | None
    error: str | None


class RequestTrace:
    """One request in its trace. `span_id` is that of the request itself, `parent` its caller's.

    `started_ns` is monotonic.
    """

    __slots__ = ("content", "is_sampled", "legs", "parent", "span_id", "started_ns", "trace_id")

    def __init__(self, parent: Parent | None, *, trace_id: int, is_sampled: bool, started_ns: int) -> None:
        self.started_ns = started_ns
        self.parent = parent
        self.trace_id = trace_id
        self.span_id = new_span_id()
        self.is_sampled = is_sampled
        self.legs: list[LegRecord] = []
        self.content: Content | None = None

    @property
    def state(self) -> str:
        """What other systems have added to the trace."""
        return "" if self.parent is None else self.parent.state

    def headers_under(self, span_id: int) -> tuple[tuple[str, str], ...]:
        """Return the headers of a call whose span is this one."""
        return headers_under(self.trace_id, span_id, is_sampled=self.is_sampled, state=self.state)


class Content:
    """What a client was answered, up to a bound; only for those whose operator has asked for content."""

    __slots__ = ("_most_bytes", "answer", "is_cut")

    def __init__(self, *, most_bytes: int = 1 << 18) -> None:
        self.answer = bytearray()
        self.is_cut = False
        self._most_bytes = most_bytes

    def hear(self, data: bytes) -> None:
        """Take what was given to the client."""
        room = self._most_bytes - len(self.answer)
        self.is_cut = self.is_cut or len(data) > room
        self.answer += data[: max(room, 0)]


def new_trace_id() -> int:
    """Return an id for a trace that begins here."""
    return getrandbits(_TRACE_BITS) or 1


def new_span_id() -> int:
    """Return an id for a span. It is unique, not secret; the generator starts anew in a fork."""
    return getrandbits(_SPAN_BITS) or 1
