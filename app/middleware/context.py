"""The outermost ring of a plane: who asks under which id, whether there is room, and what goes wrong.

Law: one renderer for every refusal and failure; nothing of an unexpected error reaches the client but the request id.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from app.kernel.clock import Clock
from app.kernel.errors import ExpectationFailed, GatewayError, InternalError, InvalidRequest, Unavailable
from app.kernel.ids import uuid7_text
from app.observability.answered import AnsweredRequest
from app.observability.tracing import RequestTrace, Tracing
from app.observability.tracing.plain import plain_span

_LOG = logging.getLogger("gateway.http")
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_CREDENTIALS = (b"authorization", b"x-api-key", b"x-goog-api-key")
_ONCE = frozenset({*_CREDENTIALS, b"host", b"content-length", b"content-type", b"idempotency-key"})
_OPTION = b"x-gateway-"
_LISTS = frozenset(
    {
        b"x-gateway-tags",
        b"x-gateway-fallbacks",
        b"x-gateway-include",
        b"cache-control",
        b"anthropic-beta",
        b"tracestate",
    }
)
"""Those of several lines that are read here as one list: RFC 9110, section 5.3."""
_NO_RETRY_S = 1.0
_UNKNOWN_ROUTE = "other"

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


Count = Callable[[AnsweredRequest], None]


class Refusal(Protocol):
    """How a plane says an error."""

    def __call__(
        self, path: str, asked: Mapping[bytes, bytes], error: GatewayError, request_id: str, *, took_ns: int
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and body of an error, for a request of this path and these headers, after so long."""
        ...


class RequestContext:
    """What the ring knows of one request; `scope["state"]["context"]`.

    `headers` are as `by_name` returns them; what may stand once only is refused before. `receive` and `send` are the
    server's own. `has_begun` is whether somebody has taken it upon himself to answer; `status` is what the ring saw
    answered. `is_last` is whether the connection ends with it. `started_ns` is monotonic. `trace` is there while
    tracing is on.
    """

    __slots__ = ("has_begun", "headers", "is_last", "receive", "request_id", "send", "started_ns", "status", "trace")

    def __init__(
        self, request_id: str, headers: dict[bytes, bytes], *, receive: Receive, send: Send, started_ns: int
    ) -> None:
        self.request_id = request_id
        self.headers = headers
        self.receive = receive
        self.send = send
        self.started_ns = started_ns
        self.is_last = False
        self.has_begun = False
        self.status: int | None = None
        self.trace: RequestTrace | None = None


class PlaneState:
    """What all requests of a plane in this process share."""

    def __init__(self, *, cap: int) -> None:
        """Begin with nothing in flight; at most `cap` requests are here at once, whatever they want or wait for."""
        self.cap = cap
        self.inflight = 0
        self.probes = 0
        """How many of those in flight are probes, the scrape itself for one."""
        self.is_draining = False
        self.is_tight = False
        """Whether memory is so short that no connection should be kept."""


