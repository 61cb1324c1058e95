"""What a request asks for, read off its body and headers: one exchange, whether it is to be answered or explained.

Law: it asks nobody and changes nothing. What is wrong is the caller's fault, and the error names the field.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from app.api.addresses import check_addresses
from app.api.body import JSON_TYPE
from app.domain.keys.principal import Principal
from app.fanout.spec import read_fanout, spec_of
from app.guards.fanout import requires_fanout, width_of
from app.guards.inference import Pin, requires_model, within_fallbacks
from app.kernel.errors import GatewayError, InvalidRequest
from app.pipeline.demand import asked_cap
from app.pipeline.exchange import Exchange
from app.pipeline.mentions import find_mentions
from app.pipeline.notes import Notes
from app.pipeline.operation import Asked, Operation
from app.pipeline.options import Options, read_options
from app.pipeline.references import find_references
from app.routing.table import NO_FALLBACKS, Route, RouteTable

_GATEWAY_FIELD = "gateway"
_FANOUT_FIELD = "fanout"
_OURS = frozenset({_GATEWAY_FIELD})
_CONVERSATIONS = frozenset({"chat", "completions"})
"""What several models may answer together."""
_SHOWN_NAME = 64
_NS_PER_S = 1_000_000_000


class Call(NamedTuple):
    """What a request says beside its body: the rest of its path, behind the part that all of its wire share, and query.

    `rest` is empty where the path is the same for all requests; `query` is as it was sent.
    """

    rest: str
    query: str


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """How one endpoint differs from the others.

    `path` is where it is served, if not at the operation's endpoint: it may end in `{rest:path}`. `also_at` are other
    templates for the same. `read` refuses bodies of the wrong shape and returns what they ask. `say_error` renders an
    error that comes instead of an answer, `say_late_error` one that comes inside a stream; both are given the request's
    id too. A late error of `None` tears the stream, where nothing could be said in it. `say_late_element` says one
    behind the elements of an array that has begun; without it such an array is torn. `media_type` is that of the
    bodies. `passes` are the client's headers that go on to a provider of the same dialect. `id_headers` carry the
    request's id back. `keeps_alive` is whether a quiet stream may be kept open with comments. `own_options` adds what
    bodies of this wire ask of the gateway in fields of their own; `has_fanout` is whether they may name several models
    in `fanout`.
    """

    operation: Operation
    read: Callable[[Mapping[str, Any], Call], Asked]
    say_error: Callable[[GatewayError, str], bytes]
    say_late_error: Callable[[GatewayError, str], bytes | None]
    say_late_element: Callable[[GatewayError, str], bytes] | None = None
    path: str = ""
    also_at: tuple[str, ...] = ()
    media_type: bytes = JSON_TYPE
    passes: tuple[bytes, ...] = ()
    id_headers: tuple[bytes, ...] = (b"x-request-id",)
    keeps_alive: bool = True
    own_options: Callable[[Options, Mapping[str, Any]], Options] | None = None
    has_fanout: bool = False

    @property
    def route(self) -> str:
        """The template of the paths that this wire is served at."""
        return self.path or self.operation.endpoint


class Said(NamedTuple):
    """All that a request says: its headers, its body as it came and decoded, and what its path says.

    `form_type` is the media type of a form; absent for JSON.
    """

    headers: Mapping[bytes, bytes]
    body: bytes
    document: Mapping[str, Any]
    call: Call
    form_type: str | None = None


class Understanding:
    """Understands the requests of one wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __call__(
        self,
        said: Said,
        principal: Principal,
        *,
        routes: RouteTable,
        most_legs: int,
        request_id: str,
        started_ns: int,
        notes: Notes,
    ) -> Exchange:
        """Return what a request asks for; `most_legs` is how wide its fan-out may be. Raises `GatewayError`.

        `notes` are its own from here on.
        """
        wire, document = self._wire, said.document
        asked = wire.read(document, said.call)
        notes.model = asked.model
        options = read_options(said.headers, document.get(_GATEWAY_FIELD))
        if wire.own_options is not None:
            options = wire.own_options(options, document)
        pin = None if options.route is None else Pin(*options.route, named_in=options.label("route"))
        route = requires_model(principal, routes, asked.model, pin=pin, named_in=asked.named_in)
        exchange = Exchange(
            request_id=request_id,
            principal=principal,
            operation=wire.operation,
            route=narrowed(route, wire.operation),
            body=said.body,
            document=document,
            started_ns=started_ns,
            asked=asked,
        )
        exchange.notes, exchange.options = notes, options
        notes.asked_cap = asked_cap(exchange)
        if said.form_type is not None:
            exchange.content_type = said.form_type
            exchange.text_bytes = len(msgspec.json.encode(document))
        mentions = find_mentions(document)
        check_addresses(mentions)
        exchange.references = find_references(document, mentions)
        if route.ensemble is not None or (wire.has_fanout and document.get(_FANOUT_FIELD) is not None):
            self._fan_out(exchange, routes, most_legs=most_legs)
        elif route.fallbacks is not NO_FALLBACKS or options.fallbacks is not None:
            _allow_fallbacks(exchange, routes)
        if route.transform is not None or _GATEWAY_FIELD in document:
            exchange.edit(drop=_OURS.intersection(document))
        if wire.passes:
            exchange.passed_headers = _passed(said.headers, wire.passes)
        exchange.deadline_ns = started_ns + int(patience_s(exchange, route) * _NS_PER_S)
        return exchange

    def _fan_out(self, exchange: Exchange, routes: RouteTable, *, most_legs: int) -> None:
        """Let several models answer an exchange: those of an ensemble, or those that the body names."""
        principal, route = exchange.principal, exchange.route
        operation, options = exchange.operation, exchange.options
        if operation.parse is None or operation.name not in _CONVERSATIONS or operation.estimate is not None:
            message = f"{operation.endpoint} is not answered by several models"
            raise InvalidRequest(message, code="unsupported_operation", param="model")
        if options.route is not None:
            raise InvalidRequest("a fan-out has no one target", param=options.label("route"))
        if options.fallbacks:
            raise InvalidRequest("a fan-out falls back to nobody", param=options.label("fallbacks"))
        if operation.vocabulary.asked_choices(exchange.document) != 1:
            raise InvalidRequest("a fan-out has one answer of each model", param=operation.vocabulary.choices[0])
        width = width_of(principal, most=most_legs)
        given = exchange.document.get(_FANOUT_FIELD) if self._wire.has_fanout else None
        is_ensemble = given is None and route.ensemble is not None
        if given is None and route.ensemble is not None:
            spec = spec_of(route.ensemble, label=f"ensembles.{route.name}", width=width)
            said: Any = msgspec.to_builtins(route.ensemble)
        elif route.ensemble is not None:
            message = f"{route.name[:_SHOWN_NAME]!r} is an ensemble: its models are chosen already"
            raise InvalidRequest(message, param=exchange.asked.named_in)
        else:
            spec, said = read_fanout(given, width=width), given
        exchange.route, exchange.fanout = requires_fanout(
            principal, routes, spec, route=route, said=said, is_ensemble=is_ensemble
        )


