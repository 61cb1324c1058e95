"""The way of every inference request: read, understand, ask the pipeline, answer. One admission path for all."""

import asyncio
import logging
from typing import Any

from litestar import asgi, post
from litestar.types import ASGIApp

from app.api.body import FORM_TYPE, JsonReader, check_head, read_form
from app.api.downstream import ClientGone, Downstream, Stopped
from app.api.errors import Header, headers_of, status_of
from app.api.once import HEADER, hash_of, headers_of_who_served, replayed_headers, slot_of
from app.api.understanding import Call, Said, Understanding, Wire
from app.domain.keys.principal import Principal
from app.gateway import Gateway
from app.gateway.spoken import overhear
from app.gateway.tally import Finished
from app.guards.inference import requires_inference
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
from app.limits.headers import Headers
from app.middleware.context import RequestContext
from app.pipeline.answer import Answer, Hit
from app.pipeline.exchange import Call as Waited
from app.pipeline.exchange import Exchange
from app.pipeline.notes import LayerStep, Notes, stopped
from app.pipeline.once import Repeatable
from app.pipeline.routed import client_error
from app.pipeline.transcript import Transcript
from providers.errors import ProviderError

_LOG = logging.getLogger("gateway.http")
_NS_PER_MS = 1_000_000
_CLIENT_GONE = 499
_SERVER_ERROR = 500
_NS_PER_S = 1_000_000_000
_GATEWAY_FIELD = "gateway"
_FANOUT_FIELD = "fanout"
_OURS = frozenset({_GATEWAY_FIELD})
_CONVERSATIONS = frozenset({"chat", "completions"})
"""What several models may answer together."""
_REST = "{rest:path}"
_UNROUTED: tuple[Header, ...] = ((b"x-gateway-attempts", b"0"), (b"x-gateway-cache", b"off"))
"""What is true of a request that was refused before anybody was chosen for it."""
_SHOWN_NAMES, _SHOWN_NAME = 32, 64
_LENGTH_DIGITS = 18
_FORM_TENTHS = 13
"""How large a form may be, in tenths of another body: a file is the larger part of it."""
_DRAINED_BYTES = 256 * 1024
"""A refused request's body is still read up to here, so that the connection can be used again."""