class ContextRing:
    """An ASGI application around another."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        state: PlaneState,
        clock: Clock,
        refuse: Refusal,
        allowed_hosts: tuple[str, ...] = ("*",),
        count: Count | None = None,
        on_shed: Callable[[], None] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Make the ring; `count` is told of every request that nobody inside counts, `on_shed` of each over the cap.

        So is `tracing`, of those that are sampled.
        """
        self._tracing = tracing
        self._app = app
        self._count = count
        self._on_shed = on_shed
        self._state = state
        self._clock = clock
        self._refuse = refuse
        self._hosts = None if "*" in allowed_hosts else allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        pairs = scope["headers"]
        headers = by_name(pairs)
        context = RequestContext(
            uuid7_text(), headers, receive=receive, send=send, started_ns=self._clock.monotonic_ns()
        )
        scope["state"] = {"context": context, "request_id": context.request_id}
        state, is_probe = self._state, scope["path"] in PROBES
        state.inflight += 1
        state.probes += is_probe
        context.is_last = state.is_draining or state.is_tight
        tracer = None if self._tracing is None else self._tracing.tracer
        if tracer is not None and not is_probe:
            context.trace = tracer.begin(headers, started_ns=context.started_ns)
        outgoing = _Outgoing(send, context)
        try:
            # Probes are let through whatever the host or the load.
            if not is_probe:
                self._admit(context, has_repeats=len(headers) != len(pairs), pairs=pairs)
            await self._app(scope, receive, outgoing)
        except GatewayError as error:
            await self._answer(scope, outgoing, context, error)
        except Exception:  # noqa: BLE001 - the one renderer: whatever it was, the client gets the request id only
            _LOG.exception("request %s failed", context.request_id)
            await self._answer(scope, outgoing, context, InternalError())
        finally:
            state.inflight -= 1
            state.probes -= is_probe
            if context.status is not None and (self._count is not None or context.trace is not None):
                took_ns = self._clock.monotonic_ns() - context.started_ns
                route = scope.get("path_template") or _UNKNOWN_ROUTE
                answered = AnsweredRequest(context.request_id, scope["method"], route, context.status, took_ns)
                if self._count is not None:
                    self._count(answered)
                if context.trace is not None:
                    self._trace(answered, context.trace)

    def _trace(self, answered: AnsweredRequest, trace: RequestTrace) -> None:
        """Hand over the span of a request that nobody inside has traced."""
        if self._tracing is not None and trace.is_sampled:
            self._tracing.add([plain_span(trace, answered, now_ns=self._clock.now_ns())])

    def _admit(self, context: RequestContext, *, has_repeats: bool, pairs: Any) -> None:
        """Refuse what may not go on."""
        headers = context.headers
        if has_repeats:
            _refuse_repeats([name for name, _ in pairs])
        host = headers.get(b"host")
        if not host or not _is_host(host):
            raise InvalidRequest("the Host header is missing or invalid", code="invalid_host")
        if self._hosts is not None and not _is_allowed(host, self._hosts):
            raise InvalidRequest("this host is not served here", code="invalid_host")
        expect = headers.get(b"expect")
        if expect is not None and expect.lower() != b"100-continue":
            raise ExpectationFailed
        if self._state.inflight > self._state.cap:
            # So many that connections are what is short: this one is of more use to somebody else.
            context.is_last = True
            if self._on_shed is not None:
                self._on_shed()
            raise Unavailable("too many requests are in flight", retry_after_s=_NO_RETRY_S)

    async def _answer(self, scope: Scope, outgoing: "_Outgoing", context: RequestContext, error: GatewayError) -> None:
        """Say an error, if the answer has not begun."""
        if context.has_begun:
            return
        took_ns = self._clock.monotonic_ns() - context.started_ns
        status, headers, body = self._refuse(scope["path"], context.headers, error, context.request_id, took_ns=took_ns)
        await outgoing({"type": "http.response.start", "status": status, "headers": headers})
        await outgoing({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


class _Outgoing:
    """Puts the request id on an answer, and notes that it has begun."""

    __slots__ = ("_context", "_send")

    def __init__(self, send: Send, context: RequestContext) -> None:
        self._send = send
        self._context = context

    def __call__(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        """Pass a message on."""
        context = self._context
        if not context.has_begun and message["type"] == "http.response.start":
            context.has_begun = True
            context.status = message["status"]
            headers = message["headers"] = list(message["headers"])
            headers.append((b"x-request-id", context.request_id.encode()))
            if context.is_last:
                headers.append((b"connection", b"close"))
        return self._send(message)


def by_name(pairs: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the value of each header by its lower-case name: of several lines the last, or all of a list."""
    headers = dict(pairs)
    if len(headers) != len(pairs):
        for name in _LISTS & headers.keys():
            headers[name] = b", ".join(value for each, value in pairs if each == name)
    return headers


def _refuse_repeats(names: list[bytes]) -> None:
    for name in dict.fromkeys(names):
        is_option = name.startswith(_OPTION) and name not in _LISTS
        if (is_option or name in _ONCE) and names.count(name) > 1:
            label = name.decode("latin-1")
            param = label if is_option else None
            code = "ambiguous_credentials" if name in _CREDENTIALS else "invalid_request"
            code = "invalid_host" if name == b"host" else code
            raise InvalidRequest(f"the header {label} stands twice", code=code, param=param)


_HOST_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")


def _is_host(host: bytes) -> bool:
    return _HOST_BYTES.issuperset(host)


def _is_allowed(host: bytes, allowed: tuple[str, ...]) -> bool:
    """Whether a host, without its port, is one of the allowed; `*.example.com` allows subdomains."""
    name = host.decode("ascii").lower()
    name = name.rpartition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
    return any(name == item.lower() or (item.startswith("*.") and name.endswith(item[1:].lower())) for item in allowed)
