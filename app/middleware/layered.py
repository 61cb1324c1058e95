"""Runs the layers of other packages around a plane.

Law: whatever they do, a request is answered once, under our request id, or its connection is torn; a probe never meets
them.
"""

import logging
from collections.abc import Awaitable, MutableMapping, Sequence
from typing import Any

from app.kernel.clock import Clock
from app.kernel.errors import GatewayError, InternalError
from app.middleware.context import PROBES, AsgiApp, Receive, Refusal, RequestContext, Scope, Send, by_name
from app.middleware.layers import InstalledLayer

_LOG = logging.getLogger("gateway.layers")
_ID = b"x-request-id"
_START = "http.response.start"


class Layered:
    """ASGI middleware within the outermost ring, made only where layers are installed."""

    def __init__(self, app: AsgiApp, layers: Sequence[InstalledLayer], *, refuse: Refusal, clock: Clock) -> None:
        """Put the layers around `app`, the first outermost. Raises `BrokenLayer`."""
        self._app = app
        self._refuse = refuse
        self._clock = clock
        around: AsgiApp = _Within(app)
        for layer in reversed(layers):
            around = layer.around(around)
        self._layers = around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        context: RequestContext = scope["state"]["context"]
        path, method = scope["path"], scope["method"]
        incoming, answer = _Incoming(receive), _Answer(send, context)
        error: GatewayError = InternalError()
        try:
            await self._layers(scope, incoming, answer)
        except GatewayError as refusal:
            error = refusal
        except Exception:  # noqa: BLE001 - as in the ring, where it could not be said any more once somebody had begun
            _LOG.exception("request %s failed in a layer", context.request_id)
        else:
            if answer.has_begun or incoming.is_over:
                return
            _LOG.error("request %s was given no answer by the layers", context.request_id)
        if not answer.has_begun:
            took_ns = self._clock.monotonic_ns() - context.started_ns
            status, headers, body = self._refuse(path, context.headers, error, context.request_id, took_ns=took_ns)
            await answer({"type": _START, "status": status, "headers": headers})
            await answer({"type": "http.response.body", "body": body if method != "HEAD" else b""})


class _Within:
    """What the innermost layer calls: the plane, over what the layers have made of the request."""

    __slots__ = ("_app",)

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on; raises `RuntimeError` for a request that was answered already."""
        context: RequestContext = scope["state"]["context"]
        if context.has_begun:
            raise RuntimeError("a layer has called what is within twice for one request")
        # Who streams reads, sends and looks at headers by the context, which would pass the layers by.
        context.receive, context.send, context.headers = receive, send, by_name(scope["headers"])
        await self._app(scope, receive, send)


class _Incoming:
    """Notes that the client has left: then nobody waits for an answer."""

    __slots__ = ("_receive", "is_over")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_over = False

    async def __call__(self) -> MutableMapping[str, Any]:
        """Pass a message on."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.is_over = True
        return message


class _Answer:
    """Holds what comes out of the layers to one answer, with our request id on it."""

    __slots__ = ("_context", "_send", "has_begun")

    def __init__(self, send: Send, context: RequestContext) -> None:
        self._send = send
        self._context = context
        self.has_begun = False

    def __call__(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        """Pass a message on; raises `RuntimeError` for one that is out of turn."""
        if (message["type"] == _START) is self.has_begun:
            raise RuntimeError(f"a layer has sent {message['type']} out of turn")
        if not self.has_begun:
            message = {**message, "headers": self._headers(message.get("headers", ()))}
            self.has_begun = True
        return self._send(message)

    def _headers(self, given: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return headers under our request id, if whoever has taken the request over would have put it there."""
        headers = [pair for pair in given if pair[0].lower() != _ID]
        context = self._context
        if context.has_begun:
            headers.append((_ID, context.request_id.encode()))
            if context.is_last and all(name.lower() != b"connection" for name, _ in headers):
                headers.append((b"connection", b"close"))
        return headers
