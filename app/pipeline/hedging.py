"""A second call when the first is slow: whichever has content first is the answer, the other is cut off.

Law: at most as many second calls as the route's budget allows; both are attempts, and both are in the ledger.
"""

import asyncio
from collections.abc import Sequence

from app.kernel.clock import Clock
from app.pipeline.answer import Answer
from app.pipeline.attempt import Attempt
from app.pipeline.dispatch import Dispatch
from app.pipeline.drains import cut_all
from app.pipeline.exchange import Exchange
from app.pipeline.lanes import Lanes, Step
from app.routing.rolling import Rolling
from app.routing.table import RouteTarget
from app.settings.model import Hedge
from providers.errors import ProviderError

_LEAST_SAMPLES = 20
_BUDGET_S = 60


class _Share:
    """How many of a route's calls of the last minute were second ones."""

    __slots__ = ("calls", "hedges")

    def __init__(self) -> None:
        self.calls = Rolling(_BUDGET_S)
        self.hedges = Rolling(_BUDGET_S)

    def is_spent(self, hedge: Hedge, now_ns: int) -> bool:
        """Whether another second call would be more than the budget allows."""
        return self.hedges.total(now_ns) + 1 > self.calls.total(now_ns) * hedge.budget


def begin(dispatch: Dispatch, exchange: Exchange, step: Step) -> Attempt:
    """Return the attempt that calls a lane, which begins now."""
    attempt = dispatch.begin(exchange, step.choice, step.lane)
    attempt.why, attempt.after, attempt.waited_ns = step.why, step.after, step.waited_ns
    return attempt


class Hedging:
    """Makes attempts, with a second one where the route wants that. One for each worker."""

    def __init__(self, dispatch: Dispatch, *, lanes: Lanes, clock: Clock) -> None:
        self._dispatch = dispatch
        self._lanes = lanes
        self._clock = clock
        self._shares: dict[str, _Share] = {}

    async def attempt(
        self, exchange: Exchange, step: Step, *, order: Sequence[RouteTarget], called: set[str]
    ) -> Answer:
        """Return the answer of a lane, which the exchange adopts; raises `ProviderError`.

        `order` are the targets that a second call may go to, `called` the providers that were asked.
        """
        hedge = exchange.route.hedge
        if hedge is None or exchange.references:
            attempt = begin(self._dispatch, exchange, step)
            answer = await self._dispatch.open(exchange, attempt)
            exchange.adopt(attempt)
            return answer
        share = self._shares.setdefault(exchange.route.label, _Share())
        share.calls.add(self._clock.monotonic_ns())
        race = _Race(self._dispatch, exchange)
        try:
            race.start(step)
            after_s = self._patience_s(hedge, step, is_streamed=exchange.stream)
            if after_s is not None and not await race.is_decided(within_s=after_s):
                other = (
                    None
                    if share.is_spent(hedge, self._clock.monotonic_ns())
                    else self._lanes.beside(step, order, called=called)
                )
                if other is not None:
                    share.hedges.add(self._clock.monotonic_ns())
                    self._lanes.count(other, called)
                    self._lanes.note_call(other)
                    race.start(other._replace(why="hedge"))
            return await race.result()
        finally:
            await race.aclose()

    @staticmethod
    def _patience_s(hedge: Hedge, step: Step, *, is_streamed: bool) -> float | None:
        """Return how long the first call may be without content; nothing while that is not known."""
        if hedge.after_s is not None:
            return hedge.after_s
        return (step.lane.first if is_streamed else step.lane.whole).p95_s(least=_LEAST_SAMPLES)


class _Race:
    """Calls that run at the same time, of which one becomes the answer."""

    def __init__(self, dispatch: Dispatch, exchange: Exchange) -> None:
        self._dispatch = dispatch
        self._exchange = exchange
        self._running: dict[asyncio.Task[Answer], Attempt] = {}

    def start(self, step: Step) -> None:
        """Begin a call."""
        attempt = begin(self._dispatch, self._exchange, step)
        call = self._dispatch.open(self._exchange, attempt)
        self._running[asyncio.get_running_loop().create_task(call)] = attempt

    async def is_decided(self, *, within_s: float) -> bool:
        """Wait a while for the first call to end; returns whether it has."""
        done, _ = await asyncio.wait(self._running, timeout=within_s)
        return bool(done)

    async def result(self) -> Answer:
        """Return the answer that comes first; raises the last failure if none comes."""
        failure = ProviderError("no call was made")
        while self._running:
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=lambda task: self._running[task].number):
                attempt = self._running.pop(task)
                try:
                    answer = task.result()
                except ProviderError as error:
                    failure = error
                else:
                    self._exchange.adopt(attempt)
                    return answer
        raise failure

    async def aclose(self) -> None:
        """Cut off whatever still runs; an answer that came too late is let go of."""
        for task in self._running:
            task.cancel()
        for ended in await asyncio.gather(*self._running, return_exceptions=True):
            if isinstance(ended, Answer) and ended.live is not None:
                ended.live.close()
        self._running.clear()
        if self._exchange.served is not None:
            # Of calls that a vendor bills in any case, the loser's is not worth waiting for.
            await cut_all(self._exchange)
