"""Anthropic's paths: messages, and the count of their tokens."""

from collections.abc import Mapping
from typing import Any

import msgspec

from app.api.anthropic.shapes import check_messages
from app.api.errors import status_of
from app.api.understanding import Call, Wire
from app.kernel.errors import GatewayError
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Asked, Operation, Reader, StreamRenderer
from app.routing.vocabulary import Vocabulary, prefix_text
from providers.anthropic.answers import read_message
from providers.anthropic.downstream import parse_messages
from providers.anthropic.errors import write_error, write_late_error
from providers.anthropic.estimate import estimate_tokens
from providers.anthropic.render import render_message
from providers.anthropic.render_stream import MessageRenderer
from providers.anthropic.stream import MessageDecoder
from providers.anthropic.wire import COUNT_TOKENS, MESSAGES
from providers.types import ChatRequest, Completion


class MessagesRenderer:
    """Says canonical answers as messages."""

    def whole(self, exchange: Exchange, answer: Completion) -> bytes:
        """Return the body of an answer."""
        return msgspec.json.encode(render_message(answer, model=exchange.route.name, request_id=_id_of(exchange)))

    def stream(self, exchange: Exchange) -> StreamRenderer:
        """Return a renderer for one stream, `message_stop` included."""
        return MessageRenderer(model=exchange.route.name, request_id=_id_of(exchange))


def _id_of(exchange: Exchange) -> str:
    return exchange.request_id.replace("-", "")


def _prefix_system(document: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {"system": prefix_text(document.get("system"), prefix)}


_VOCABULARY = Vocabulary(
    paths={
        "max_completion_tokens": "max_tokens",
        "reasoning_effort": "output_config.effort",
        "response_format": "output_config.format",
        "stop": "stop_sequences",
        "user": "metadata.user_id",
    },
    lacks=frozenset(
        {
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "n",
            "parallel_tool_calls",
            "presence_penalty",
            "seed",
            "top_logprobs",
        }
    ),
    caps=("max_tokens",),
    choices=(),
    system_prefix=_prefix_system,
)
_COUNTED = msgspec.structs.replace(
    _VOCABULARY,
    lacks=_VOCABULARY.lacks
    | {"max_completion_tokens", "max_tokens", "metadata", "stop", "temperature", "top_k", "top_p", "user"},
)
"""The words of a body that is counted: none for how an answer is made.

Source: anthropic 2.14: MessageCountTokensParams.
"""


def _read(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    # A message tells its usage unasked.
    return Asked(model=check_messages(document), stream=bool(document.get("stream")), keep_usage=True)


def _read_count(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    return Asked(model=check_messages(document))


def _parse(document: Mapping[str, Any], asked: Asked) -> ChatRequest:
    del asked
    return parse_messages(document)


def _estimate(document: Mapping[str, Any]) -> bytes:
    """Return the body of a count that no provider made."""
    return msgspec.json.encode({"input_tokens": estimate_tokens(parse_messages(document))})


def anthropic_body(error: GatewayError, request_id: str) -> bytes:
    """Return an error in Anthropic's form."""
    return write_error(error.message, status=status_of(error), code=_code_of(error), request_id=request_id)


def late_error(error: GatewayError, request_id: str) -> bytes:
    """Return an error as an event inside a stream: no `message_stop` follows it."""
    return write_late_error(error.message, status=status_of(error), code=_code_of(error), request_id=request_id)


def _code_of(error: GatewayError) -> str:
    """Return the code of an error: the dialect's own where a thread cannot be had, so that clients send all turns."""
    return _THREAD_CODES.get(error.param or "", error.code)


_THREAD_CODES = {"thread": "thread_unsupported_request", "thread.previous_message_id": "thread_not_found"}
_PASSES = (b"anthropic-version", b"anthropic-beta")
_IDS = (b"x-request-id", b"request-id")

MESSAGES_WIRE = Wire(
    operation=Operation(
        name="chat",
        relay=MESSAGES,
        endpoint="/v1/messages",
        parse=_parse,
        renderer=MessagesRenderer(),
        reader=Reader(whole=read_message, decoder=lambda _: MessageDecoder()),
        vocabulary=_VOCABULARY,
        keeps=True,
        unseals=True,
    ),
    read=_read,
    say_error=anthropic_body,
    say_late_error=late_error,
    passes=_PASSES,
    id_headers=_IDS,
)
COUNT_TOKENS_WIRE = Wire(
    operation=Operation(
        name="count_tokens",
        relay=COUNT_TOKENS,
        endpoint="/v1/messages/count_tokens",
        vocabulary=_COUNTED,
        generates=False,
        unseals=True,
        estimate=_estimate,
    ),
    read=_read_count,
    say_error=anthropic_body,
    say_late_error=late_error,
    passes=_PASSES,
    id_headers=_IDS,
)
