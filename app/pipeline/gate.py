"""How many requests a worker serves at once, and who is next. Law: nobody waits while there is a place.

With a queue, places go round: each organisation that waits gets one in its turn, its own requests in the order in which
they came. Without one, whoever finds no place is told at once when to come back.
"""

import asyncio
from collections import OrderedDict
from typing import Literal, Protocol
from uuid import UUID

from app.kernel.clock import Clock
from app.kernel.errors import Unavailable
from app.observability.metrics import QUEUE_DEPTH, SHED, STREAMS_OPEN, Metrics
from app.pipeline.room import Room, Ticket

_NS_PER_S = 1_000_000_000
_ANSWER_NS = 10_000_000
"""How long before its own deadline a request stops to wait, so that its client still hears of it."""
_SHORTEST_S, _LONGEST_S = 1.0, 60.0
_WEIGHT = 1 / 16
"""How much of the estimate each new interval is."""

Reason = Literal["full", "queue_full", "queue_timeout", "loop_lag", "memory"]
_WORDS: dict[Reason, str] = {
    "full": "too many requests are being served",
    "queue_full": "too many requests wait",
    "queue_timeout": "too many requests are being served; this one has waited as long as it may",
    "loop_lag": "the gateway is overloaded",
    "memory": "the gateway is short of memory",
}


class Pressure(Protocol):
    """What this process is short of."""

    @property
    def refuses(self) -> Literal["loop_lag", "memory"] | None:
        """Why nothing new may be served now."""
        ...

    @property
    def refuses_streams(self) -> bool:
        """Whether no new stream may be begun now, for want of memory."""
        ...


class NoPressure:
    """A process that is short of nothing."""

    refuses: Literal["loop_lag", "memory"] | None = None
    refuses_streams = False


class Visit:
    """One request at the gate: whose it is, until when it must be answered, and whether it has a place.

    `patient_until_ns` is set when it first has to wait: all its waits together are bounded.
    """

    __slots__ = ("deadline_ns", "has_place", "is_stream", "patient_until_ns", "tenant")

    def __init__(self, tenant: UUID, *, deadline_ns: int | None = None, is_stream: bool = False) -> None:
        self.tenant = tenant
        self.deadline_ns = deadline_ns
        self.is_stream = is_stream
        self.has_place = False
        self.patient_until_ns: int | None = None


