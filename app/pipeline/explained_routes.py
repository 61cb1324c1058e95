"""Routes as data: their targets in the order in which they are tried, with scores and reasons, and their fallbacks.

Law: pure. What is the same for every request of a route is described, and encoded, once.
"""

from collections.abc import Mapping, Sequence
from math import inf, isinf
from typing import Any, Literal, NamedTuple

import msgspec

from app.domain.keys.principal import Principal
from app.domain.prices import Price, PriceBook
from app.kernel.errors import GatewayError
from app.kernel.money import format_usd
from app.pipeline.exchange import Exchange
from app.pipeline.explanation import ExplainedFallback, ExplainedPrice, ExplainedRoute, ExplainedTarget
from app.pipeline.lanes import has_one_order
from app.pipeline.notes import Order
from app.pipeline.records import PlaceRecord, RouteRecord, StateRecord
from app.pipeline.routed import fallbacks_of
from app.routing.balance import rank
from app.routing.breaker import State
from app.routing.candidates import Candidate, Ranked
from app.routing.table import NO_FALLBACKS, Route, RouteTarget
from app.settings.model import Transform
from providers.errors import ContentBlocked, ContextTooLong, ProviderError, ProviderOverloaded

Source = Literal["model", "ensemble", "fanout", "pinned"]
_FAILURES: Mapping[str, ProviderError] = {
    "any": ProviderOverloaded(),
    "context_length": ContextTooLong(),
    "content_policy": ContentBlocked(),
}
_MOST_ROUTES = 1_000


class Asking(NamedTuple):
    """Who asks, by which source a route was found, and the models that it may fall back to.

    `allowed` are those that the caller may use, of which some may have been left out for want of a price.
    """

    principal: Principal
    source: Source
    alternatives: Mapping[str, Route]
    allowed: frozenset[str]


class Bound(NamedTuple):
    """What a target would cost, in nano-USD: likely, and at most. Absent where it has no price."""

    likely_nusd: int | None = None
    most_nusd: int | None = None


_UNBOUND = Bound()
NO_REFUSALS: Mapping[int, GatewayError] = {}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ExplainedRoute).decode


class ExplainedRoutes:
    """Describes routes. One for each worker; `prices` are those of the catalogue."""

    def __init__(self, prices: PriceBook) -> None:
        self._prices = prices
        self._ready: dict[str, tuple[Route, Source, RouteRecord]] = {}

    def ready(self, route: Route, source: Source) -> RouteRecord | None:
        """Return what is kept of a route, if it has been described for this source and is the same for all."""
        known = self._ready.get(route.name)
        return known[2] if known is not None and known[0] is route and known[1] == source else None

    def record(self, route: Route, asking: Asking) -> RouteRecord:
        """Return what is kept of a route whose targets were tried in the order that they always are."""
        if route.fallbacks is not NO_FALLBACKS:
            return RouteRecord(_encode(self.described(only_order(route), asking)))
        ready = self.ready(route, asking.source)
        if ready is not None:
            return ready
        if len(self._ready) >= _MOST_ROUTES:
            self._ready.clear()
        made = RouteRecord(_encode(self.described(only_order(route), asking)))
        self._ready[route.name] = (route, asking.source, made)
        return made

    def record_of(self, order: Order, asking: Asking) -> RouteRecord:
        """Return what is kept of a route whose targets were tried in an order of their own."""
        unwell = [
            StateRecord(each.position, _state(each), each.cooled_s)
            for each in order.candidates
            if each.is_open or each.cooled_s
        ]
        places = [PlaceRecord(each.position, each.score, each.reason) for each in order.ranked]
        return RouteRecord(self.record(order.route, asking).described, places, unwell)

    def described(
        self,
        order: Order,
        asking: Asking,
        *,
        bounds: Sequence[Bound] = (),
        refusals: Mapping[int, GatewayError] = NO_REFUSALS,
        knows_lanes: bool = True,
    ) -> ExplainedRoute:
        """Return a route as its targets were ordered.

        `bounds` has what each costs, `refusals` why those refuse the request that cannot be told it, by position.
        """
        route = order.route
        return ExplainedRoute(
            name=route.name,
            source=asking.source,
            balance=route.balance,
            sticky=route.sticky,
            retries=route.retries,
            breaker=route.breaker,
            hedge=None if route.hedge is None else msgspec.to_builtins(route.hedge),
            timeouts=route.timeouts,
            transform=None if route.transform is None else _transform(route.transform),
            targets=[
                self._target(
                    route.targets[place.position],
                    order.candidates[place.position],
                    place,
                    bound=bounds[place.position] if bounds else _UNBOUND,
                    refusal=refusals.get(place.position),
                    knows_lanes=knows_lanes,
                )
                for place in order.ranked
            ],
            fallbacks={kind: _chain(route, failure, asking, {route.name}) for kind, failure in _FAILURES.items()},
        )

    def _target(
        self,
        target: RouteTarget,
        candidate: Candidate,
        place: Ranked,
        *,
        bound: Bound,
        refusal: GatewayError | None,
        knows_lanes: bool,
    ) -> ExplainedTarget:
        price = target.price or self._prices.find(target.vendor, target.target.model)
        return ExplainedTarget(
            target=target.name,
            weight=target.weight,
            credentials=len(target.credentials),
            score=_finite(place.score),
            reason=_reason(place, refusal),
            breaker=_state(candidate) if knows_lanes else None,
            left_alone_s=candidate.cooled_s if knows_lanes else None,
            price=None if price is None else explained_price(price),
            likely_cost=None if bound.likely_nusd is None else format_usd(bound.likely_nusd),
            cost_bound=None if bound.most_nusd is None else format_usd(bound.most_nusd),
        )


