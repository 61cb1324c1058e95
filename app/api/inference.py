"""The way of every inference request: read, understand, ask the pipeline, answer. One admission path for all."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from litestar import asgi, post
from litestar.types import ASGIApp

from app.api.addresses import check_addresses
from app.api.body import FORM_TYPE, JSON_TYPE, JsonReader, check_head, read_form
from app.api.downstream import ClientGone, Downstream, Stopped
from app.api.errors import Header, headers_of, status_of
from app.api.once import HEADER, hash_of, headers_of_who_served, replayed_headers, slot_of
from app.fanout.spec import read_fanout, spec_of
from app.gateway import Gateway
from app.gateway.spans import AUTHENTICATION
from app.gateway.spoken import overhear
from app.gateway.tally import Finished
from app.guards.fanout import requires_fanout, width_of
from app.guards.inference import requires_inference, requires_model, within_fallbacks
from app.kernel.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    RequestTimedOut,
    Unavailable,
    UpstreamTimedOut,
)
from app.kernel.money import format_usd
from app.middleware.context import RequestContext
from app.pipeline.exchange import Answer, Asked, Exchange, Hit, Operation
from app.pipeline.exchange import Call as Waited
from app.pipeline.mentions import find_mentions
from app.pipeline.once import Repeatable
from app.pipeline.options import Options, read_options
from app.pipeline.references import find_references
from app.pipeline.routed import client_error
from app.routing.table import NO_FALLBACKS, Route
from providers.errors import ProviderError

_LOG = logging.getLogger("gateway.http")
_NS_PER_MS = 1_000_000
_CLIENT_GONE = 499
_NS_PER_S = 1_000_000_000
_GATEWAY_FIELD = "gateway"
_FANOUT_FIELD = "fanout"
_OURS = frozenset({_GATEWAY_FIELD})
_CONVERSATIONS = frozenset({"chat", "completions"})
"""What several models may answer together."""
_REST = "{rest:path}"
_SHOWN_NAMES, _SHOWN_NAME = 32, 64
_LENGTH_DIGITS = 18
_FORM_TENTHS = 13
"""How large a form may be, in tenths of another body: a file is the larger part of it."""
_DRAINED_BYTES = 256 * 1024
"""A refused request's body is still read up to here, so that the connection can be used again."""


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