class Gate:
    """Gives away the places of one worker; used inside its loop."""

    def __init__(
        self, *, cap: int, queue_s: float, metrics: Metrics, clock: Clock, pressure: Pressure | None = None
    ) -> None:
        """Make it with `cap` places; no request waits for longer than `queue_s`."""
        self.cap = cap
        self.queue_s = queue_s
        self.inside = 0
        self.streams = 0
        self.room = Room(size=cap if queue_s > 0 else 0)
        self._pressure: Pressure = NoPressure() if pressure is None else pressure
        self._metrics = metrics
        self._clock = clock
        self._turns: OrderedDict[UUID, OrderedDict[Ticket, None]] = OrderedDict()
        self._full_since_ns = 0
        self._interval_ns = 0.0

    def resize(self, *, cap: int, queue_s: float) -> None:
        """Give away so many places from now on; who has one keeps it, and who waits does so as long as he was told."""
        self.cap, self.queue_s = cap, queue_s
        self.room.size = cap if queue_s > 0 else 0
        self._call_in()

    def check(self, tenant: UUID | None = None) -> None:
        """Raise `Unavailable` for a request that `enter` would refuse now, before anything is done for it.

        Whether there is a place to wait depends on whose it is; without `tenant` it is let pass if it might wait.
        """
        reason = self._pressure.refuses
        if reason is not None:
            raise self._shed(reason)
        if self.inside < self.cap:
            return
        if self.queue_s <= 0:
            raise self._shed("full")
        if tenant is not None and not self.room.has_place(tenant):
            raise self._shed("queue_full")

    @property
    def is_full(self) -> bool:
        """Whether whoever comes now must wait, or is refused."""
        return self.inside >= self.cap

    async def enter(self, visit: Visit) -> None:
        """Take a place, waiting for it if that is allowed; raises `Unavailable`. Whoever has one must `leave`."""
        if visit.is_stream and self._pressure.refuses_streams:
            raise self._shed("memory")
        if self.inside < self.cap:
            self._take()
        else:
            await self._wait(visit)
        visit.has_place = True
        self.streams += visit.is_stream

    def leave(self, visit: Visit) -> None:
        """Give a place back, if the request has one; whoever is next has it at once."""
        if not visit.has_place:
            return
        visit.has_place = False
        self.streams -= visit.is_stream
        self._free()

    def patience_s(self, visit: Visit) -> float:
        """Return how much longer a request may wait; its patience begins to run out with the first call."""
        now_ns = self._clock.monotonic_ns()
        if visit.patient_until_ns is None:
            visit.patient_until_ns = now_ns + int(self.queue_s * _NS_PER_S)
            if visit.deadline_ns is not None:
                visit.patient_until_ns = min(visit.patient_until_ns, visit.deadline_ns - _ANSWER_NS)
        return (visit.patient_until_ns - now_ns) / _NS_PER_S

    def show(self) -> None:
        """Bring the gauges of those that wait, and of streams, up to date."""
        self._metrics.number(QUEUE_DEPTH).set(float(len(self.room)))
        self._metrics.number(STREAMS_OPEN).set(float(self.streams))

    async def _wait(self, visit: Visit) -> None:
        if self.queue_s <= 0:
            raise self._shed("full")
        patience_s = self.patience_s(visit)
        if patience_s <= 0:
            raise self._shed("queue_timeout")
        ticket = self.room.enter(visit.tenant)
        if ticket is None:
            raise self._shed("queue_full")
        self._turns.setdefault(visit.tenant, OrderedDict())[ticket] = None
        try:
            ending = await self.room.wait(ticket, within_s=patience_s)
        except asyncio.CancelledError:
            if ticket.was_called:
                self._free()
            else:
                self._quit(ticket)
            raise
        if ending != "called":
            self._quit(ticket)
            raise self._shed("queue_timeout" if ending == "late" else "queue_full")

    def _take(self) -> None:
        self.inside += 1
        if self.inside >= self.cap:
            self._full_since_ns = self._clock.monotonic_ns()

    def _free(self) -> None:
        if self.inside >= self.cap:
            self._note_interval()
        self.inside -= 1
        self._call_in()

    def _call_in(self) -> None:
        """Give free places to those whose turn it is."""
        while self.inside < self.cap and (ticket := self._next()) is not None:
            self._take()
            ticket.end("called")

    def _next(self) -> Ticket | None:
        """Return the oldest ticket of the organisation whose turn it is, and let the others have theirs before."""
        while self._turns:
            tenant, tickets = next(iter(self._turns.items()))
            ticket, _ = tickets.popitem(last=False)
            if not tickets:
                del self._turns[tenant]
            if ticket.turn.done():
                continue  # its client has left, or its time is over, and its task does not know yet
            if tickets:
                self._turns.move_to_end(tenant)
            self.room.leave(ticket)
            return ticket
        return None

    def _quit(self, ticket: Ticket) -> None:
        tickets = self._turns.get(ticket.tenant)
        if tickets is not None and ticket in tickets:
            del tickets[ticket]
            if not tickets:
                del self._turns[ticket.tenant]

    def _note_interval(self) -> None:
        """Learn how long it takes until a place is free, while there is none."""
        interval_ns = self._clock.monotonic_ns() - self._full_since_ns
        self._interval_ns += (interval_ns - self._interval_ns) * _WEIGHT

    def _shed(self, reason: Reason) -> Unavailable:
        """Count a refusal, and say when there may be room: when all who wait now will have had a place."""
        self._metrics.number(SHED, reason).add()
        wait_s = (len(self.room) + 1) * self._interval_ns / _NS_PER_S
        return Unavailable(_WORDS[reason], retry_after_s=min(max(wait_s, _SHORTEST_S), _LONGEST_S))
