"""The pool behind httpx's interface: for plug-ins, key sets and tests. The one module here that knows httpx.

Law: a thin shell. It translates requests, answers and errors, and decides nothing.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import cast

import httpx

from providers.errors import BadAnswer, ConnectFailed, ProviderTimedOut, RequestRefused, StreamInterrupted
from providers.http.answer import Answer
from providers.http.pool import Pool
from providers.types import Timeouts, UpstreamRequest

_ENDLESS_S = 86_400.0
_WRITTEN_BY_POOL = frozenset(
    {"host", "content-length", "connection", "accept-encoding", "transfer-encoding", "keep-alive"}
)
_TIMEOUTS = {
    "connect": httpx.ConnectTimeout,
    "write": httpx.WriteTimeout,
    "first_token": httpx.ReadTimeout,
    "idle": httpx.ReadTimeout,
}


@contextmanager
def _as_httpx_errors(request: httpx.Request) -> Iterator[None]:
    """Turn the pool's errors into httpx's."""
    try:
        yield
    except ConnectFailed as error:
        raise httpx.ConnectError(error.message, request=request) from error
    except ProviderTimedOut as error:
        raise _TIMEOUTS.get(error.phase, httpx.ReadTimeout)(error.message, request=request) from error
    except StreamInterrupted as error:
        raise httpx.ReadError(error.message, request=request) from error
    except BadAnswer as error:
        raise httpx.RemoteProtocolError(error.message, request=request) from error
    except RequestRefused as error:
        raise httpx.LocalProtocolError(error.message, request=request) from error


class _Body(httpx.AsyncByteStream):
    """Streams an answer's body; closing it closes the answer."""

    def __init__(self, answer: Answer, request: httpx.Request) -> None:
        self._answer = answer
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx_errors(self._request):
            while data := await self._answer.read():
                yield data

    async def aclose(self) -> None:
        self._answer.close()


def _timeouts(request: httpx.Request) -> Timeouts:
    """Return the request's timeouts; one of `None` is without end. A write waits as long as a read."""
    given = request.extensions.get("timeout", {})
    connect_s = given.get("connect")
    read_s = given.get("read")
    return Timeouts(
        connect_s=_ENDLESS_S if connect_s is None else connect_s,
        first_token_s=_ENDLESS_S if read_s is None else read_s,
        idle_s=_ENDLESS_S if read_s is None else read_s,
    )


def _translated(request: httpx.Request, body: bytes) -> UpstreamRequest:
    fields = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw)
    return UpstreamRequest(
        method=request.method,
        url=str(request.url),
        headers=tuple(field for field in fields if field[0] not in _WRITTEN_BY_POOL),
        body=body,
    )


class PoolTransport(httpx.AsyncBaseTransport):
    """An httpx transport over a `Pool`.

    Answers are asked for and handed over without content encoding. Closing the transport leaves the pool open: the
    pool belongs to the worker.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; its body is streamed if it has not been read."""
        with _as_httpx_errors(request):
            answer = await self._send(request)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def _send(self, request: httpx.Request) -> Answer:
        timeouts = _timeouts(request)
        try:
            body = request.content
        except httpx.RequestNotRead:
            length = request.headers.get("content-length")
            return await self._pool.upload(
                _translated(request, b""),
                cast("httpx.AsyncByteStream", request.stream),
                length_bytes=None if length is None else int(length),
                timeouts=timeouts,
            )
        return await self._pool.send(_translated(request, body), timeouts=timeouts)
