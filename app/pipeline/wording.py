"""What a target is sent for a request: the client's own bytes, or the same in canonical words. Law: pure."""

import msgspec

from app.pipeline.bent import read
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Operation
from app.pipeline.places import tell_place
from app.routing.bending import with_cap_named
from app.routing.table import RouteTarget
from providers.errors import ProviderError, RequestRefused
from providers.signatures import holds_seal
from providers.types import ChatRequest, EmbeddingRequest, RelayRequest


def is_relayed(exchange: Exchange, choice: RouteTarget) -> bool:
    """Whether the client's bytes go through: the provider speaks its dialect, and can do all that they ask.

    An answer that is to be kept by a provider that keeps none is said in our words, and kept here.
    """
    operation, relays = exchange.operation, choice.relays
    if operation.relay not in relays or exchange.is_translated:
        return False
    if exchange.is_kept and operation.stores not in relays:
        return False
    return not (operation.unseals and holds_seal(exchange.body))


def relayed_request(exchange: Exchange) -> RelayRequest:
    """Return what a target of the client's dialect is sent."""
    return RelayRequest(
        operation=exchange.operation.relay,
        body=exchange.body,
        document=exchange.document,
        edits=exchange.edits,
        output_cap=exchange.output_cap,
        stream=exchange.stream,
        keep_usage=exchange.asked.keep_usage,
        headers=exchange.passed_headers,
        content_type=exchange.content_type,
        framing=exchange.asked.framing,
    )


def canonical_request(
    exchange: Exchange, choice: RouteTarget
) -> tuple[ChatRequest | EmbeddingRequest, frozenset[str] | None]:
    """Return what a target of another dialect is asked, and which of its fields are the operator's alone.

    Raises `RequestRefused` for what only the client's dialect can say.
    """
    operation = exchange.operation
    if operation.parse is None:
        raise not_served(operation, choice)
    request, written = (exchange.canonical, None) if exchange.canonical else read(exchange, operation.parse)
    if isinstance(request, EmbeddingRequest):
        return request, written
    if exchange.is_translated:
        request = msgspec.structs.replace(request, stream=exchange.stream)
    if exchange.output_cap is not None:
        request = msgspec.structs.replace(request, max_output_tokens=exchange.output_cap)
    transform = exchange.route.transform
    if transform is not None and transform.rename:
        request = with_cap_named(request, transform, relays=choice.relays)
    return request, written


def not_served(operation: Operation, choice: RouteTarget) -> RequestRefused:
    """Return the refusal of what only a provider of the client's dialect can answer."""
    return RequestRefused(f"{choice.provider} does not serve {operation.endpoint}", status=400, param="model")


def tell_client(error: ProviderError, exchange: Exchange) -> None:
    """Let a failure name what it is about in the words and the places of the client's body."""
    if error.param is not None:
        error.param = exchange.operation.vocabulary.path(error.param)
    if isinstance(error, RequestRefused):
        tell_place(error, exchange.document)
