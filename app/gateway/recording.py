"""Writes down what became of a request, when it has ended. Law: as little work as can be; nothing is told here."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from app.domain.keys.principal import Principal
from app.domain.prices import Price
from app.gateway.tally import Finished
from app.limits.accounts import Grant
from app.limits.plan import Plan
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange
from app.pipeline.explained_routes import Asking, ExplainedRoutes, source_of
from app.pipeline.fanout import Fanout
from app.pipeline.foresight import Hindsight
from app.pipeline.notes import Notes, Refusal
from app.pipeline.records import (
    AttemptRecord,
    FanoutRecord,
    GrantRecord,
    PlanRecord,
    RefusalRecord,
    RequestRecord,
    RouteRecord,
    Whose,
    encode_record,
)
from app.routing.table import Route

_SHOWN = 100
_MOST_KEYS = 10_000
_MOST_PRICES = 2_000
_NO_MONEY: tuple[int, ...] = ()
_REDIS = "redis"
_encode_price = msgspec.msgpack.Encoder().encode


class Recording:
    """Writes requests down. One for each worker; what is the same for many is encoded once."""

    def __init__(self, routes: ExplainedRoutes, *, hindsight: Hindsight) -> None:
        self._routes = routes
        self._hindsight = hindsight
        self._whose: dict[UUID, tuple[Principal, Whose]] = {}
        self._prices: dict[str, tuple[Price, bytes]] = {}

    def __call__(self, finished: Finished, *, degraded: Sequence[str]) -> RequestRecord | None:
        """Return what is kept of a request; nothing of one of which nobody knows whose it was."""
        exchange, notes = finished.exchange, finished.notes
        if exchange is not None:
            return self._record(finished, exchange, degraded=degraded)
        if notes is None or notes.principal is None:
            return None
        return self._unread(finished, notes, notes.principal, degraded=degraded)

    def _record(self, finished: Finished, exchange: Exchange, *, degraded: Sequence[str]) -> RequestRecord:
        notes, operation, grant, prompt = exchange.notes, exchange.operation, exchange.grant, exchange.prompt
        hit, served, fanout, refusal = exchange.hit, exchange.served, exchange.fanout, notes.refusal
        if grant is not None and grant.is_local and _REDIS not in degraded:
            degraded = [*degraded, _REDIS]
        text_bytes = exchange.text_bytes
        return RequestRecord(
            self._whose_is(exchange.principal),
            exchange.asked.model[:_SHOWN],
            operation.name,
            operation.dialect,
            text_bytes,
            text_bytes if prompt is None else prompt.text_bytes,
            _least(notes.asked_cap, exchange.output_cap),
            exchange.asked.stream,
            finished.status,
            finished.error_code,
            exchange.started_ns,
            finished.took_ns,
            hit.began_ns if hit is not None else served.first_ns if served is not None else None,
            exchange.upstream_ns,
            exchange.overhead_ns,
            exchange.cost_nusd,
            notes.steps,
            self._routes_of(exchange),
            [self._attempt(attempt) for attempt in exchange.attempts],
            self._hindsight(exchange),
            None if grant is None else _grant(grant),
            None if refusal is None else _refusal(refusal),
            notes.skipped,
            None if fanout is None else _fanout(exchange, fanout),
            degraded,
            [name[:_SHOWN] for name in exchange.dropped] if exchange.dropped else (),
        )

    def _unread(
        self, finished: Finished, notes: Notes, principal: Principal, *, degraded: Sequence[str]
    ) -> RequestRecord:
        """Return what is kept of a request that was refused before it was understood."""
        return RequestRecord(
            self._whose_is(principal),
            (notes.model or "")[:_SHOWN],
            None,
            None,
            0,
            0,
            None,
            False,  # noqa: FBT003 - a field by its place, as all are here
            finished.status,
            finished.error_code,
            notes.steps[0].began_ns if notes.steps else 0,
            finished.took_ns,
            None,
            0,
            finished.took_ns,
            0,
            notes.steps,
            degraded=degraded,
        )

    def _whose_is(self, principal: Principal) -> Whose:
        known = self._whose.get(principal.key_id)
        if known is not None and known[0] is principal:
            return known[1]
        if len(self._whose) >= _MOST_KEYS:
            self._whose.clear()
        team = principal.team_id
        whose = Whose(str(principal.organization_id), None if team is None else str(team), str(principal.key_id))
        self._whose[principal.key_id] = (principal, whose)
        return whose

    def _routes_of(self, exchange: Exchange) -> list[RouteRecord]:
        """Return the route that was asked, and those that were tried beside it, in the order in which they were."""
        alternatives, attempts, orders = exchange.alternatives, exchange.attempts, exchange.notes.orders
        only = attempts[0].route if attempts else exchange.route
        source, is_plain = source_of(exchange), not orders
        for attempt in attempts:
            is_plain = is_plain and attempt.route is only
        ready = self._routes.ready(only, source) if is_plain else None
        if ready is not None:
            return [ready]
        asking = Asking(exchange.principal, source, alternatives, frozenset(alternatives))
        if is_plain:
            return [self._routes.record(only, asking)]
        ordered = {order.route.name: order for order in reversed(orders)}
        tried: dict[str, Route] = {}
        for attempt in attempts:
            tried.setdefault(attempt.model, attempt.route)
        for order in orders:
            tried.setdefault(order.route.name, order.route)
        return [
            self._routes.record_of(ordered[name], asking) if name in ordered else self._routes.record(route, asking)
            for name, route in tried.items()
        ]

    def _attempt(self, attempt: Attempt) -> AttemptRecord:
        price, lane = attempt.price, attempt.lane
        return AttemptRecord(
            attempt.number,
            attempt.model,
            attempt.provider,
            attempt.upstream_model,
            0 if lane is None else lane.name.credential,
            attempt.why,
            attempt.after,
            attempt.waited_ns,
            attempt.started_ns,
            attempt.first_ns,
            attempt.ended_ns,
            attempt.outcome,
            attempt.status,
            attempt.error_code,
            attempt.leg,
            attempt.usage,
            attempt.usage_source,
            attempt.cost_nusd,
            None if price is None else self._price(price),
        )

    def _price(self, price: Price) -> bytes:
        known = self._prices.get(price.version)
        if known is not None and known[0] is price:
            return known[1]
        if len(self._prices) >= _MOST_PRICES:
            self._prices.clear()
        encoded = _encode_price(price)
        self._prices[price.version] = (price, encoded)
        return encoded


def _least(asked: int | None, allowed: int | None) -> int | None:
    """Return what bounds an output: what was asked for, or what the gateway has allowed of it."""
    if asked is None or allowed is None:
        return allowed if asked is None else asked
    return min(asked, allowed)


def _grant(grant: Grant) -> GrantRecord:
    granted, windows = grant.granted, grant.reservation.windows
    return GrantRecord(
        _plan(grant.plan),
        granted.at_ms,
        granted.held_nusd,
        [window.amount for window in windows] if windows else _NO_MONEY,
        granted.used,
        len(grant.budgets),
        granted.balances,
        [window.limit for window in windows] if grant.is_local else None,
    )


def _refusal(refusal: Refusal) -> RefusalRecord:
    return RefusalRecord(_plan(refusal.plan), refusal.denied, refusal.message)


def _plan(plan: Plan) -> bytes:
    if plan.record is None:
        plan.record = encode_record(PlanRecord(plan.rules, plan.policy.in_flight, plan.budgets))
    return plan.record


def _fanout(exchange: Exchange, fanout: Fanout) -> FanoutRecord:
    return FanoutRecord(
        fanout.name,
        fanout.spec.strategy,
        exchange.leg_reports,
        None if fanout.judge is None else fanout.judge.name,
        None if fanout.fuser is None else fanout.fuser.name,
        exchange.fan_reason,
    )