class InferenceEndpoint:
    """One path of the inference API, as an ASGI application."""

    def __init__(self, wire: Wire, gateway: Gateway) -> None:
        self._wire = wire
        self._gateway = gateway
        self._json = JsonReader()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, over the server's own callables: the layers between only wrap them."""
        del receive, send
        context: RequestContext = scope["state"]["context"]
        if scope["method"] != "POST":
            raise MethodNotAllowed(headers=(("allow", "POST"),))
        context.has_begun = True
        early = [(name, context.request_id.encode()) for name in self._wire.id_headers]
        downstream = Downstream(context.receive, context.send, early_headers=early)
        self._gateway.open_requests.add(downstream)
        try:
            await self._serve(context, downstream, _call_of(scope))
        except asyncio.CancelledError:
            if downstream.stopped is None:
                raise
        finally:
            self._gateway.open_requests.discard(downstream)
            downstream.release()

    async def _serve(self, context: RequestContext, downstream: Downstream, call: Call) -> None:
        exchange: Exchange | None = None
        error: GatewayError | None = None
        status = 200
        try:
            exchange = await self._understand(context, downstream, call)
            if HEADER in context.headers:
                answer = await self._answer_once(context, exchange, call)
            else:
                answer = await self._gateway.answer(exchange)
            if context.trace is not None and context.trace.content is not None:
                overhear(answer, context.trace.content)
            if answer.live is None:
                await self._send_whole(context, exchange, downstream, answer)
            else:
                error = await self._send_stream(context, exchange, downstream, answer)
        except GatewayError as caught:
            error = caught
        except asyncio.CancelledError:
            error = _after_stop(downstream)
            if error is None:
                self._end(context, exchange, status=_CLIENT_GONE, error=None)
                raise
        except ClientGone:
            # Whoever is still there framed the body wrongly; whoever has left does not hear this.
            downstream.is_reading = False
            error = InvalidRequest("the request body is incomplete", headers=(("connection", "close"),))
        except Exception:  # noqa: BLE001 - the renderer of this path: the answer may have begun, so no other can say it
            _LOG.exception("request %s failed", context.request_id)
            error = InternalError()
        try:
            if error is not None:
                status = status_of(error)
                await self._refuse(context, exchange, downstream, error)
        finally:
            self._end(context, exchange, status=status, error=error)
            # Its traceback holds this frame, and with it all that the request has read.
            error = None

    # -- understanding ------------------------------------------------------------------------------------------------

    async def _understand(self, context: RequestContext, downstream: Downstream, call: Call) -> Exchange:
        gateway, wire = self._gateway, self._wire
        gateway.gate.check()
        trace = context.trace
        knowing = requires_inference(context.headers, gateway.directory, gateway.tokens)
        principal = await (knowing if trace is None else trace.timed(AUTHENTICATION, knowing))
        gateway.gate.check(principal.organization_id)
        is_form = wire.media_type == FORM_TYPE
        limit_bytes = gateway.body_limit_bytes * _FORM_TENTHS // 10 if is_form else gateway.body_limit_bytes
        check_head(context.headers, limit_bytes=limit_bytes, media_type=wire.media_type)
        body = await downstream.read_body(limit_bytes)
        content_type = context.headers[b"content-type"].decode("latin-1")
        document = read_form(body, content_type) if is_form else await self._json.read(body)
        asked = wire.read(document, call)
        options = read_options(context.headers, document.get(_GATEWAY_FIELD))
        if wire.own_options is not None:
            options = wire.own_options(options, document)
        route = requires_model(principal, gateway.routes, asked.model, pinned=options.route, named_in=asked.named_in)
        exchange = Exchange(
            request_id=context.request_id,
            principal=principal,
            operation=wire.operation,
            route=narrowed(route, wire.operation),
            body=body,
            document=document,
            started_ns=context.started_ns,
            asked=asked,
        )
        exchange.options, exchange.trace = options, trace
        if is_form:
            exchange.content_type = content_type
            exchange.text_bytes = len(msgspec.json.encode(document))
        if trace is not None:
            gateway.listen(exchange)
        mentions = find_mentions(document)
        check_addresses(mentions)
        exchange.references = find_references(document, mentions)
        if route.ensemble is not None or (wire.has_fanout and document.get(_FANOUT_FIELD) is not None):
            self._fan_out(exchange)
        elif route.fallbacks is not NO_FALLBACKS or options.fallbacks is not None:
            self._allow_fallbacks(exchange)
        if route.transform is not None or _GATEWAY_FIELD in document:
            exchange.edit(drop=_OURS.intersection(document))
        if wire.passes:
            exchange.passed_headers = _passed(context.headers, wire.passes)
        within_s = route.timeouts.total_s if options.timeout_s is None else options.timeout_s
        within_s = min(within_s, route.timeouts.total_s)
        exchange.deadline_ns = context.started_ns + int(within_s * _NS_PER_S)
        keeps_alive = asked.stream and wire.keeps_alive and asked.framing != "raw"
        downstream.expect(
            within_s=within_s,
            keeps_alive=keeps_alive,
            on_expiry=exchange.expire,
            progress=None if exchange.fanout is None else lambda: exchange.progress,
        )
        return exchange

    def _fan_out(self, exchange: Exchange) -> None:
        """Let several models answer an exchange: those of an ensemble, or those that the body names."""
        gateway, principal, route = self._gateway, exchange.principal, exchange.route
        operation, options = exchange.operation, exchange.options
        if operation.parse is None or operation.name not in _CONVERSATIONS or operation.estimate is not None:
            message = f"{operation.endpoint} is not answered by several models"
            raise InvalidRequest(message, code="unsupported_operation", param="model")
        if options.route is not None:
            raise InvalidRequest("a fan-out has no one target", param="x-gateway-route")
        if options.fallbacks:
            raise InvalidRequest("a fan-out falls back to nobody", param="x-gateway-fallbacks")
        if operation.vocabulary.asked_choices(exchange.document) != 1:
            raise InvalidRequest("a fan-out has one answer of each model", param=operation.vocabulary.choices[0])
        width = width_of(principal, most=gateway.fanout_width)
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
            principal, gateway.routes, spec, route=route, said=said, is_ensemble=is_ensemble
        )

    def _allow_fallbacks(self, exchange: Exchange) -> None:
        """Let an exchange fall back to models that can do what it asks; a target of the caller's choice has none."""
        asked = exchange.options.fallbacks
        if asked is None and exchange.options.route is not None:
            return
        exchange.route, found = within_fallbacks(exchange.principal, self._gateway.routes, exchange.route, asked=asked)
        able = ((name, able_for(route, exchange.operation)) for name, route in found.items())
        exchange.alternatives = {name: route for name, route in able if route is not None}

    # -- answering ----------------------------------------------------------------------------------------------------

    async def _answer_once(self, context: RequestContext, exchange: Exchange, call: Call) -> Answer:
        """Answer a request that its client may repeat."""
        path = self._wire.route.replace(_REST, call.rest)
        request = Repeatable(
            slot_of(context.headers[HEADER], exchange, path),
            await hash_of(exchange, call.query),
            describe=lambda answer: headers_of_who_served(self._answer_headers(context, exchange, answer)),
        )
        return await self._gateway.once(exchange, request)

    async def _send_whole(
        self, context: RequestContext, exchange: Exchange, downstream: Downstream, answer: Answer
    ) -> None:
        headers = self._answer_headers(context, exchange, answer)
        headers.append((b"content-type", answer.content_type))
        await downstream.send_whole(200, headers, answer.body or b"")

    async def _send_stream(
        self, context: RequestContext, exchange: Exchange, downstream: Downstream, answer: Answer
    ) -> GatewayError | None:
        """Send the parts of a live answer as they come; returns what broke it."""
        live = answer.live
        if live is None:
            raise TypeError("only a live answer can be streamed")
        try:
            headers = self._answer_headers(context, exchange, answer)
            await downstream.begin_stream(headers, content_type=answer.content_type)
            while True:
                data = await live.read()
                await downstream.send_part(data, is_last=live.is_finished)
                if live.is_finished:
                    return None
        except ProviderError as error:
            return client_error(error)
        finally:
            live.close()

    async def _refuse(
        self, context: RequestContext, exchange: Exchange | None, downstream: Downstream, error: GatewayError
    ) -> None:
        """Say an error: as an answer, or inside the stream if it has begun."""
        if downstream.has_begun:
            said = self._late(exchange, error, context.request_id) if downstream.is_streaming else None
            if said is not None:
                await downstream.send_part(said, is_last=True)
            return
        headers = self._headers(context, exchange)
        headers += headers_of(error)
        headers.append((b"content-type", b"application/json"))
        if downstream.is_reading:
            await self._drain(context, downstream)
        if downstream.is_reading:
            headers.append((b"connection", b"close"))
        await downstream.send_whole(status_of(error), headers, self._wire.say_error(error, context.request_id))

    def _late(self, exchange: Exchange | None, error: GatewayError, request_id: str) -> bytes | None:
        """Return what ends a stream that broke: nothing where it can only be torn."""
        if exchange is None:
            return None
        if exchange.say_failure is not None:
            return exchange.say_failure(error)
        framing = exchange.asked.framing
        say = {"sse": self._wire.say_late_error, "array": self._wire.say_late_element}.get(framing)
        return say(error, request_id) if say is not None else None

    @staticmethod
    async def _drain(context: RequestContext, downstream: Downstream) -> None:
        length = context.headers.get(b"content-length", b"")
        if downstream.stopped is not None or not length.isdigit() or int(length[:_LENGTH_DIGITS]) > _DRAINED_BYTES:
            return
        try:
            await downstream.drain(_DRAINED_BYTES)
        except asyncio.CancelledError:
            if downstream.forgive() is not Stopped.SLOW_BODY:
                raise

    def _answer_headers(self, context: RequestContext, exchange: Exchange, answer: Answer) -> list[Header]:
        """Return the headers of a 200; a whole answer's say what it cost."""
        headers = self._headers(context, exchange)
        if answer.replayed is not None:
            return replayed_headers(headers, answer.replayed)
        spent = exchange.cost_nusd
        if answer.live is None and spent is not None:
            headers.append((b"x-gateway-cost", format_usd(spent).encode()))
        return headers

    def _headers(self, context: RequestContext, exchange: Exchange | None) -> list[Header]:
        request_id = context.request_id.encode()
        headers: list[Header] = [(name, request_id) for name in self._wire.id_headers]
        if context.is_last:
            headers.append((b"connection", b"close"))
        core = self._gateway.core
        if core.is_degraded:
            headers.append((b"x-gateway-degraded", ", ".join(core.degraded).encode()))
        elif exchange is not None and exchange.grant is not None and exchange.grant.is_local:
            headers.append((b"x-gateway-degraded", b"redis"))
        if exchange is None:
            return headers
        headers += exchange.limit_headers
        provider, hit = exchange.provider, exchange.hit
        if provider is not None:
            headers.append((b"x-gateway-provider", provider.encode()))
        headers.append((b"x-gateway-model", exchange.route.name.encode()))
        headers.append((b"x-gateway-attempts", b"%d" % len(exchange.attempts)))
        headers.append((b"x-gateway-cache", exchange.cache_status.encode()))
        if hit is not None:
            headers += _headers_of_hit(hit)
        if exchange.fanout is not None:
            headers.append((b"x-gateway-fanout", _fan_text(exchange).encode()))
        if exchange.dropped:
            headers.append((b"x-gateway-dropped-params", _header_text(exchange.dropped)))
        exchange.overhead_ns = self._gateway.clock.monotonic_ns() - context.started_ns - exchange.upstream_ns
        headers.append((b"x-gateway-overhead-ms", b"%.3f" % (exchange.overhead_ns / _NS_PER_MS)))
        return headers

    def _end(
        self, context: RequestContext, exchange: Exchange | None, *, status: int, error: GatewayError | None
    ) -> None:
        """Give its place back, and hand it over to be counted and logged: once, at its end and that of its call."""
        clock = self._gateway.clock
        finished = Finished(
            clock.now_ns(),
            context.request_id,
            self._wire.operation.endpoint,
            exchange,
            status,
            error.code if error is not None else None,
            clock.monotonic_ns() - context.started_ns,
            context.trace,
        )
        self._hand_over(finished)

    def _hand_over(self, finished: Finished, waited: Waited | None = None) -> None:
        """Have a request counted when nothing of it is under way any more; `waited` is what ended just now."""
        call = finished.exchange.call if finished.exchange is not None else None
        if call is None or call is waited:
            self._gateway.end(finished)
        else:
            call.then(lambda: self._hand_over(finished, call))


