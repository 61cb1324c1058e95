"""The innermost layer: tries targets, and the models fallen back to, until one answers.

Law: all of it ends at the first content that the client could have seen. What is tried where is decided by pure
functions over what is known (`app.routing`); here it is done.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

from app.kernel.clock import Clock
from app.kernel.errors import (
    GatewayError,
    NotFound,
    UpstreamFailed,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
)
from app.pipeline.answer import Answer
from app.pipeline.dispatch import Dispatch
from app.pipeline.exchange import Exchange
from app.pipeline.hedging import Hedging
from app.pipeline.lanes import Lanes, Step, has_one_order
from app.pipeline.notes import LayerStep, Skipped, Verdict
from app.routing.retrying import LONGEST_PAUSE_S, pause_s
from app.routing.table import Route, RouteTarget
from providers.errors import (
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderError,
    ProviderRateLimited,
    ProviderTimedOut,
    RequestRefused,
)

_NS_PER_S = 1_000_000_000
_MAX_RETRY_AFTER_S = 60.0
_NOT_FOUND = 404


class Routed:
    """The layer that chooses targets. One for each worker."""

    def __init__(
        self, dispatch: Dispatch, *, lanes: Lanes, clock: Clock, draw: Callable[[], float] = random.random
    ) -> None:
        """Make it; `draw` returns uniform numbers over [0, 1)."""
        self.lanes = lanes
        self._hedging = Hedging(dispatch, lanes=lanes, clock=clock)
        self._clock = clock
        self._draw = draw

    async def __call__(self, exchange: Exchange) -> Answer:
        """Answer from the first target that can; raises what the last one said, as a `GatewayError`."""
        began_ns = self._clock.monotonic_ns()
        try:
            return await self._answer(exchange, exchange.route, tried=set())
        except ProviderError as error:
            raise client_error(error) from error
        finally:
            ended_ns = self._clock.monotonic_ns()
            exchange.upstream_ns += ended_ns - began_ns
            verdict: Verdict = "failed" if exchange.served is None else "answered"
            exchange.notes.steps.append(LayerStep("upstream", verdict, began_ns, ended_ns))

    async def _answer(self, exchange: Exchange, route: Route, *, tried: set[str], after: str | None = None) -> Answer:
        """Answer from a route, or from those that it falls back to, each of which may fall back itself."""
        tried.add(route.name)
        try:
            return await self._serve(exchange, route, after=after)
        except ProviderError as error:
            failure = error
        for name in fallbacks_of(route, failure):
            other = exchange.alternatives.get(name)
            if other is None or name in tried or self._is_past(exchange, 0.0):
                continue
            exchange.enter(other)
            try:
                return await self._answer(exchange, other, tried=tried, after=failure.code)
            except ProviderError as error:
                failure = error
        raise failure

    async def _serve(self, exchange: Exchange, route: Route, *, after: str | None) -> Answer:
        """Answer from a route's targets: one attempt and its retries, in the balancer's order, wrapping.

        `after` is the error code that another route was left for.
        """
        order = self.lanes.order(exchange, route)
        others = sum(max(1, len(target.credentials)) for target in order) - 1
        turn = extra = 0
        called: set[str] = set()
        failure: ProviderError | None = None
        last: Step | None = None

        def passed_over(target: RouteTarget, reason: str) -> None:
            exchange.notes.skipped.append(Skipped(route.name, target.name, reason))

        while (
            found := self.lanes.next_step(
                order,
                turn,
                called=called,
                is_retry=last is not None,
                leaves_alone=route.breaker,
                passed_over=passed_over,
            )
        ) is not None:
            turn, step = found
            self.lanes.count(step, called)
            if failure is None or last is None:
                step = self._first(exchange, step, after=after)
            else:
                step = await self._again(exchange, step, last=last, failure=failure, extra=extra - 1)
            self.lanes.note_call(step)
            try:
                return await self._hedging.attempt(exchange, step, order=order, called=called)
            except ProviderError as error:
                failure, last = error, step
            # That a credential is refused takes it out; finding that out is nobody's turn while there is another.
            if isinstance(failure, CredentialRefused) and others:
                others -= 1
            else:
                extra += 1
            if extra > route.retries or not failure.retryable:
                break
            turn += 1
        if failure is None:
            raise ProviderRateLimited(retry_after_s=self.lanes.cooled_s(order))
        raise failure

    def _first(self, exchange: Exchange, step: Step, *, after: str | None) -> Step:
        """Return the first step of a route; what speaks against its only target is noted."""
        if step.lane.breaker.open_until_ns and has_one_order(exchange.route):
            exchange.notes.orders.append(self.lanes.ordered(exchange, exchange.route))
        return step if after is None else step._replace(why="fallback", after=after)

    async def _again(self, exchange: Exchange, step: Step, *, last: Step, failure: ProviderError, extra: int) -> Step:
        """Return a step that is taken because of a failure, when it may be taken."""
        began_ns = self._clock.monotonic_ns()
        await self._pause(exchange, step, last=last, failure=failure, extra=extra)
        return step._replace(why="retry", after=failure.code, waited_ns=self._clock.monotonic_ns() - began_ns)

    async def _pause(self, exchange: Exchange, step: Step, *, last: Step, failure: ProviderError, extra: int) -> None:
        """Wait before another call to the same provider, as long as it asks or with jitter; never past the deadline.

        Whoever asked somebody else to be left alone is left alone too.
        """
        wait_s = step.lane.cooled_s(self._clock.monotonic_ns())
        is_rotated = step.lane is not last.lane and isinstance(failure, ProviderRateLimited | CredentialRefused)
        if step.choice.provider == last.choice.provider and not is_rotated:
            wait_s = max(wait_s, pause_s(max(extra, 0), draw=self._draw(), asked_s=failure.retry_after_s))
        if not wait_s:
            return
        if wait_s > LONGEST_PAUSE_S or self._is_past(exchange, wait_s):
            raise failure
        await asyncio.sleep(wait_s)

    def _is_past(self, exchange: Exchange, pause_s: float) -> bool:
        deadline_ns = exchange.deadline_ns
        return deadline_ns is not None and self._clock.monotonic_ns() + int(pause_s * _NS_PER_S) >= deadline_ns


def fallbacks_of(route: Route, failure: ProviderError) -> Sequence[str]:
    """Return the names of the models that a failure makes a route fall back to.

    A request that is wrong is wrong everywhere; one that is too long, or whose content is refused, may not be: for
    these there are lists of their own, and without such a list the general one.
    """
    fallbacks = route.fallbacks
    if isinstance(failure, ContextTooLong):
        return fallbacks.context_length or fallbacks.any
    if isinstance(failure, ContentBlocked):
        return fallbacks.content_policy or fallbacks.any
    return fallbacks.any if failure.retryable else ()


def client_error(error: ProviderError) -> GatewayError:
    """Return what a provider's failure is to the client: never more of the provider than it may know.

    A refusal has the vendor's code. Where that a prompt is too long has none but that of any bad request, as with most
    vendors, it has the one that clients look for.
    """
    if isinstance(error, RequestRefused):
        code = error.code if isinstance(error, ContextTooLong) else error.vendor_code or error.code
        kind = NotFound if error.status == _NOT_FOUND else UpstreamRefused
        return kind(error.message, code=code, param=error.param)
    if isinstance(error, ProviderRateLimited):
        wait_s = None if error.retry_after_s is None else min(error.retry_after_s, _MAX_RETRY_AFTER_S)
        return UpstreamRateLimited(code=error.code, retry_after_s=1.0 if wait_s is None else wait_s)
    if isinstance(error, ProviderTimedOut):
        return UpstreamTimedOut(error.message, code=error.code)
    return UpstreamFailed(error.message, code=error.code)
