"""Whether targets can be told a request: its translation is made, and sent to nobody. Law: pure, as dialects are.

The same functions word it as for a real request; where these are sent, here only their refusals are kept.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.fanout.extensions import Extensions
from app.fanout.strategies import strategy_of
from app.fanout.strategy import asks_whole
from app.kernel.errors import GatewayError
from app.pipeline.bent import check
from app.pipeline.exchange import Exchange
from app.pipeline.fanned import check_references
from app.pipeline.lanes import Lanes
from app.pipeline.notes import Order
from app.pipeline.routed import client_error
from app.pipeline.wording import canonical_request, is_relayed, relayed_request, tell_client
from app.routing.table import Route, RouteTarget
from app.routing.transform import apply_edits
from providers.errors import RequestRefused
from providers.protocol import RequestChecker
from providers.types import ChatRequest


class Rehearsed(NamedTuple):
    """What became of a route's rehearsal: the order of its targets, and why those refuse that do, by position.

    `unknown` are the positions of those whose adapters do not tell beforehand. `refusal` is what whoever is called
    first has against the request: that is wrong everywhere, so that nobody else is called.
    """

    order: Order
    refusals: Mapping[int, GatewayError]
    unknown: Sequence[int]
    refusal: GatewayError | None


def rehearse(exchange: Exchange, lanes: Lanes) -> list[Rehearsed]:
    """Return what would be tried first, and how: the route of a request, or those of all models that answer together.

    Raises `GatewayError` for what no target is asked about.
    """
    fanout = exchange.fanout
    if fanout is None:
        return [_of_route(exchange, exchange.route, lanes)]
    check_references(exchange)
    strategy = strategy_of(fanout.spec, patience_ns=[None] * len(fanout.legs), extensions=Extensions())
    parts = [exchange.leg(route, is_whole=asks_whole(strategy, number)) for number, route in enumerate(fanout.legs)]
    return [_of_route(part, part.route, lanes) for part in parts]


def refusal_of_all(rehearsed: Sequence[Rehearsed]) -> GatewayError | None:
    """Return what the client is told if nobody who is asked can be told the request; nothing if anybody can."""
    refusals = [each.refusal for each in rehearsed if each.refusal is not None]
    return refusals[0] if len(refusals) == len(rehearsed) and len({type(each) for each in refusals}) == 1 else None


def _of_route(exchange: Exchange, route: Route, lanes: Lanes) -> Rehearsed:
    order = lanes.ordered(exchange, route)
    refusals: dict[int, GatewayError] = {}
    unknown = []
    for position, target in enumerate(route.targets):
        try:
            is_told = _check(exchange, target)
        except RequestRefused as error:
            tell_client(error, exchange)
            refusals[position] = client_error(error)
        else:
            unknown += [] if is_told else [position]
    first = lanes.first(order)
    return Rehearsed(order, refusals, unknown, None if first is None else refusals.get(first))


def _check(exchange: Exchange, target: RouteTarget) -> bool:
    """Word a request for a target; returns whether its adapter tells beforehand what it refuses."""
    estimate, adapter = exchange.operation.estimate, target.adapter
    if is_relayed(exchange, target):
        if not isinstance(adapter, RequestChecker):
            return False
        adapter.check_request(relayed_request(exchange), target.target)
        return True
    if estimate is not None:
        estimate(apply_edits(exchange.document, exchange.edits))
        return True
    request, written = canonical_request(exchange, target)
    if not isinstance(adapter, RequestChecker):
        return False
    if written and isinstance(request, ChatRequest):
        check(adapter, request, target.target, written=written)
    else:
        adapter.check_request(request, target.target)
    return True
