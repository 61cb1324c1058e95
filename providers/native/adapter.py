"""An adapter that is a service of its own, called as if it were here."""

from providers.http.adapter import HttpAdapter
from providers.native.dialect import NativeDialect
from providers.native.wire import read_told
from providers.protocol import ChatStream, Dialect, RelayStream, Sender
from providers.types import ChatRequest, EmbeddingRequest, Embeddings, RelayRequest, Target, UpstreamRequest


class _Messenger(HttpAdapter):
    """Carries requests to a service, whose own adapter adds to them what the operator does."""

    def _encoded(self, request: ChatRequest, target: Target, dialect: Dialect) -> UpstreamRequest:
        return dialect.encode_chat(request, target)


class NativeAdapter:
    """The native dialect over HTTP; what an answer's head tells of the provider's own is put in its place."""

    def __init__(self, dialect: NativeDialect, sender: Sender) -> None:
        self._http = _Messenger(dialect, sender)

    def relays(self, target: Target) -> frozenset[str]:
        """Return the operations that the configuration says the service relays."""
        return self._http.relays(target)

    async def chat(self, request: ChatRequest, target: Target) -> ChatStream:
        """Open an answer."""
        stream = await self._http.chat(request, target)
        told = read_told(stream.headers)
        stream.headers, stream.dropped = told.headers, told.dropped
        return stream

    async def embed(self, request: EmbeddingRequest, target: Target) -> Embeddings:
        """Return the vectors of the inputs."""
        return await self._http.embed(request, target)

    async def relay(self, request: RelayRequest, target: Target) -> RelayStream:
        """Send the client's bytes on and open the answer."""
        stream = await self._http.relay(request, target)
        stream.headers = read_told(stream.headers).headers
        return stream

    async def models(self, target: Target) -> list[str]:
        """Return the names of the models that the provider behind the service has."""
        return await self._http.models(target)