def _allow_fallbacks(exchange: Exchange, routes: RouteTable) -> None:
    """Let an exchange fall back to models that can do what it asks; a target of the caller's choice has none."""
    asked = exchange.options.fallbacks
    if asked is None and exchange.options.route is not None:
        return
    named_in = exchange.options.label("fallbacks")
    exchange.route, found = within_fallbacks(exchange.principal, routes, exchange.route, asked=asked, named_in=named_in)
    able = ((name, able_for(route, exchange.operation)) for name, route in found.items())
    exchange.alternatives = {name: route for name, route in able if route is not None}


def patience_s(exchange: Exchange, route: Route) -> float:
    """Return how long a request to a route may take: as its caller says, but no longer than its operator does."""
    total_s, asked_s = route.timeouts.total_s, exchange.options.timeout_s
    return total_s if asked_s is None else min(asked_s, total_s)


def _passed(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> tuple[tuple[str, str], ...]:
    """Return the headers that go on, with their values as they came."""
    return tuple((name.decode(), headers[name].decode("latin-1")) for name in names if name in headers)


def narrowed(route: Route, operation: Operation) -> Route:
    """Return a route narrowed to the targets that can serve what no other wire has words for."""
    able = able_for(route, operation)
    if able is None:
        message = f"the model {route.name[:100]!r} is served by no provider that has {operation.endpoint}"
        raise InvalidRequest(message, code="unsupported_operation", param="model")
    return able


def able_for(route: Route, operation: Operation) -> Route | None:
    """Return a route with those of its targets that can serve an operation; nothing if none can."""
    if operation.parse is not None or operation.estimate is not None:
        return route
    targets = tuple(target for target in route.targets if operation.relay in target.relays)
    if len(targets) == len(route.targets):
        return route
    return msgspec.structs.replace(route, targets=targets) if targets else None