def inference_handlers(wire: Wire, gateway: Gateway) -> list[Any]:
    """Return the handlers of a wire's paths."""
    endpoint = InferenceEndpoint(wire, gateway)
    return [_handler(template, endpoint) for template in (wire.route, *wire.also_at)]


def _handler(template: str, endpoint: InferenceEndpoint) -> Any:
    if "{" not in template:
        return asgi(template, copy_scope=False)(endpoint.__call__)

    # Litestar finds no handler of that kind by a variable in its path, so that this one is of its other kind.
    @post(template, include_in_schema=False, status_code=200)
    async def found() -> ASGIApp:
        return endpoint

    return found


def _after_stop(downstream: Downstream) -> GatewayError | None:
    """Return what a stopped request is told; nothing if nobody is there to be told."""
    if downstream.stopped is Stopped.EXPIRED:
        downstream.forgive()
        return UpstreamTimedOut("the request's time ran out")
    if downstream.stopped is Stopped.SLOW_BODY:
        downstream.forgive()
        return RequestTimedOut()
    if downstream.stopped is Stopped.SHUTDOWN:
        downstream.forgive()
        return Unavailable("the gateway is shutting down", code="server_shutting_down", retry_after_s=1)
    return None


def _call_of(scope: Any) -> Call:
    """Return what a request says beside its body."""
    rest = scope.get("path_params", {}).get("rest", "")
    return Call(str(rest).removeprefix("/"), scope.get("query_string", b"").decode("latin-1"))


