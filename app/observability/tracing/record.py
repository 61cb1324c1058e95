"""What is noted of a request on its way, for the spans that are made of it at its end.

Law: times and ids only, and nothing at all of a request that is not sampled.
"""

from collections.abc import Awaitable
from random import getrandbits
from typing import NamedTuple, TypeVar

from app.kernel.clock import Clock
from app.kernel.errors import GatewayError
from app.observability.tracing.context import Parent, headers_under

T = TypeVar("T")
_SPAN_BITS, _TRACE_BITS = 64, 128
_MOST_MARKS = 64


class Mark:
    """How long one layer took for itself. Times are monotonic nanoseconds; `error` is why it let nobody pass."""

    __slots__ = ("began_ns", "ended_ns", "error", "name")

    def __init__(self, name: str, began_ns: int) -> None:
        self.name = name
        self.began_ns = began_ns
        self.ended_ns: int | None = None
        self.error: str | None = None


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

    __slots__ = ("_clock", "content", "is_sampled", "legs", "marks", "parent", "span_id", "started_ns", "trace_id")

    def __init__(
        self, parent: Parent | None, *, trace_id: int, is_sampled: bool, started_ns: int, clock: Clock
    ) -> None:
        self.started_ns = started_ns
        self.parent = parent
        self.trace_id = trace_id
        self.span_id = new_span_id()
        self.is_sampled = is_sampled
        self.marks: list[Mark] = []
        self.legs: list[LegRecord] = []
        self.content: Content | None = None
        self._clock = clock

    @property
    def state(self) -> str:
        """What other systems have added to the trace."""
        return "" if self.parent is None else self.parent.state

    def headers_under(self, span_id: int) -> tuple[tuple[str, str], ...]:
        """Return the headers of a call whose span is this one."""
        return headers_under(self.trace_id, span_id, is_sampled=self.is_sampled, state=self.state)

    def begin(self, name: str) -> Mark:
        """Note that a layer begins; of one that is asked again and again only the first times are kept."""
        mark = Mark(name, self._clock.monotonic_ns())
        if len(self.marks) < _MOST_MARKS:
            self.marks.append(mark)
        return mark

    def end(self, mark: Mark, error: BaseException | None = None) -> None:
        """Note that a layer has done its part; the first time counts."""
        if mark.ended_ns is None:
            mark.ended_ns = self._clock.monotonic_ns()
            mark.error = None if error is None else code_of(error)

    async def timed(self, name: str, work: Awaitable[T]) -> T:
        """Await `work` as the whole of a layer."""
        if not self.is_sampled:
            return await work
        mark = self.begin(name)
        try:
            done = await work
        except BaseException as error:
            self.end(mark, error)
            raise
        self.end(mark)
        return done


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


def code_of(error: BaseException) -> str:
    """Return the word for an error: our own code, else its class."""
    return error.code if isinstance(error, GatewayError) else type(error).__name__


def new_trace_id() -> int:
    """Return an id for a trace that begins here."""
    return getrandbits(_TRACE_BITS) or 1


def new_span_id() -> int:
    """Return an id for a span. It is unique, not secret; the generator starts anew in a fork."""
    return getrandbits(_SPAN_BITS) or 1