def told(record: RouteRecord) -> ExplainedRoute:
    """Return what is told of a route."""
    route, places = _decode(record.described), record.places
    if not places:
        return route
    states = {each.position: each for each in record.unwell}
    return msgspec.structs.replace(route, targets=[_at(route.targets[p.position], p, states) for p in places])


def _at(target: ExplainedTarget, place: PlaceRecord, states: Mapping[int, StateRecord]) -> ExplainedTarget:
    state = states.get(place.position)
    return msgspec.structs.replace(
        target,
        score=_finite(place.score),
        reason=place.reason,
        breaker="closed" if state is None else state.breaker,
        left_alone_s=0.0 if state is None else state.cooled_s,
    )


def _reason(place: Ranked, refusal: GatewayError | None) -> str:
    if refusal is None:
        return place.reason
    return f"{place.reason}; refuses the request: {refusal.message}" if place.reason else refusal.message


def _finite(score: float) -> float | None:
    return None if isinf(score) else score


def _state(candidate: Candidate) -> State:
    return "half_open" if candidate.is_probing else "open" if candidate.is_open else "closed"


def source_of(exchange: Exchange) -> Source:
    """Return what a request named: a model, an ensemble, several models, or one target."""
    fanout = exchange.fanout
    if fanout is not None:
        return "fanout" if fanout.name == fanout.spec.strategy else "ensemble"
    return "model" if exchange.options.route is None else "pinned"


def only_order(route: Route) -> Order:
    """Return the targets of a route in the file's order, as they are where nothing speaks against them."""
    candidates = [
        Candidate(position=position, name=target.name, provider=target.provider, weight=target.weight)
        for position, target in enumerate(route.targets)
    ]
    if has_one_order(route):
        return Order(route, candidates, rank(candidates, balance=route.balance, draw=lambda: 0.0))
    return Order(route, candidates, [Ranked(each.position, inf, "") for each in candidates])


def explained_price(price: Price) -> ExplainedPrice:
    """Return a price as it is told."""
    rates = price.rates
    return ExplainedPrice(
        version=price.version,
        input=format_usd(rates.input_nusd),
        output=format_usd(rates.output_nusd),
        cache_read=format_usd(rates.cache_read_nusd),
        cache_write=format_usd(rates.cache_write_nusd),
    )


def _transform(transform: Transform) -> dict[str, Any]:
    """Return what an operator changes, by names: values may be content, or secret."""
    return {
        "default": sorted(transform.default),
        "set": sorted(transform.set),
        "drop": list(transform.drop),
        "rename": dict(transform.rename),
        "system_prefix_bytes": len((transform.system_prefix or "").encode()),
    }


def _chain(route: Route, failure: ProviderError, asking: Asking, tried: set[str]) -> list[ExplainedFallback]:
    """Return what would be tried after a route, and after each of these, if all of them fail in the same way."""
    found: list[ExplainedFallback] = []
    for name in fallbacks_of(route, failure):
        if name in tried:
            continue
        other = asking.alternatives.get(name)
        if other is None:
            reason = _objection(asking, name)
            found.append(ExplainedFallback(model=name, after=route.name, targets=[], is_used=False, reason=reason))
            continue
        tried.add(name)
        targets = [target.name for target in other.targets]
        found.append(ExplainedFallback(model=name, after=route.name, targets=targets, is_used=True))
        found += _chain(other, failure, asking, tried)
    return found


def _objection(asking: Asking, name: str) -> str:
    if name in asking.allowed:
        return "it has no price, and a budget applies"
    if not asking.principal.may_use(name):
        return "the key may not use it"
    return "it is not served to this organisation, or cannot do what is asked"
