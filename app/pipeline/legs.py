"""All calls of one request that several models answer: begins them, waits for any, and cuts off whoever is not needed.

Law: nothing outlives the request; what a leg is cut off for is what the ledger is told.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

from app.fanout.states import LegState
from app.kernel.clock import Clock
from app.observability.tracing.record import LegRecord
from app.pipeline.answer import Answer
from app.pipeline.drains import cut_all
from app.pipeline.exchange import Exchange
from app.pipeline.fanout import Fanout, LegReport
from app.pipeline.leg import Leg
from app.pipeline.ring import Next
from app.routing.table import Route

LOST = "lost"
"""The error code of an attempt that was cut off because it was not needed any more."""
LATE = "deadline"
"""The error code of an attempt that was cut off because the time for it was over."""
_NS_PER_S = 1_000_000_000
_LAST_SHARE = 0.8
"""How much of the time that a request has left is for who is asked last: the rest is for giving another answer."""


class Legs:
    """The legs of one request, and whoever is asked last: its judge or its fuser."""

    def __init__(self, exchange: Exchange, fanout: Fanout, *, following: Next, clock: Clock) -> None:
        self.every = [Leg(index, route) for index, route in enumerate(fanout.legs)]
        self._exchange = exchange
        self._fanout = fanout
        self._following = following
        self._clock = clock
        self._changed = asyncio.Event()
        self._last: Leg | None = None
        self.began_ns = clock.monotonic_ns()
        deadline_s = fanout.spec.deadline_s
        self._deadline_ns = None if deadline_s is None else self.began_ns + int(deadline_s * _NS_PER_S)

    @property
    def is_overdue(self) -> bool:
        """Whether the time for the legs is over."""
        return self._deadline_ns is not None and self._clock.monotonic_ns() >= self._deadline_ns

    def states(self) -> list[LegState]:
        """Return the legs as the strategy sees them; what changes from here on ends a `wait`."""
        self._changed.clear()
        return [leg.state() for leg in self.every]

    async def wait(self, until_ns: int | None) -> None:
        """Wait for any change, but no longer than until a moment or the deadline."""
        moments = [moment for moment in (until_ns, self._deadline_ns) if moment is not None]
        now_ns = self._clock.monotonic_ns()
        timeout_s = max(0.001, (min(moments) - now_ns) / _NS_PER_S) if moments else None
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    # -- asking -------------------------------------------------------------------------------------------------------

    def start(self, leg: Leg, *, is_whole: bool) -> None:
        """Ask a model, unless it has been."""
        if leg.task is not None:
            return
        child = self._exchange.leg(leg.route, is_whole=is_whole)
        if self._deadline_ns is not None:
            mine = child.deadline_ns
            child.deadline_ns = self._deadline_ns if mine is None else min(mine, self._deadline_ns)
        self._begin(leg, child)

    async def ask_last(self, route: Route, child: Exchange, *, most_s: float | None) -> Leg:
        """Ask a model last; what it has brought, if anything, is in what is returned.

        It may take as long as the legs may, else `most_s`, and never so long that there is no time left to give another
        answer in place of its own.
        """
        leg = self._last = Leg(len(self.every), route)
        bounds = [most_s if self._fanout.spec.deadline_s is None else self._fanout.spec.deadline_s]
        if child.deadline_ns is not None:
            bounds.append((child.deadline_ns - self._clock.monotonic_ns()) / _NS_PER_S * _LAST_SHARE)
        within_s = min((bound for bound in bounds if bound is not None), default=None)
        task = self._begin(leg, child)
        await asyncio.wait({task}, timeout=within_s)
        if not task.done():
            await self._cut([leg], reason=LATE)
        return leg

    def _begin(self, leg: Leg, child: Exchange) -> asyncio.Task[Answer]:
        leg.exchange = child
        leg.started_ns = self._clock.monotonic_ns()
        leg.task = asyncio.get_running_loop().create_task(self._following(child))
        leg.task.add_done_callback(partial(self._ended, leg))
        return leg.task

    def _ended(self, leg: Leg, task: asyncio.Task[Answer]) -> None:
        leg.ended_ns = self._clock.monotonic_ns()
        leg.end(task)
        ended = sum(each.ended_ns is not None for each in self.every)
        self._exchange.progress = f"{ended} of {len(self.every)} models have answered"
        self._changed.set()

    # -- ending -------------------------------------------------------------------------------------------------------

    @property
    def _asked(self) -> list[Leg]:
        every = self.every if self._last is None else [*self.every, self._last]
        return [leg for leg in every if leg.task is not None]

    async def cut_others(self, *kept: Leg) -> None:
        """Cut off every leg but those."""
        reason = LATE if self.is_overdue else LOST
        await self._cut([leg for leg in self._asked if leg not in kept], reason=reason)

    async def aclose(self) -> None:
        """Cut off whatever still runs, but for what the client gets."""
        await self.cut_others(*(leg for leg in self._asked if leg.has_won))

    async def abandon(self) -> None:
        """Cut off all, since nobody gets anything; what a provider bills in any case may be read to its end."""
        for leg in self._asked:
            if leg.exchange is not None and self._exchange.is_expired:
                leg.exchange.expire()
        await self._cut(self._asked, reason=None)

    async def _cut(self, legs: Sequence[Leg], *, reason: str | None) -> None:
        """Cut legs off, for a reason that the ledger is told; an answer that is whole is there all the same."""
        for leg in legs:
            if not leg.is_cut and (leg.ended_ns is None or leg.is_live):
                leg.cut()
        tasks = [leg.task for leg in legs if leg.task is not None and leg.ended_ns is None]
        if tasks:
            await asyncio.wait(tasks)
        # Those that were cut before too: whoever cut them may have been cut off himself.
        for child in [leg.exchange for leg in legs if leg.exchange is not None]:
            if reason is None:
                self._exchange.unheard += child.unheard
                child.unheard = []
            else:
                await cut_all(child)
            for attempt in child.own_attempts or ():
                if attempt.outcome == "cancelled" and attempt.error_code is None:
                    attempt.error_code = reason

    # -- telling ------------------------------------------------------------------------------------------------------

    def report(self) -> None:
        """Note what became of every leg."""
        self._exchange.leg_reports[:] = [
            LegReport(leg.index, leg.route.name, leg.outcome) for leg in self.every if leg.task is not None
        ]

    def records(self) -> list[LegRecord]:
        """Return what a trace shows of each call."""
        last = "fuser" if self._fanout.judge is None else "judge"
        return [
            LegRecord(
                leg.exchange.span_id,
                leg.index,
                leg.route.name,
                last if leg is self._last else leg.outcome,
                leg.started_ns,
                leg.ended_ns,
                None if leg.failure is None else leg.failure.code,
            )
            for leg in self._asked
            if leg.exchange is not None and leg.started_ns is not None
        ]

    def assign(self) -> None:
        """Say in the ledger what part each call had; a live answer has won although it still runs."""
        for leg in self.every:
            if leg.exchange is not None:
                leg.exchange.assign(leg.outcome)
        if self._last is not None and self._last.exchange is not None:
            self._last.exchange.assign("fuser" if self._fanout.judge is None else "judge")