def _headers_of_hit(hit: Hit) -> list[Header]:
    """Return what is told of an answer that was kept: which, how old, and how near its question was."""
    headers: list[Header] = []
    if hit.entry_id is not None:
        headers.append((b"x-gateway-cache-id", hit.entry_id.encode()))
    if hit.age_s is not None:
        headers.append((b"age", b"%d" % hit.age_s))
    if hit.similarity is not None:
        headers.append((b"x-gateway-cache-similarity", b"%.4f" % hit.similarity))
    return headers


def _fan_text(exchange: Exchange) -> str:
    """Return what is told of a fan-out: its strategy, how many models were asked, and why it is not as was wanted."""
    fanout = exchange.fanout
    strategy = "" if fanout is None else fanout.spec.strategy
    text = f"{strategy}; legs={len(exchange.leg_reports)}"
    return text if exchange.fan_reason is None else f"{text}; reason={exchange.fan_reason}"


def _passed(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> tuple[tuple[str, str], ...]:
    """Return the headers that go on, with their values as they came."""
    return tuple((name.decode(), headers[name].decode("latin-1")) for name in names if name in headers)


def _header_text(names: tuple[str, ...]) -> bytes:
    """Return a list of names, of which some are the client's own words, fit for a header."""
    shown = [name[:_SHOWN_NAME] for name in names[:_SHOWN_NAMES] if name.isascii() and name.isprintable()]
    return ", ".join(shown).encode()


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
