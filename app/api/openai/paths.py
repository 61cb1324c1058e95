"""OpenAI's paths: chat completions, embeddings, models."""

from collections.abc import Mapping
from typing import Any

import msgspec

from app.api.errors import openai_body
from app.api.openai.shapes import check_chat, check_common, check_embeddings
from app.api.understanding import Call, Wire
from app.kernel.errors import GatewayError
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Asked, Operation, Reader, StreamRenderer
from providers.framing import sse
from providers.openai import downstream, render
from providers.openai.chunks import ChunkDecoder
from providers.openai.tools import custom_names_in
from providers.openai.upstream import read_completion
from providers.openai.wire import CHAT, EMBEDDINGS
from providers.types import ChatEvent, ChatRequest, Completion, EmbeddingRequest, Embeddings

_encode = msgspec.json.encode


def _id_of(exchange: Exchange) -> str:
    """Return the id of an answer to which its provider gave none."""
    return "chatcmpl-" + exchange.request_uuid.hex


class _ChatStream:
    """A stream of chat completion chunks, terminator included."""

    __slots__ = ("_chunks",)

    def __init__(self, exchange: Exchange) -> None:
        self._chunks = render.ChunkRenderer(
            model=exchange.route.name,
            answer_id=_id_of(exchange),
            include_usage=exchange.asked.keep_usage,
            custom_names=custom_names_in(exchange.document),
        )

    def feed(self, event: ChatEvent) -> bytes:
        """Return the chunks that say `event`."""
        return self._chunks.feed(event)

    def finish(self) -> bytes:
        """Return the usage chunk, if asked for, and `[DONE]`."""
        return self._chunks.finish() + render.DONE


class ChatRenderer:
    """Says canonical answers as chat completions."""

    def whole(self, exchange: Exchange, answer: Completion) -> bytes:
        """Return the body of an answer."""
        names = custom_names_in(exchange.document)
        if not answer.id:
            answer = msgspec.structs.replace(answer, id=_id_of(exchange))
        return _encode(render.render_completion(answer, model=exchange.route.name, custom_names=names))

    def stream(self, exchange: Exchange) -> StreamRenderer:
        """Return a renderer for one stream."""
        return _ChatStream(exchange)


class EmbeddingsRenderer:
    """Says canonical embeddings in OpenAI's shape."""

    def whole(self, exchange: Exchange, answer: Embeddings) -> bytes:
        """Return the body of an answer."""
        encoding = exchange.document.get("encoding_format") or "float"
        return _encode(render.render_embeddings(answer, model=exchange.route.name, encoding=encoding))

    def stream(self, exchange: Exchange) -> StreamRenderer:
        """Refuse: embeddings are never streamed."""
        raise NotImplementedError(exchange.operation.name)


def late_error(error: GatewayError, request_id: str) -> bytes:
    """Return an error as an event inside a stream: no `[DONE]` follows it."""
    return sse.encode(openai_body(error, request_id))


def _read_chat(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    model = check_common(document)
    check_chat(document)
    return Asked(model=model, stream=bool(document.get("stream")), keep_usage=wants_usage(document))


def _read_embeddings(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    model = check_common(document)
    check_embeddings(document)
    return Asked(model=model)


def wants_usage(document: Mapping[str, Any]) -> bool:
    """Return whether the client asked for the usage at the end of a stream."""
    return bool((document.get("stream_options") or {}).get("include_usage"))


def _parse_chat(document: Mapping[str, Any], asked: Asked) -> ChatRequest:
    del asked
    return downstream.parse_chat(document)


def _parse_embeddings(document: Mapping[str, Any], asked: Asked) -> EmbeddingRequest:
    del asked
    return downstream.parse_embeddings(document)


CHAT_WIRE = Wire(
    operation=Operation(
        name="chat",
        relay=CHAT,
        endpoint="/v1/chat/completions",
        parse=_parse_chat,
        renderer=ChatRenderer(),
        reader=Reader(whole=read_completion, decoder=lambda _: ChunkDecoder()),
        has_choices=True,
    ),
    read=_read_chat,
    say_error=openai_body,
    say_late_error=late_error,
)
EMBEDDINGS_WIRE = Wire(
    operation=Operation(
        name="embeddings",
        relay=EMBEDDINGS,
        endpoint="/v1/embeddings",
        parse=_parse_embeddings,
        renderer=EmbeddingsRenderer(),
        generates=False,
    ),
    read=_read_embeddings,
    say_error=openai_body,
    say_late_error=late_error,
)
