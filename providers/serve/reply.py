"""Answers of an adapter service: one JSON value, or lines of them. Law: a stream that breaks never says its end."""

import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from providers.errors import (
    CredentialRefused,
    ProviderError,
    ProviderRateLimited,
    ProviderTimedOut,
    RequestRefused,
)
from providers.native import wire
from providers.native.errors import Refusal, fault_of
from providers.types import ChatEvent, Headers

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_STATUSES: tuple[tuple[type[ProviderError], int], ...] = (
    (RequestRefused, 400),
    (CredentialRefused, 401),
    (ProviderRateLimited, 429),
    (ProviderTimedOut, 504),
    (ProviderError, 502),
)
_encode = msgspec.json.Encoder().encode


def status_of(error: ProviderError) -> int:
    """Return the provider's own status if it says an error, else that of the error's kind."""
    if error.status is not None and 400 <= error.status <= 599:  # noqa: PLR2004 - the statuses of errors
        return error.status
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


class Reply:
    """The answer to one request."""

    __slots__ = ("_has_begun", "_is_last", "_send")

    def __init__(self, send: Send, *, is_last: bool) -> None:
        """Make one; `is_last` asks the client to close its connection after it."""
        self._send = send
        self._is_last = is_last
        self._has_begun = False

    async def whole(
        self, value: Any, *, status: int = 200, told: str | None = None, more: Headers | None = None
    ) -> None:
        """Answer with one JSON value; `told` is what the provider's head said, `more` are further headers."""
        body = _encode(value)
        length = {"content-length": str(len(body)), **(more or {})}
        await self._begin(status, wire.JSON_TYPE, told=told, more=length)
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, *, status: int = 200, told: str) -> None:
        """Begin an answer of lines."""
        await self._begin(status, wire.LINES_TYPE, told=told, more={"cache-control": "no-cache"})

    async def line(self, value: ChatEvent | wire.Relayed | wire.End | wire.Failed) -> None:
        """Write a line."""
        await self._send({"type": "http.response.body", "body": wire.write_line(value), "more_body": True})

    async def end(self) -> None:
        """Write the line that says that nothing is missing."""
        await self._send({"type": "http.response.body", "body": wire.write_line(wire.End())})

    async def refuse(self, error: ProviderError) -> None:
        """Say what went wrong: as the answer, or as the last line of one that has begun."""
        fault = fault_of(error)
        if self._has_begun:
            await self._send({"type": "http.response.body", "body": wire.write_line(wire.Failed(error=fault))})
            return
        wait = error.retry_after_s
        more = {} if wait is None else {"retry-after": str(math.ceil(wait))}
        await self.whole(Refusal(error=fault), status=status_of(error), more=more)

    async def _begin(self, status: int, content_type: str, *, told: str | None, more: Headers) -> None:
        self._has_begun = True
        headers = {"content-type": content_type, **more}
        if told is not None:
            headers[wire.TOLD_HEADER] = told
        if self._is_last:
            headers["connection"] = "close"
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})
