"""`POST /v1/responses`: relayed where a provider serves it, otherwise said in the provider's words."""

from collections.abc import Mapping
from typing import Any

import msgspec

from app.api.errors import openai_body
from app.api.openai.response_shapes import check_response
from app.api.openai.shapes import check_common
from app.api.understanding import Call, Wire
from app.domain.responses.schemas import KeptResponse
from app.kernel.errors import GatewayError
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Asked, Operation, Passed, Reader, StreamRenderer
from app.routing.vocabulary import Vocabulary, prefix_text
from providers.openai.responses.decoder import EventDecoder
from providers.openai.responses.downstream import input_items, parse_response_request
from providers.openai.responses.inspect import number_after
from providers.openai.responses.render import EventRenderer, render_failure, render_response
from providers.openai.responses.upstream import read_response
from providers.openai.responses.wire import RESPONSE_GET, RESPONSES
from providers.types import ChatEvent, ChatRequest, Completion


def _id_of(request_id: str) -> str:
    return "resp_" + request_id.replace("-", "")


def _request_of(exchange: Exchange) -> Mapping[str, Any]:
    """Return the request that a response repeats: what was written out is again what it went on from.

    What the operator forbids to store is not said to be stored, though the client left that open.
    """
    document = exchange.document
    if exchange.previous_id is not None:
        document = {**document, "previous_response_id": exchange.previous_id}
    if not exchange.is_kept and document.get("store") is None:
        document = {**document, "store": False}
    return document


def _produce(exchange: Exchange, response: dict[str, Any]) -> None:
    """Hand a finished response to whoever keeps it, if it is to be kept."""
    if exchange.is_kept:
        given = input_items(exchange.document) if exchange.new_input is None else exchange.new_input
        exchange.produced = KeptResponse(
            id=response["id"], response=response, input=given, previous_id=exchange.previous_id
        )


class _ResponseStream:
    """A stream of a response's typed events, the last one included."""

    __slots__ = ("_events", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._events = EventRenderer(
            document=_request_of(exchange), model=exchange.route.name, id=_id_of(exchange.request_id)
        )
        exchange.say_failure = self._fail

    def _fail(self, error: GatewayError) -> bytes:
        return self._events.fail(error.code, error.message, param=error.param)

    def feed(self, event: ChatEvent) -> bytes:
        """Return the events that say `event`."""
        return self._events.feed(event)

    def finish(self) -> bytes:
        """Return the event that ends the response."""
        last = self._events.finish()
        _produce(self._exchange, self._events.response)
        return last


class ResponseRenderer:
    """Says canonical answers as responses."""

    def whole(self, exchange: Exchange, answer: Completion) -> bytes:
        """Return the body of an answer."""
        response = render_response(
            answer, document=_request_of(exchange), model=exchange.route.name, id=_id_of(exchange.request_id)
        )
        _produce(exchange, response)
        return msgspec.json.encode(response)

    def stream(self, exchange: Exchange) -> StreamRenderer:
        """Return a renderer for one stream."""
        return _ResponseStream(exchange)


def late_error(error: GatewayError, request_id: str) -> bytes:
    """Return an error inside a stream, as an event and as a failed response: some clients wait for the one or other."""
    return render_failure(error.code, error.message, param=error.param, id=_id_of(request_id))


def _say_break(exchange: Exchange, error: GatewayError, passed: Passed) -> bytes:
    """Return what ends a relayed response that broke, under its own id, in numbers that follow its own."""
    known = passed.ids[0] if passed.ids else _id_of(exchange.request_id)
    first = number_after(passed.last)
    return render_failure(
        error.code, error.message, param=error.param, id=known, first=first, is_stored=exchange.is_kept
    )


def _read(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    model = check_common(document)
    check_response(document)
    # A response tells its usage unasked.
    return Asked(model=model, stream=bool(document.get("stream")), keep_usage=True)


def _parse(document: Mapping[str, Any], asked: Asked) -> ChatRequest:
    del asked
    return parse_response_request(document)


def _prefix_instructions(document: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {"instructions": prefix_text(document.get("instructions"), prefix)}


RESPONSES_WIRE = Wire(
    operation=Operation(
        name="chat",
        relay=RESPONSES,
        endpoint="/v1/responses",
        parse=_parse,
        renderer=ResponseRenderer(),
        reader=Reader(whole=read_response, decoder=lambda _: EventDecoder()),
        vocabulary=Vocabulary(
            paths={
                "max_completion_tokens": "max_output_tokens",
                "max_tokens": "max_output_tokens",
                "messages": "input",
                "reasoning_effort": "reasoning.effort",
                "response_format": "text.format",
            },
            lacks=frozenset(
                {
                    "frequency_penalty",
                    "logit_bias",
                    "logprobs",
                    "n",
                    "presence_penalty",
                    "seed",
                    "stop",
                    "top_k",
                }
            ),
            caps=("max_output_tokens",),
            choices=(),
            system_prefix=_prefix_instructions,
        ),
        keeps=True,
        stores=RESPONSE_GET,
        say_break=_say_break,
        echoes=True,
    ),
    read=_read,
    say_error=openai_body,
    say_late_error=late_error,
)
