"""A transport without a network: it answers what it was told, and remembers what it was asked and what was closed."""

from collections.abc import Iterable, Iterator

from providers.errors import BadAnswer, ProviderError
from providers.types import Timeouts, UpstreamRequest


class ScriptedAnswer:
    """An answer whose body comes in the given pieces; then it ends, or fails with `error`."""

    def __init__(
        self,
        body: bytes | Iterable[bytes] = b"",
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        error: ProviderError | None = None,
    ) -> None:
        self.status = status
        self.headers = {"content-type": "application/json"} if headers is None else headers
        self.is_closed = False
        self._pieces: Iterator[bytes] = iter([body] if isinstance(body, bytes) else body)
        self._next = next(self._pieces, b"")
        self._error = error

    @property
    def at_end(self) -> bool:
        """Whether all of the body has been read and no failure is due."""
        return not self._next and self._error is None

    async def read(self) -> bytes:
        """Return the next piece; at the end `b""`, again and again, or the error."""
        piece, self._next = self._next, next(self._pieces, b"")
        if not piece and self._error is not None:
            raise self._error
        return piece

    async def read_all(self, limit_bytes: int = 32 << 20) -> bytes:
        """Return the rest of the body. Raises `BadAnswer` when it is over `limit_bytes`."""
        gathered = bytearray()
        while piece := await self.read():
            gathered += piece
            if len(gathered) > limit_bytes:
                raise BadAnswer("the answer is too large", code="upstream_too_large")
        return bytes(gathered)

    def close(self) -> None:
        """Note that the answer was let go."""
        self.is_closed = True

    def finish(self) -> None:
        """Note that the answer was let go."""
        self.is_closed = True


class ScriptedSender:
    """A `Sender` that gives the same answer, or raises the same error, each time."""

    def __init__(self, answer: ScriptedAnswer | ProviderError) -> None:
        self.answer = answer
        self.requests: list[UpstreamRequest] = []

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> ScriptedAnswer:
        """Note the request and answer it."""
        del timeouts
        self.requests.append(request)
        if isinstance(self.answer, ProviderError):
            raise self.answer
        return self.answer
