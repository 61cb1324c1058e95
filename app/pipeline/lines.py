"""Requests that wait for a limit instead of being refused. Law: first come, first served, and only the first asks.

There is a line for each rule that refused somebody; those behind the first ask nothing, so that the store is asked once
for all of them. Nothing is held meanwhile: neither a place at the gate nor anything in the store.
"""

import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from app.kernel.clock import Clock
from app.limits.accounts import Grant
from app.limits.denials import LimitReached
from app.limits.plan import Plan
from app.pipeline.gate import Gate, Visit
from app.pipeline.room import Ticket

_NS_PER_S = 1_000_000_000
_POLL_S = 0.1
"""How often requests at once are asked after, at least: another worker's end without a word."""
_SHORTEST_S = 0.005

Ask = Callable[[], Awaitable[Grant]]
"""Asks the store for what a request needs; raises `LimitReached`, or what no waiting helps against."""


class _Stand:
    """One request's stand in a line; `ticket` is there while it waits."""

    __slots__ = ("ticket",)

    def __init__(self) -> None:
        self.ticket: Ticket | None = None

    def wake(self) -> None:
        """End the present wait."""
        if self.ticket is not None:
            self.ticket.end("called")


class _Line:
    """Those that wait for one rule, the first first, which must not ask before `ready_ns`."""

    __slots__ = ("ready_ns", "stands")

    def __init__(self) -> None:
        self.ready_ns = 0
        self.stands: OrderedDict[_Stand, None] = OrderedDict()

    @property
    def first(self) -> _Stand:
        """Whose turn it is."""
        return next(iter(self.stands))


class Lines:
    """All lines of one worker; used inside its loop."""

    def __init__(self, gate: Gate, *, clock: Clock, draw: Callable[[], float] = random.random) -> None:
        """Make it; `draw` returns uniform numbers over [0, 1)."""
        self._gate = gate
        self._clock = clock
        self._draw = draw
        self._lines: dict[str, _Line] = {}

    async def reserve(self, visit: Visit | None, plan: Plan, ask: Ask) -> Grant:
        """Return what `ask` is granted, at the first try or after a wait; raises what it raises at the last."""
        if visit is None or self._gate.queue_s <= 0:
            return await ask()
        key = self._occupied(plan) if self._lines else None
        if key is None or not self._may_wait(visit, self._until_ready_s(key)):
            try:
                return await ask()
            except LimitReached as refusal:
                if not self._may_wait(visit, refusal.wait_s):
                    raise
                key = self._note(refusal)
        while True:
            outcome = await self._stand(visit, key, ask)
            if isinstance(outcome, Grant):
                return outcome
            key = self._note(outcome)

    def ended(self, plan: Plan) -> None:
        """Let those ask again that wait for one fewer request at once."""
        if self._lines:
            for slots in plan.slots:
                line = self._lines.get(slots.key)
                if line is not None:
                    line.ready_ns = 0
                    line.first.wake()

    def _occupied(self, plan: Plan) -> str | None:
        """Return a rule of a plan for which others wait."""
        keys = [rule.key for rule in plan.rules] + [slots.key for slots in plan.slots]
        return next((key for key in keys if key in self._lines), None)

    def _may_wait(self, visit: Visit, wait_s: float) -> bool:
        """Tell whether it helps to wait so long, and there is a place to."""
        return self._gate.patience_s(visit) > wait_s and self._gate.room.has_place(visit.tenant)

    def _until_ready_s(self, key: str) -> float:
        return max(0.0, (self._lines[key].ready_ns - self._clock.monotonic_ns()) / _NS_PER_S)

    def _note(self, refusal: LimitReached) -> str:
        """Make the line of the rule that refused, if there is none, and note when it is worth asking again."""
        line = self._lines.get(refusal.key)
        if line is None:
            line = self._lines[refusal.key] = _Line()
        wait_s = refusal.wait_s or _POLL_S * (0.5 + self._draw() / 2)
        line.ready_ns = self._clock.monotonic_ns() + int(max(wait_s, _SHORTEST_S) * _NS_PER_S)
        return refusal.key

    async def _stand(self, visit: Visit, key: str, ask: Ask) -> Grant | LimitReached:
        """Wait in one line until granted; returns the refusal of another rule, whose line is to be stood in next."""
        line, stand = self._lines[key], _Stand()
        line.stands[stand] = None
        self._gate.leave(visit)
        try:
            while True:
                await self._turn(visit, line, stand)
                is_last = self._gate.patience_s(visit) <= _SHORTEST_S
                await self._gate.enter(visit)
                try:
                    return await ask()
                except LimitReached as refusal:
                    if is_last or not self._may_wait(visit, refusal.wait_s):
                        raise
                    if refusal.key != key:
                        return refusal
                    self._note(refusal)
                    self._gate.leave(visit)
        finally:
            self._depart(key, line, stand)

    async def _turn(self, visit: Visit, line: _Line, stand: _Stand) -> None:
        """Wait until this request is the first and may ask, or until it may wait no longer."""
        while (patience_s := self._gate.patience_s(visit)) > 0:
            if line.first is stand:
                wait_s = (line.ready_ns - self._clock.monotonic_ns()) / _NS_PER_S
                if wait_s <= 0:
                    return
                patience_s = min(patience_s, wait_s)
            ticket = stand.ticket = self._gate.room.enter(visit.tenant)
            if ticket is None:
                return
            try:
                ending = await self._gate.room.wait(ticket, within_s=patience_s)
            finally:
                stand.ticket = None
            if ending == "displaced":
                return

    def _depart(self, key: str, line: _Line, stand: _Stand) -> None:
        """Leave a line; whoever is first then asks for itself, as it may want less."""
        was_first = line.first is stand
        del line.stands[stand]
        if not line.stands:
            del self._lines[key]
        elif was_first:
            line.ready_ns = 0
            line.first.wake()
