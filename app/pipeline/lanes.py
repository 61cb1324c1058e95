"""What is known of a route's targets at the moment of a request, and which of their lanes is taken next."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.domain.prices import PriceBook, cost
from app.kernel.clock import Clock
from app.limits.estimate import guess_tokens
from app.pipeline.exchange import Exchange
from app.pipeline.notes import AttemptReason, Order
from app.routing.balance import rank
from app.routing.candidates import Candidate
from app.routing.health import Health, Lane
from app.routing.retrying import LONGEST_PAUSE_S
from app.routing.sticky import sticky_key
from app.routing.table import Route, RouteTarget
from providers.types import Usage

_PLAIN = frozenset({"weighted", "priority"})
"""Strategies that know nothing of how targets fare."""
_OUTPUT_TOKENS = 256
"""How long an answer is taken to be that nobody has bounded."""


class Step(NamedTuple):
    """What is called: a target with one of its credentials, how that lane fares, and why it is called.

    `after` is the error code of the call before that made it needed, `waited_ns` how long was waited in between.
    """

    choice: RouteTarget
    lane: Lane
    why: AttemptReason = "first"
    after: str | None = None
    waited_ns: int = 0


class Lanes:
    """Finds out what to call. Made for each worker over its health."""

    def __init__(
        self,
        health: Health,
        *,
        prices: PriceBook,
        clock: Clock,
        trying: Callable[[Lane], None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Make it; `draw` returns uniform numbers over [0, 1), `trying` is told of lanes that are tried again."""
        self._trying = trying
        self._health = health
        self._prices = prices
        self._clock = clock
        self._draw = draw

    # -- the order of targets -----------------------------------------------------------------------------------------

    def order(self, exchange: Exchange, route: Route) -> Sequence[RouteTarget]:
        """Return a route's targets, the first to try first; reasons are noted where they are not always the same."""
        if has_one_order(route):
            return route.targets
        order = self.ordered(exchange, route)
        exchange.notes.orders.append(order)
        return [route.targets[each.position] for each in order.ranked]

    def ordered(self, exchange: Exchange, route: Route) -> Order:
        """Return the order of a route's targets, with what is known of them and the reasons for it."""
        key = None
        if route.sticky != "none":
            key = sticky_key(
                route.sticky,
                organization_id=exchange.principal.organization_id,
                session=exchange.options.session,
                document=exchange.document,
            )
        tokens_out = self._output_tokens(exchange)
        candidates = self._candidates(exchange, route)
        ranked = rank(
            candidates,
            balance=route.balance,
            draw=self._draw,
            output_tokens=tokens_out,
            sticky_key=key,
        )
        return Order(route, candidates, ranked)

    def _candidates(self, exchange: Exchange, route: Route) -> list[Candidate]:
        """Return what is known of a route's targets now."""
        now_ns = self._clock.monotonic_ns()
        usage = None
        if route.balance == "cost":
            usage = Usage(input_tokens=guess_tokens(exchange.measured()), output_tokens=self._output_tokens(exchange))
        return [
            self._candidate(route, position, usage=usage, is_streamed=exchange.stream, now_ns=now_ns)
            for position in range(len(route.targets))
        ]

    def _candidate(
        self, route: Route, position: int, *, usage: Usage | None, is_streamed: bool, now_ns: int
    ) -> Candidate:
        target = route.targets[position]
        lane = self._best_lane(target, now_ns)
        first = lane.first if is_streamed else lane.whole
        price = None
        if usage is not None:
            price = target.price or self._prices.find(target.vendor, target.target.model)
        state = lane.breaker.state(now_ns) if route.breaker else "closed"
        return Candidate(
            position=position,
            name=target.name,
            provider=target.provider,
            weight=target.weight,
            inflight=lane.inflight,
            ttft_s=first.expected_s(now_ns),
            token_s=lane.per_token.expected_s(now_ns) if is_streamed else None,
            samples=first.count,
            cost_nusd=None if price is None or usage is None else cost(price, usage),
            is_open=state != "closed",
            is_probing=state == "half_open" and lane.breaker.may_try(now_ns),
            cooled_s=lane.left_alone_s(now_ns),
        )

    @staticmethod
    def _output_tokens(exchange: Exchange) -> int:
        if not exchange.operation.generates:
            return 0
        asked = exchange.operation.vocabulary.asked_cap(exchange.document)
        return min(each for each in (asked, exchange.output_cap, _OUTPUT_TOKENS) if each is not None)

    def first(self, order: Order) -> int | None:
        """Return the position of the target that would be called first; nothing if nobody may be asked now."""
        targets = [order.route.targets[each.position] for each in order.ranked]
        found = self.next_step(
            targets,
            0,
            called=set(),
            is_retry=False,
            leaves_alone=order.route.breaker,
            passed_over=lambda _target, _reason: None,
        )
        return None if found is None else order.ranked[found[0]].position

    # -- the lanes of a target ----------------------------------------------------------------------------------------

    def _best_lane(self, target: RouteTarget, now_ns: int) -> Lane:
        """Return the lane of a target that least speaks against; among equals the least used."""
        if len(target.credentials) <= 1:
            return self._health.lane(target.provider, target.lane_model)
        lanes = (
            self._health.lane(target.provider, target.lane_model, number) for number in range(len(target.credentials))
        )
        return min(lanes, key=lambda lane: _objections(lane, now_ns))

    def next_step(
        self,
        order: Sequence[RouteTarget],
        turn: int,
        *,
        called: set[str],
        is_retry: bool,
        leaves_alone: bool,
        passed_over: Callable[[RouteTarget, str], None],
    ) -> tuple[int, Step] | None:
        """Return the next lane from a turn on, and whose turn it is; nothing if nobody may be asked now.

        Left out is a provider that was asked already and may not be asked again, and, if it `leaves_alone`, who asked
        to be left alone for longer than anybody waits; `passed_over` is told of both. A route whose every credential is
        refused is tried all the same.
        """
        now_ns = self._clock.monotonic_ns()
        patience_s = LONGEST_PAUSE_S if is_retry else 0.0
        fallback: tuple[int, Step] | None = None
        for offset in range(len(order)):
            target = order[(turn + offset) % len(order)]
            if target.provider in called and not self._health.budget(target.provider).may_retry(now_ns):
                passed_over(target, "retry_budget_spent")
                continue
            lane = self._best_lane(target, now_ns)
            cooled_s = lane.cooled_s(now_ns)
            if leaves_alone and (lane.is_locked_out(now_ns) or cooled_s > patience_s):
                if fallback is None and not cooled_s and not is_retry:
                    fallback = turn + offset, self._step(target, lane)
                passed_over(target, "credential_refused" if lane.is_locked_out(now_ns) else "left_alone")
                continue
            return turn + offset, self._step(target, lane)
        return fallback

    def beside(self, step: Step, order: Sequence[RouteTarget], *, called: set[str]) -> Step | None:
        """Return a lane that is well and may be called beside another; nothing if there is none."""
        now_ns = self._clock.monotonic_ns()
        for target in order:
            lane = self._best_lane(target, now_ns)
            is_well = not lane.left_alone_s(now_ns) and lane.breaker.state(now_ns) == "closed"
            may_call = target.provider not in called or self._health.budget(target.provider).may_retry(now_ns)
            if lane is not step.lane and is_well and may_call:
                return self._step(target, lane)
        return None

    @staticmethod
    def _step(target: RouteTarget, lane: Lane) -> Step:
        return Step(target.with_credential(lane.name.credential), lane)

    def count(self, step: Step, called: set[str]) -> None:
        """Count a call that is going to be made; `called` are the providers that the request has asked already.

        It is counted as soon as that is decided: whoever waits before it must not let others think there is room.
        """
        provider, now_ns = step.choice.provider, self._clock.monotonic_ns()
        budget = self._health.budget(provider)
        if provider in called:
            budget.retried(now_ns)
        else:
            budget.called(now_ns)
            called.add(provider)

    def note_call(self, step: Step) -> None:
        """Note that a lane is called now."""
        now_ns = self._clock.monotonic_ns()
        if step.lane.breaker.may_try(now_ns):
            step.lane.breaker.begin_try(now_ns)
            self._trying(step.lane)

    def cooled_s(self, order: Sequence[RouteTarget]) -> float:
        """Return in how many seconds the first of some targets may be asked again."""
        now_ns = self._clock.monotonic_ns()
        return min(self._best_lane(target, now_ns).cooled_s(now_ns) for target in order)


def has_one_order(route: Route) -> bool:
    """Whether a route's targets are tried in the same order, for the same reasons, whatever is known of them."""
    return len(route.targets) == 1 and route.sticky == "none" and route.balance in _PLAIN


def _objections(lane: Lane, now_ns: int) -> tuple[bool, float, bool, int, int]:
    is_open = lane.breaker.state(now_ns) == "open"
    return lane.is_locked_out(now_ns), lane.cooled_s(now_ns), is_open, lane.inflight, lane.used
