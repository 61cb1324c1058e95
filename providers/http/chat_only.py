"""What a dialect inherits whose vendor only chats: the rest is refused by name, errors are read by their status.

A subclass writes `encode_chat`, `decode_chat` and `chat_decoder`, and overrides what else its vendor has.
"""

from abc import abstractmethod
from typing import Any

from providers.answers import error_of_status, fields, read_object, read_refusal, text
from providers.errors import BadAnswer, ProviderError, RequestRefused
from providers.framing import sse
from providers.framing.decoder import FrameDecoder
from providers.protocol import Inspector
from providers.types import (
    ChatEvent,
    EmbeddingRequest,
    Embeddings,
    Headers,
    RelayRequest,
    Target,
    UpstreamRequest,
)


class ChatOnly:
    """All of a dialect but its chat."""

    stream_type = "text/event-stream"

    def relays(self, target: Target) -> frozenset[str]:
        """Return nothing: no client speaks this wire to the gateway."""
        del target
        return frozenset()

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Refuse: the vendor has no embeddings."""
        del request
        raise _not_served("embeddings", target)

    def decode_embeddings(self, body: bytes) -> Embeddings:
        """Refuse: none were asked for."""
        del body
        raise BadAnswer("there is no answer to what was not asked")

    def encode_relay(self, request: RelayRequest, target: Target) -> UpstreamRequest:
        """Refuse: nothing is relayed."""
        raise _not_served(request.operation, target)

    def inspector(self, request: RelayRequest) -> Inspector:
        """Refuse: nothing is relayed."""
        raise RequestRefused(f"{request.operation} is not served", status=404)

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Refuse: the vendor lists no models."""
        raise _not_served("a list of models", target)

    def decode_models(self, body: bytes) -> list[str]:
        """Refuse: none were asked for."""
        del body
        raise BadAnswer("there is no answer to what was not asked")

    def decode_error(self, status: int, headers: Headers, body: bytes) -> ProviderError:
        """Read a refusal by its status, with the words that most vendors have for it, in `error` or at the top."""
        said = read_refusal(body)
        error = fields(said.get("error")) or said
        message, code, param = (text(error.get(name)) for name in ("message", "code", "param"))
        return error_of_status(status, headers, message=message, code=code, param=param)


def _not_served(what: str, target: Target) -> RequestRefused:
    return RequestRefused(
        f"{target.provider} does not serve {what}", status=400, code="unsupported_operation", param="model"
    )


class EventStreamDecoder(FrameDecoder[bytes]):
    """Reads server-sent events whose data are JSON objects; what they say is the subclass's to know.

    It writes `read` and sets `is_done` when the vendor has said its last; until then the answer was cut.
    """

    def __init__(self) -> None:
        super().__init__(sse.FrameSplitter())

    @abstractmethod
    def read(self, said: dict[str, Any]) -> list[ChatEvent]:
        """Return what one event says."""

    def read_frame(self, frame: bytes) -> list[ChatEvent]:
        """Return what one frame says: nothing, if it has no data."""
        data = sse.data_of(frame)
        return self.read(read_object(data)) if data else []


__all__ = ["ChatOnly", "EventStreamDecoder"]
