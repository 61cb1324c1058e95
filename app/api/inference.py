"""The way of every inference request: read, understand, ask the pipeline, answer. One admission path for all."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.api.body import JsonReader, check_head
from app.api.downstream import ClientGone, Downstream, Stopped
from app.api.errors import Header, headers_of, status_of
from app.api.openai.stored import stored_reference
from app.gateway import Gateway
from app.gateway.tally import Finished
from app.guards.inference import requires_inference, requires_model, requires_own_state
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
from app.pipeline.exchange import Answer, Exchange, LiveBody, Operation
from app.pipeline.options import read_options
from app.pipeline.routed import client_error
from app.routing.table import Route
from app.routing.transform import transform_edits
from providers.errors import ProviderError
from providers.types import Edits

_LOG = logging.getLogger("gateway.http")
_NS_PER_MS = 1_000_000
_CLIENT_GONE = 499
_NS_PER_S = 1_000_000_000
_GATEWAY_FIELD = "gateway"
_LENGTH_DIGITS = 18
_DRAINED_BYTES = 256 * 1024
"""A refused request's body is still read up to here, so that the connection can be used again."""


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """How one endpoint differs from the others.

    `check` refuses bodies of the wrong shape and returns the name of the model. `say_error` renders an error that
    comes instead of an answer, `say_late_error` one that comes inside a stream.
    """

    operation: Operation
    check: Callable[[Mapping[str, Any]], str]
    say_error: Callable[[GatewayError], bytes]
    say_late_error: Callable[[GatewayError], bytes]
    wants_usage: Callable[[Mapping[str, Any]], bool]


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
        early: list[Header] = [(b"x-request-id", context.request_id.encode())]
        downstream = Downstream(context.receive, context.send, early_headers=early)
        self._gateway.open_requests.add(downstream)
        try:
            await self._serve(context, downstream)
        except asyncio.CancelledError:
            if downstream.stopped is None:
                raise
        finally:
            self._gateway.open_requests.discard(downstream)
            downstream.release()

    async def _serve(self, context: RequestContext, downstream: Downstream) -> None:
        exchange: Exchange | None = None
        error: GatewayError | None = None
        status = 200
        try:
            exchange = await self._understand(context, downstream)
            answer = await self._gateway.answer(exchange)
            if answer.live is None:
                await self._send_whole(context, exchange, downstream, answer)
            else:
                error = await self._send_stream(context, exchange, downstream, answer.live)
        except GatewayError as caught:
            error = caught
        except asyncio.CancelledError:
            error = _after_stop(downstream)
            if error is None:
                self._log(context, exchange, status=_CLIENT_GONE, error=None)
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
            self._log(context, exchange, status=status, error=error)

    # -- understanding ------------------------------------------------------------------------------------------------

    async def _understand(self, context: RequestContext, downstream: Downstream) -> Exchange:
        gateway, wire = self._gateway, self._wire
        principal = await requires_inference(context.headers, gateway.directory, gateway.tokens)
        check_head(context.headers, limit_bytes=gateway.body_limit_bytes)
        body = await downstream.read_body(gateway.body_limit_bytes)
        document = await self._json.read(body)
        name = wire.check(document)
        options = read_options(context.headers, document.get(_GATEWAY_FIELD))
        route = requires_model(principal, gateway.routes, name, pinned=options.route)
        requires_own_state(principal, route, stored_reference(document))
        exchange = Exchange(
            request_id=context.request_id,
            principal=principal,
            operation=wire.operation,
            route=route,
            body=body,
            document=document,
            started_ns=context.started_ns,
        )
        exchange.options = options
        exchange.edits = _edits(route, document)
        exchange.stream = bool(document.get("stream")) and wire.operation.name == "chat"
        exchange.keep_usage = wire.wants_usage(document)
        within_s = route.timeouts.total_s if options.timeout_s is None else options.timeout_s
        within_s = min(within_s, route.timeouts.total_s)
        exchange.deadline_ns = context.started_ns + int(within_s * _NS_PER_S)
        downstream.expect(within_s=within_s, is_stream=exchange.stream, on_expiry=exchange.expire)
        return exchange

    # -- answering ----------------------------------------------------------------------------------------------------

    async def _send_whole(
        self, context: RequestContext, exchange: Exchange, downstream: Downstream, answer: Answer
    ) -> None:
        headers = self._headers(context, exchange)
        headers.append((b"content-type", answer.content_type))
        spent = exchange.cost_nusd
        if spent is not None:
            headers.append((b"x-gateway-cost", format_usd(spent).encode()))
        await downstream.send_whole(200, headers, answer.body or b"")

    async def _send_stream(
        self, context: RequestContext, exchange: Exchange, downstream: Downstream, live: LiveBody
    ) -> GatewayError | None:
        """Send the parts of a live answer as they come; returns what broke it."""
        try:
            await downstream.begin_stream(self._headers(context, exchange))
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
            if downstream.is_streaming:
                await downstream.send_part(self._wire.say_late_error(error), is_last=True)
            return
        headers = self._headers(context, exchange)
        headers += headers_of(error)
        headers.append((b"content-type", b"application/json"))
        if downstream.is_reading:
            await self._drain(context, downstream)
        if downstream.is_reading:
            headers.append((b"connection", b"close"))
        await downstream.send_whole(status_of(error), headers, self._wire.say_error(error))

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

    def _headers(self, context: RequestContext, exchange: Exchange | None) -> list[Header]:
        headers: list[Header] = [(b"x-request-id", context.request_id.encode())]
        if context.is_draining:
            headers.append((b"connection", b"close"))
        if self._gateway.core.is_degraded:
            headers.append((b"x-gateway-degraded", ", ".join(self._gateway.core.degraded).encode()))
        if exchange is None:
            return headers
        attempt = exchange.last_attempt
        if attempt is not None:
            headers.append((b"x-gateway-provider", attempt.provider.encode()))
        headers.append((b"x-gateway-model", exchange.route.name.encode()))
        headers.append((b"x-gateway-attempts", b"%d" % len(exchange.attempts)))
        headers.append((b"x-gateway-cache", b"off"))
        exchange.overhead_ns = self._gateway.clock.monotonic_ns() - context.started_ns - exchange.upstream_ns
        headers.append((b"x-gateway-overhead-ms", b"%.3f" % (exchange.overhead_ns / _NS_PER_MS)))
        return headers

    def _log(
        self, context: RequestContext, exchange: Exchange | None, *, status: int, error: GatewayError | None
    ) -> None:
        """Hand the request over to be counted and logged, once, at its end."""
        clock = self._gateway.clock
        self._gateway.tally.add(
            Finished(
                clock.now_ns(),
                context.request_id,
                self._wire.operation.endpoint,
                exchange,
                status,
                error.code if error is not None else None,
                clock.monotonic_ns() - context.started_ns,
            )
        )


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


def _edits(route: Route, document: Mapping[str, Any]) -> Edits:
    """Return the changes that every relay of this body makes: the operator's, and our own field taken out."""
    edits = transform_edits(route.transform, document) if route.transform is not None else Edits()
    if _GATEWAY_FIELD not in document:
        return edits
    return msgspec.structs.replace(edits, drop=edits.drop | {_GATEWAY_FIELD})
