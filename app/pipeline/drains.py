"""Upstream calls that are read to their end although their clients have left, for the usage that is billed in any case.

Law: there is a bound to how many there are and how long each goes on; beyond it a call is cut, and what it used is
estimated. The exchange of a drained call is settled at the end of the drain, and until then its hold stays alive.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from app.kernel.waiting import outcome_of
from app.pipeline.answer import Answer, LiveBody
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange, Rest
from providers.errors import ProviderError, ProviderTimedOut

MOST = 32
WITHIN_S = 30.0

Spawn = Callable[[Coroutine[Any, Any, Any]], None]
"""Runs what must not be lost when its starter goes away."""
Settle = Callable[[Exchange], Awaitable[None]]
"""Settles an exchange whose attempts are over."""


class Drains:
    """Reads the rests of calls. One for each worker, used inside its loop."""

    def __init__(self, spawn: Spawn, *, most: int = MOST, within_s: float = WITHIN_S) -> None:
        """Begin with none; at most `most` at once, each for at most `within_s` seconds."""
        self._spawn = spawn
        self._most = most
        self._within_s = within_s
        self._running: set[_Drain] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._running)

    def take(self, exchange: Exchange, *, settle: Settle) -> bool:
        """Read out what is unheard of an exchange, then settle it, in a task of its own; false if there is no room."""
        if self._is_closed or len(self._running) >= self._most:
            return False
        rests, exchange.unheard = exchange.unheard, []
        exchange.measured()  # The body may be gone by the time that its size is asked for.
        drain = exchange.call = _Drain(exchange, rests)
        self._running.add(drain)
        self._spawn(self._run(drain, settle))
        return True

    def close(self) -> None:
        """Cut what is being read, and take nothing more."""
        self._is_closed = True
        for drain in self._running:
            drain.stop()

    async def _run(self, drain: "_Drain", settle: Settle) -> None:
        try:
            await drain.read_out(within_s=self._within_s)
        finally:
            try:
                await settle(drain.exchange)
            finally:
                self._running.discard(drain)
                drain.end()


class _Drain:
    """One exchange whose client has left, as the call that goes on without it."""

    def __init__(self, exchange: Exchange, rests: list[Rest]) -> None:
        self.exchange = exchange
        self._rests = rests
        self._left = [attempt for attempt in exchange.attempts if attempt.outcome is None]
        self._clock: asyncio.Timeout | None = None
        self._endings: list[Callable[[], None]] = []
        self._is_stopped = self._is_over = False

    async def read_out(self, *, within_s: float) -> None:
        """Read all rests; what is not at its end in time is cut."""
        try:
            async with asyncio.timeout(0 if self._is_stopped else within_s) as self._clock:
                await asyncio.gather(*[rest.read_out() for rest in self._rests])
        except TimeoutError:
            pass
        finally:
            self._clock = None
            for rest in self._rests:
                await rest.cut()
            for attempt in self._left:
                _note_leaving(attempt, is_expired=self.exchange.is_expired)

    def stop(self) -> None:
        """Read no further."""
        self._is_stopped = True
        if self._clock is not None:
            self._clock.reschedule(0)

    def end(self) -> None:
        """Say that the exchange is settled."""
        self._is_over = True
        for ending in self._endings:
            ending()

    def then(self, ending: Callable[[], None]) -> None:
        """Call `ending` when the exchange is settled: at once if it is."""
        if self._is_over:
            ending()
        else:
            self._endings.append(ending)


def _note_leaving(attempt: Attempt, *, is_expired: bool) -> None:
    """Note of an attempt that was read out that nobody had its answer; what it used stays as the provider said."""
    if attempt.outcome == "ok":
        attempt.outcome = "timeout" if is_expired else "cancelled"
        attempt.error_code = ProviderTimedOut.code if is_expired else None


class RestOfBody:
    """What is still to come of a live answer. It is read for as long as it `is_wanted`."""

    def __init__(self, body: LiveBody, *, is_wanted: Callable[[], bool] = lambda: True) -> None:
        self._body = body
        self._is_wanted = is_wanted

    async def read_out(self) -> None:
        """Read to the end; a provider that breaks off has ended its attempt with that."""
        try:
            while not self._body.is_finished and self._is_wanted():
                await self._body.read()
        except ProviderError:
            pass

    async def cut(self) -> None:
        """Let go of the upstream call."""
        self._body.close()


class RestOfCall:
    """A call whose answer nobody waits for."""

    def __init__(self, call: "asyncio.Task[Answer]") -> None:
        self._call = call

    async def read_out(self) -> None:
        """Wait for the answer, and read it if it is live."""
        await asyncio.wait({self._call})
        live = self._live()
        if live is not None:
            await RestOfBody(live).read_out()

    async def cut(self) -> None:
        """End the call, and let go of its answer."""
        self._call.cancel()
        await asyncio.wait({self._call})
        live = self._live()
        if live is not None:
            live.close()

    def _live(self) -> LiveBody | None:
        """Return the live answer of a call that is over, if it has one; its failure has been noted by itself."""
        has_failed = self._call.cancelled() or self._call.exception() is not None
        return None if has_failed else self._call.result().live


async def unbroken(call: Coroutine[Any, Any, Answer], exchange: Exchange) -> Answer:
    """Await a call that goes on when the waiter is cancelled: what is to come of it is then unheard.

    Whoever settles the exchange reads it out or cuts it.
    """
    task = asyncio.ensure_future(call)
    try:
        return await outcome_of(task)
    except asyncio.CancelledError:
        exchange.unheard.append(RestOfCall(task))
        raise


async def cut_all(exchange: Exchange) -> None:
    """Let go of the upstream calls that nobody waits for, so that their attempts are over.

    If that is cancelled, those that are not over are still among the exchange's.
    """
    while exchange.unheard:
        rest = exchange.unheard[0]
        await rest.cut()
        if rest in exchange.unheard:
            exchange.unheard.remove(rest)
