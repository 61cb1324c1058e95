"""The native wire as a dialect: requests written, answers read."""

from typing import TypeVar

import msgspec

from providers.errors import BadAnswer
from providers.native import wire
from providers.native.errors import decode_error
from providers.native.stream import EventDecoder, StreamWatch, WholeWatch
from providers.protocol import ChatDecoder, Inspector
from providers.types import (
    ChatRequest,
    Completion,
    EmbeddingRequest,
    Embeddings,
    RelayRequest,
    Target,
    UpstreamRequest,
)

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_completion: msgspec.json.Decoder[Completion] = msgspec.json.Decoder(Completion)
_embeddings: msgspec.json.Decoder[Embeddings] = msgspec.json.Decoder(Embeddings)
_models: msgspec.json.Decoder[wire.Models] = msgspec.json.Decoder(wire.Models)


class NativeDialect:
    """Says what it is given, in full; `relays` are the operations that the service is said to relay."""

    stream_type = wire.LINES_TYPE
    decode_error = staticmethod(decode_error)

    def __init__(self, relays: frozenset[str] = frozenset()) -> None:
        self._relays = relays

    def relays(self, target: Target) -> frozenset[str]:
        """Return what the configuration says, for the service is not asked before it is needed."""
        del target
        return self._relays

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        """Return the request for an answer."""
        ask = wire.ChatAsk(request=request, model=target.model, timeouts=target.timeouts)
        return _post(target, wire.CHAT, _encode(ask))

    def decode_chat(self, body: bytes) -> Completion:
        """Read an answer that was not streamed."""
        return _read(_completion, body)

    def chat_decoder(self) -> ChatDecoder:
        """Return a decoder for one streamed answer."""
        return EventDecoder()

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Return the request for embeddings."""
        form = wire.EmbeddingForm(**msgspec.structs.asdict(request))
        ask = wire.EmbeddingAsk(request=form, model=target.model, timeouts=target.timeouts)
        return _post(target, wire.EMBEDDINGS, _encode(ask))

    def decode_embeddings(self, body: bytes) -> Embeddings:
        """Read embeddings."""
        return _read(_embeddings, body)

    def encode_relay(self, request: RelayRequest, target: Target) -> UpstreamRequest:
        """Return the request that carries the client's bytes, and what the adapter is to do with them."""
        body = wire.write_relay(request, model=target.model, timeouts=target.timeouts)
        return _post(target, wire.RELAY + request.operation, body, content_type=wire.RELAY_TYPE)

    def inspector(self, request: RelayRequest) -> Inspector:
        """Return what will be told of the answer to `request`."""
        return StreamWatch() if request.stream else WholeWatch()

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the request that lists the models."""
        return UpstreamRequest(method="GET", url=target.base_url + wire.MODELS, headers=_credential(target))

    def decode_models(self, body: bytes) -> list[str]:
        """Read the names of the models."""
        return _read(_models, body).models


def _post(target: Target, path: str, body: bytes, *, content_type: str = wire.JSON_TYPE) -> UpstreamRequest:
    headers = (*_credential(target), ("content-type", content_type))
    return UpstreamRequest(method="POST", url=target.base_url + path, headers=headers, body=body)


def _credential(target: Target) -> tuple[tuple[str, str], ...]:
    return () if target.credential is None else (("authorization", f"Bearer {target.credential.reveal()}"),)


def _read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("the adapter's answer is not of the native wire") from None
