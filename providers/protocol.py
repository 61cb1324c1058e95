"""What a provider must offer. Law: an `Adapter` does I/O, a `Dialect` is pure, and one `HttpAdapter` joins them.

Await opens, iteration reads, close settles: a status is known when `chat` or `relay` returns; whoever opened a stream
closes it, whatever happened.
"""

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from providers.errors import ProviderError
from providers.types import (
    ChatEvent,
    ChatRequest,
    Completion,
    EmbeddingRequest,
    Embeddings,
    Headers,
    RelayRequest,
    Target,
    Timeouts,
    UpstreamRequest,
    Usage,
)


class ChatStream(Protocol):
    """An answer as it comes. A choice that ends without `Finished` raises `StreamInterrupted` instead.

    `dropped` names the fields of the request that the provider was not told (`providers.carry`).
    """

    headers: Headers
    dropped: tuple[str, ...]

    def __aiter__(self) -> AsyncIterator[ChatEvent]:
        """Yield the events of the answer, once; behind a step that was cancelled, a new iterator goes on."""
        ...

    def close(self) -> None:
        """Let go of the upstream call; idempotent. Before the end it aborts the call."""
        ...


class Inspector(Protocol):
    """Watches relayed bytes without changing what they say; one for each relayed answer.

    It holds back at most one incomplete frame, drops a usage frame that the client did not ask for, and never lets a
    terminator through unless the answer is complete.
    """

    usage: Usage | None
    has_content: bool
    """Whether anything that a caller would call an answer has passed (text, reasoning, a tool call)."""
    is_finished: bool
    """Whether the dialect's terminator has been seen: an answer that ends without it was cut."""
    output_tokens_seen: int
    """A lower bound of the tokens that have passed, for answers that end without usage."""
    error: ProviderError | None
    """What the provider reported inside the answer, if it did."""
    issued: list[str]
    """Ids of what the provider keeps from now on and the caller may refer to: a response, its items, a container."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes off the wire, in any cut, and return those that may be passed on (perhaps none)."""
        ...

    def end(self) -> bytes:
        """Take the end of a body that has not said its terminator, and return the terminator if nothing is missing.

        Raises `StreamInterrupted` if the answer was cut.
        """
        ...


class RelayStream(Protocol):
    """A provider's answer in the client's own dialect."""

    status: int
    headers: Headers
    inspector: Inspector

    async def read(self) -> bytes:
        """Return the next bytes to pass on; `b""` at the end. Raises `StreamInterrupted` if the answer was cut."""
        ...

    async def read_all(self) -> bytes:
        """Return the whole of an answer that is not a stream, having let the inspector see it."""
        ...

    def close(self) -> None:
        """Let go of the upstream call; idempotent. Before the end it aborts the call."""
        ...


@runtime_checkable
class Adapter(Protocol):
    """Calls one kind of provider. What the application holds; made once for each configured provider.

    Every method raises `ProviderError` and nothing else for what a provider does wrong.
    """

    def relays(self, target: Target) -> frozenset[str]:
        """Return what goes to `target` unchanged, such as `openai.chat`: dialect, dot, operation."""
        ...

    async def chat(self, request: ChatRequest, target: Target) -> ChatStream:
        """Open an answer, streamed by the provider or not, as canonical events."""
        ...

    async def embed(self, request: EmbeddingRequest, target: Target) -> Embeddings:
        """Return the vectors of the inputs."""
        ...

    async def relay(self, request: RelayRequest, target: Target) -> RelayStream:
        """Send the client's bytes on and open the answer; only for operations that `relays` names."""
        ...

    async def models(self, target: Target) -> list[str]:
        """Return the names of the models that the provider serves; `target.model` is not read."""
        ...


@runtime_checkable
class RequestChecker(Protocol):
    """What an adapter may offer beside: it tells beforehand, and calls nobody, what it cannot be asked."""

    def check_request(self, request: ChatRequest | EmbeddingRequest | RelayRequest, target: Target) -> None:
        """Raise `RequestRefused` where `chat`, `embed` or `relay` would before anything is sent."""
        ...


class ChatDecoder(Protocol):
    """Turns the bytes of one streamed answer into events; holds its state."""

    @property
    def is_finished(self) -> bool:
        """Whether the dialect's terminator has been seen, so that nothing more is worth reading."""
        ...

    def feed(self, data: bytes) -> list[ChatEvent]:
        """Take the next bytes, in any cut, and return the events that they complete."""
        ...

    def finish(self) -> list[ChatEvent]:
        """Return the last events at the end of the body; raises `StreamInterrupted` if it came too early."""
        ...


class Dialect(Protocol):
    """How one vendor's wire says things: pure functions, no I/O. What most adapter authors write."""

    stream_type: str
    """The media type of a streamed answer, in lower case: `text/event-stream` nearly everywhere."""

    def relays(self, target: Target) -> frozenset[str]:
        """Return the operations whose bytes go to `target` unchanged."""
        ...

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        """Return the HTTP request that asks for an answer."""
        ...

    def decode_chat(self, body: bytes) -> Completion:
        """Read an answer that was not streamed. Raises `BadAnswer`."""
        ...

    def chat_decoder(self) -> ChatDecoder:
        """Return a fresh decoder for one streamed answer."""
        ...

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Return the HTTP request that asks for embeddings."""
        ...

    def decode_embeddings(self, body: bytes) -> Embeddings:
        """Read embeddings. Raises `BadAnswer`."""
        ...

    def encode_relay(self, request: RelayRequest, target: Target) -> UpstreamRequest:
        """Return the HTTP request that carries the client's bytes."""
        ...

    def inspector(self, request: RelayRequest) -> Inspector:
        """Return a fresh inspector for the answer to `request`."""
        ...

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the HTTP request that lists the provider's models."""
        ...

    def decode_models(self, body: bytes) -> list[str]:
        """Read the names in a list of models. Raises `BadAnswer`."""
        ...

    def decode_error(self, status: int, headers: Headers, body: bytes) -> ProviderError:
        """Read a refusal. `body` may be cut at 64 KiB."""
        ...


class Answer(Protocol):
    """The transport's view of an HTTP answer whose head is there."""

    status: int

    @property
    def headers(self) -> Headers:
        """Header fields by lower-case name, a repeated one joined with `, `."""
        ...

    @property
    def at_end(self) -> bool:
        """Whether the body is complete and all of it has been read."""
        ...

    async def read(self) -> bytes:
        """Return the next bytes of the body as they came; `b""` at the end, again and again."""
        ...

    async def read_all(self, limit_bytes: int = ...) -> bytes:
        """Return the rest of the body. Raises `BadAnswer` when it is over `limit_bytes`."""
        ...

    def close(self) -> None:
        """Give the connection back if the body was read out, else abort it; idempotent."""
        ...

    def finish(self) -> None:
        """Let go of an answer that has said all it means: its last bytes may still come for a moment; idempotent."""
        ...


class Sender(Protocol):
    """The transport: `providers.http.Pool`, or a fake."""

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> Answer:
        """Send a request; return when the head of the answer is there."""
        ...
