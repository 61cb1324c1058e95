"""The transport of last resort: httpx's own pool, for whoever sets `transport: httpx`.

It keeps the promises of `providers.http.Pool` that callers rely on (errors, bounds, raw bytes), not its speed.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx

from providers.errors import BadAnswer, ConnectFailed, ProviderError, ProviderTimedOut, StreamInterrupted
from providers.http.answer import DEFAULT_LIMIT_BYTES
from providers.types import Headers, Timeouts, UpstreamRequest

_IDENTITY = ("accept-encoding", "identity")
_ENCODINGS = frozenset({"", "identity"})


class HttpxPool:
    """Sends requests through an `httpx.AsyncClient`. Make it inside the running loop; whoever made it closes it."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=55)
        self._client = httpx.AsyncClient(limits=limits, trust_env=False, follow_redirects=False)
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> "HttpxAnswer":
        """Send a request and return its answer once the head is there; raises `ProviderError`."""
        clocks = httpx.Timeout(
            connect=timeouts.connect_s, read=timeouts.first_token_s, write=timeouts.idle_s, pool=timeouts.connect_s
        )
        headers = [*request.headers, *request.call_headers, _IDENTITY]
        made = self._client.build_request(
            request.method, request.url, headers=headers, content=request.body, timeout=clocks
        )
        try:
            answer = await self._client.send(made, stream=True)
        except httpx.HTTPError as error:
            raise _translated(error, phase="first_token") from error
        return HttpxAnswer(answer, self)

    def close_later(self, answer: httpx.Response) -> None:
        """Close an answer in a task of its own, for httpx closes asynchronously."""
        task = asyncio.get_running_loop().create_task(answer.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._client.aclose()


class HttpxAnswer:
    """An answer whose body is read as it comes off the wire."""

    def __init__(self, answer: httpx.Response, pool: HttpxPool) -> None:
        self._answer = answer
        self._pool = pool
        self._pieces: AsyncIterator[bytes] = answer.aiter_raw()
        self._is_closed = False
        self.status = answer.status_code
        self.at_end = False

    @property
    def headers(self) -> Headers:
        """Header fields by lower-case name."""
        return self._answer.headers

    async def read(self) -> bytes:
        """Return the next bytes of the body; `b""` at the end, again and again."""
        if self.at_end:
            return b""
        if self.headers.get("content-encoding", "") not in _ENCODINGS:
            raise BadAnswer("The provider's answer has a content encoding that was not asked for.")
        try:
            async for piece in self._pieces:
                if piece:
                    return piece
        except httpx.HTTPError as error:
            raise _translated(error, phase="idle") from error
        self.at_end = True
        await self._answer.aclose()
        return b""

    async def read_all(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> bytes:
        """Return the rest of the body. Raises `BadAnswer` when it is over the limit."""
        gathered = bytearray()
        while piece := await self.read():
            gathered += piece
            if len(gathered) > limit_bytes:
                raise BadAnswer("The provider's answer is too large.", code="upstream_too_large")
        return bytes(gathered)

    def close(self) -> None:
        """Let go of the answer; httpx closes asynchronously, so this happens a moment later."""
        if not self._is_closed and not self.at_end:
            self._is_closed = True
            self._pool.close_later(self._answer)

    def finish(self) -> None:
        """Let go of the answer."""
        self.close()


def _translated(error: httpx.HTTPError, *, phase: str) -> ProviderError:
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return ProviderTimedOut("The connection to the provider took too long.", phase="connect")
    if isinstance(error, httpx.TimeoutException):
        return ProviderTimedOut("The provider did not answer in time.", phase=phase)
    if isinstance(error, httpx.ConnectError):
        return ConnectFailed("The provider cannot be reached.")
    is_cut = isinstance(error, httpx.RemoteProtocolError) and phase == "idle"
    if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError | httpx.InvalidURL) and not is_cut:
        return BadAnswer("The provider's answer is not HTTP.")
    return StreamInterrupted("The connection to the provider was cut.")
