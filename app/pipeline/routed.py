"""Tries targets until one answers: retries stop at the first content that the client could have seen."""

import asyncio
import random
from collections.abc import Callable

from app.kernel.clock import Clock
from app.kernel.errors import (
    GatewayError,
    NotFound,
    UpstreamFailed,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
)
from app.pipeline.dispatch import Dispatch
from app.pipeline.exchange import Answer, Exchange
from app.routing.order import order_targets
from providers.errors import ContextTooLong, ProviderError, ProviderRateLimited, ProviderTimedOut, RequestRefused

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_NS_PER_S = 1_000_000_000
_MAX_RETRY_AFTER_S = 60.0
_NOT_FOUND = 404


class Routed:
    """The layer that chooses targets."""

    def __init__(self, dispatch: Dispatch, clock: Clock, *, draw: Callable[[], float] = random.random) -> None:
        """Make it; `draw` returns uniform numbers over [0, 1)."""
        self._dispatch = dispatch
        self._clock = clock
        self._draw = draw

    async def __call__(self, exchange: Exchange) -> Answer:
        """Answer from the first target that can; raises what the last one said, as a `GatewayError`."""
        route = exchange.route
        if len(route.targets) == 1 and route.retries == 0:
            return await self._only(exchange)
        order = order_targets(route.targets, balance=route.balance, draw=self._draw())
        for extra in range(route.retries + 1):
            choice = order[extra % len(order)]
            try:
                return await self._dispatch.attempt(exchange, choice)
            except ProviderError as error:
                if extra == route.retries or not error.retryable:
                    raise client_error(error) from error
                again = order[(extra + 1) % len(order)].provider == choice.provider
                await self._pause(exchange, extra if again else 0, error if again else None)
        raise AssertionError("unreachable")  # pragma: no cover - the loop returns or raises

    async def _only(self, exchange: Exchange) -> Answer:
        try:
            return await self._dispatch.attempt(exchange, exchange.route.targets[0])
        except ProviderError as error:
            raise client_error(error) from error

    async def _pause(self, exchange: Exchange, extra: int, error: ProviderError | None) -> None:
        """Wait before another call to the same provider, as long as it asks or with jitter; never past the deadline."""
        if error is None:
            return
        pause_s: float = min(_FIRST_PAUSE_S * 2**extra, _LONGEST_PAUSE_S) * (0.5 + self._draw() / 2)
        if error.retry_after_s is not None:
            pause_s = max(pause_s, error.retry_after_s)
        if pause_s > _LONGEST_PAUSE_S or self._is_past(exchange, pause_s):
            raise client_error(error) from error
        await asyncio.sleep(pause_s)

    def _is_past(self, exchange: Exchange, pause_s: float) -> bool:
        deadline_ns = exchange.deadline_ns
        return deadline_ns is not None and self._clock.monotonic_ns() + int(pause_s * _NS_PER_S) >= deadline_ns


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
