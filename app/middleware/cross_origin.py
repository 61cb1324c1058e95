"""Lets pages of other origins call the gateway: the dashboard's playground is one.

Law: never with a browser's own credentials. A page must have a key and send it itself, so that it can do no more than
whoever holds that key; a request without an `Origin` costs one look at its headers.
"""

from collections.abc import Awaitable, MutableMapping
from typing import Any

_PATH = "/v1/"
_ANY = (b"access-control-allow-origin", b"*")
EXPOSED = (
    *("x-request-id", "request-id", "x-gateway-provider", "x-gateway-model", "x-gateway-attempts", "x-gateway-fanout"),
    *("x-gateway-cache", "x-gateway-cache-id", "x-gateway-cache-similarity", "age", "idempotent-replayed"),
    *("x-gateway-cost", "x-gateway-overhead-ms", "x-gateway-dropped-params", "x-gateway-degraded"),
    *("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    *("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    *("retry-after", "retry-after-ms", "x-should-retry", "www-authenticate", "x-accel-buffering"),
)
"""Every header of ours that an answer may have, as the plane's document lists them."""
_EXPOSED = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())
# A star stands for every header but that one.
_PREFLIGHT = [
    _ANY,
    (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, *"),
    (b"access-control-max-age", b"600"),
    (b"content-length", b"0"),
]


class CrossOrigin:
    """ASGI middleware within the outermost ring."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a browser's question beforehand, or else let the answer be read by any page."""
        context = scope["state"]["context"]
        if b"origin" not in context.headers or not scope["path"].startswith(_PATH):
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and b"access-control-request-method" in context.headers:
            await send({"type": "http.response.start", "status": 204, "headers": _PREFLIGHT})
            await send({"type": "http.response.body", "body": b""})
        else:
            # Who streams sends by the context, past all that is around him.
            context.send = _Readable(context.send)
            await self._app(scope, receive, _Readable(send))


class _Readable:
    """Adds to an answer that pages of any origin may read it."""

    __slots__ = ("_send",)

    def __init__(self, send: Any) -> None:
        self._send = send

    def __call__(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], _ANY, _EXPOSED]
        sent: Awaitable[None] = self._send(message)
        return sent