class InferenceEndpoint:
    """One path of the inference API, as an ASGI application."""

    def __init__(self, wire: Wire, gateway: Gateway) -> None:
        self._wire = wire
        self._understanding = Understanding(wire)
        self._gateway = gateway
        self._json = JsonReader()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, over the server's own callables: the layers between only wrap them."""
        context: RequestContext = scope["state"]["context"]
        if scope["method"] != "POST":
            raise MethodNotAllowed(headers=(("allow", "POST"),))
        context.has_begun = True
        notes = Notes()
        receive, send = context.receive, context.send
        if self._gateway.recorder.keeps_bodies:
            transcript = notes.transcript = Transcript(receive, send)
            receive, send = transcript.receive, transcript.send
        downstream = Downstream(receive, send)
        self._gateway.open_requests.add(downstream)
        try:
            await self._serve(context, downstream, _call_of(scope), notes=notes)
        except asyncio.CancelledError:
            if downstream.stopped is None:
                raise
        finally:
            self._gateway.open_requests.discard(downstream)
            downstream.release()

    async def _serve(self, context: RequestContext, downstream: Downstream, call: Call, *, notes: Notes) -> None:
        exchange: Exchange | None = None
        error: GatewayError | None = None
        status = 200
        try:
            exchange = await self._understand(context, downstream, call, notes=notes)
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
                self._end(context, exchange, notes, status=_CLIENT_GONE, error=None)
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
                await self._refuse(context, exchange, downstream, error, notes=notes)
        finally:
            self._end(context, exchange, notes, status=status, error=error)
            # Its traceback holds this frame, and with it all that the request has read.
            error = None

    # -- understanding ------------------------------------------------------------------------------------------------

    async def _understand(
        self, context: RequestContext, downstream: Downstream, call: Call, *, notes: Notes
    ) -> Exchange:
        gateway, wire = self._gateway, self._wire
        gateway.gate.check()
        clock, began_ns = gateway.clock, context.started_ns
        try:
            principal = notes.principal = await requires_inference(context.headers, gateway.directory, gateway.tokens)
        except BaseException as error:
            ended_ns = clock.monotonic_ns()
            notes.steps.append(stopped("authentication", error, began_ns=began_ns, ended_ns=ended_ns))
            raise
        known_ns = clock.monotonic_ns()
        notes.steps.append(LayerStep("authentication", "passed", began_ns, known_ns))
        gateway.gate.check(principal.organization_id)
        is_form = wire.media_type == FORM_TYPE
        limit_bytes = gateway.body_limit_bytes * _FORM_TENTHS // 10 if is_form else gateway.body_limit_bytes
        check_head(context.headers, limit_bytes=limit_bytes, media_type=wire.media_type)
        body = await downstream.read_body(limit_bytes)
        content_type = context.headers[b"content-type"].decode("latin-1")
        document = read_form(body, content_type) if is_form else await self._json.read(body)
        notes.steps.append(LayerStep("body", "passed", known_ns, clock.monotonic_ns()))
        said = Said(context.headers, body, document, call, content_type if is_form else None)
        exchange = self._understanding(
            said,
            principal,
            routes=gateway.routes,
            most_legs=gateway.fanout_width,
            request_id=context.request_id,
            started_ns=context.started_ns,
            notes=notes,
        )
        if context.trace is not None:
            exchange.trace = context.trace
            gateway.listen(exchange)
        asked = exchange.asked
        keeps_alive = asked.stream and wire.keeps_alive and asked.framing != "raw"
        downstream.expect(
            within_s=((exchange.deadline_ns or 0) - context.started_ns) / _NS_PER_S,
            keeps_alive=keeps_alive,
            on_expiry=exchange.expire,
            progress=None if exchange.fanout is None else lambda: exchange.progress,
            early_headers=(lambda: self._headers_so_far(context, exchange)) if keeps_alive else None,
        )
        return exchange

    # -- answering ----------------------------------------------------------------------------------------------------

    async def _answer_once(self, context: RequestContext, exchange: Exchange, call: Call) -> Answer:
        """Answer a request that its client may repeat."""
        path = self._wire.route.replace(_REST, call.rest)
        request = Repeatable(
            slot_of(context.headers[HEADER], exchange, path),
            await hash_of(exchange, call.query),
            describe=lambda answer: headers_of_who_served(self._answer_headers(context, exchange, answer)),
        )
        began_ns = self._gateway.clock.monotonic_ns()
        answer = await self._gateway.once(exchange, request)
        if answer.replayed is not None:
            ended_ns = self._gateway.clock.monotonic_ns()
            exchange.notes.steps.append(LayerStep("idempotency", "replayed", began_ns, ended_ns))
        return answer

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
        self,
        context: RequestContext,
        exchange: Exchange | None,
        downstream: Downstream,
        error: GatewayError,
        *,
        notes: Notes,
    ) -> None:
        """Say an error: as an answer, or inside the stream if it has begun."""
        if downstream.has_begun:
            said = self._late(exchange, error, context.request_id) if downstream.is_streaming else None
            if said is not None:
                await downstream.send_part(said, is_last=True)
            return
        unasked = await self._limits_unasked(exchange, downstream, error, principal=notes.principal)
        headers = self._headers(context, exchange)
        headers += unasked
        headers += headers_of(error)
        headers.append((b"content-type", b"application/json"))
        if downstream.is_reading:
            await self._drain(context, downstream)
        if downstream.is_reading:
            headers.append((b"connection", b"close"))
        await downstream.send_whole(status_of(error), headers, self._wire.say_error(error, context.request_id))

    async def _limits_unasked(
        self,
        exchange: Exchange | None,
        downstream: Downstream,
        error: GatewayError,
        *,
        principal: Principal | None,
    ) -> Headers:
        """Return what is left of its limits to a request that was refused before they were asked; one read, if any.

        A request that is at fault itself is told, not one that is shed; and nothing while a store does not answer.
        """
        gateway = self._gateway
        has_been_told = (exchange is not None and exchange.limit_headers) or _tells_limits(error)
        if principal is None or has_been_told or status_of(error) >= _SERVER_ERROR or downstream.stopped is not None:
            return ()
        if gateway.core.is_degraded:
            return ()
        models = () if exchange is None else exchange.asked_models
        try:
            return await gateway.books.accounts.told(gateway.books.policies.plan(principal, *models))
        except asyncio.CancelledError:
            if downstream.forgive() in {None, Stopped.GONE}:
                raise
            return ()

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
        """Return the headers of a 200; they say what it cost if it is whole, or if that is known before its end."""
        headers = self._headers(context, exchange)
        if answer.replayed is not None:
            return replayed_headers(headers, answer.replayed)
        spent = exchange.cost_nusd if answer.live is None else answer.foreseen_nusd
        if spent is not None:
            headers.append((b"x-gateway-cost", format_usd(spent).encode()))
        return headers

    def _headers_so_far(self, context: RequestContext, exchange: Exchange) -> list[Header]:
        """Return what is known before the answer is: not who serves, and the cache's part only once somebody is asked.

        Whoever waits for another's call may be answered by it, or call himself after all.
        """
        headers = [*self._headers_of_any(context, exchange), *exchange.limit_headers]
        if exchange.attempts:
            headers.append((b"x-gateway-cache", exchange.cache_status.encode()))
        return headers

    def _headers_of_any(self, context: RequestContext, exchange: Exchange | None) -> list[Header]:
        request_id = context.request_id.encode()
        headers: list[Header] = [(name, request_id) for name in self._wire.id_headers]
        if context.is_last:
            headers.append((b"connection", b"close"))
        core = self._gateway.core
        if core.is_degraded:
            headers.append((b"x-gateway-degraded", ", ".join(core.degraded).encode()))
        elif exchange is not None and exchange.grant is not None and exchange.grant.is_local:
            headers.append((b"x-gateway-degraded", b"redis"))
        return headers

    def _headers(self, context: RequestContext, exchange: Exchange | None) -> list[Header]:
        headers = self._headers_of_any(context, exchange)
        if exchange is None:
            return headers + headers_of_unrouted(self._gateway.clock.monotonic_ns() - context.started_ns)
        headers += exchange.limit_headers
        provider, hit = exchange.provider, exchange.hit
        if provider is not None:
            headers.append((b"x-gateway-provider", provider.encode()))
        headers.append((b"x-gateway-model", exchange.model.encode()))
        headers.append((b"x-gateway-attempts", b"%d" % exchange.calls))
        headers.append((b"x-gateway-cache", exchange.cache_status.encode()))
        if hit is not None:
            headers += _headers_of_hit(hit)
        if exchange.fanout is not None:
            headers.append((b"x-gateway-fanout", _fan_text(exchange).encode()))
        if exchange.dropped:
            headers.append((b"x-gateway-dropped-params", _header_text(exchange.dropped)))
        exchange.overhead_ns = self._gateway.clock.monotonic_ns() - context.started_ns - exchange.upstream_ns
        headers.append(_overhead(exchange.overhead_ns))
        return headers

    def _end(
        self,
        context: RequestContext,
        exchange: Exchange | None,
        notes: Notes,
        *,
        status: int,
        error: GatewayError | None,
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
            notes,
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


def headers_of_unrouted(took_ns: int) -> list[Header]:
    """Return what is said of a request that was refused before anybody was chosen for it, after so long."""
    return [*_UNROUTED, _overhead(took_ns)]


def _tells_limits(error: GatewayError) -> bool:
    return any(name.startswith("x-ratelimit-") for name, _ in error.headers)


def _overhead(took_ns: int) -> Header:
    return b"x-gateway-overhead-ms", b"%.3f" % (took_ns / _NS_PER_MS)


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


def _header_text(names: tuple[str, ...]) -> bytes:
    """Return a list of names, of which some are the client's own words, fit for a header."""
    shown = [name[:_SHOWN_NAME] for name in names[:_SHOWN_NAMES] if name.isascii() and name.isprintable()]
    return ", ".join(shown).encode()
