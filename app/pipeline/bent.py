"""How a request is read and asked where its operator changes it, and its provider speaks other words than its client.

Law: a client never hears of a field that it has not sent. What its operator adds and a provider cannot be told is left
out and listed, as harmless fields are.
"""

from app.pipeline.exchange import Exchange
from app.pipeline.operation import Parse
from app.routing.bending import bend, is_same, is_set, without
from app.routing.transform import apply_edits
from providers.carry import UNSUPPORTED
from providers.errors import RequestRefused
from providers.protocol import Adapter, ChatStream, RequestChecker
from providers.types import ChatRequest, EmbeddingRequest, Target


def read(exchange: Exchange, parse: Parse) -> tuple[ChatRequest | EmbeddingRequest, frozenset[str] | None]:
    """Return what an exchange asks, with its operator's changes, and which of its fields are the operator's alone.

    Raises `RequestRefused` as `parse` does.
    """
    transform, document = exchange.route.transform, exchange.document
    if transform is None or not exchange.operation.generates:
        return parse(apply_edits(document, exchange.edits), exchange.asked), None
    request = parse(apply_edits(document, exchange.edits_to_read()), exchange.asked)
    if not isinstance(request, ChatRequest):
        return request, None
    return bend(request, transform, document, vocabulary=exchange.operation.vocabulary)


async def ask(adapter: Adapter, request: ChatRequest, target: Target, *, written: frozenset[str]) -> ChatStream:
    """Open an answer to a request less those of the fields `written` that the adapter has no words for.

    Nothing is sent before the adapter has words for all the rest.
    """
    unsaid: tuple[str, ...] = ()
    while True:
        try:
            stream = await adapter.chat(request, target)
        except RequestRefused as error:
            name = _blamed(error, request, written)
            request = without(request, name)
            unsaid = (*unsaid, name)
        else:
            stream.dropped = (*stream.dropped, *unsaid)
            return stream


def check(checker: RequestChecker, request: ChatRequest, target: Target, *, written: frozenset[str]) -> None:
    """Raise what `ask` would raise before anything is sent; nobody is asked."""
    while True:
        try:
            checker.check_request(request, target)
        except RequestRefused as error:
            request = without(request, _blamed(error, request, written))
        else:
            return


def _blamed(error: RequestRefused, request: ChatRequest, written: frozenset[str]) -> str:
    """Return the operator's field that an adapter refuses; raises what is said of anybody else's.

    What a vendor refuses is said in the vendor's words.
    """
    if error.code == UNSUPPORTED and error.vendor_code is None and error.param is not None:
        for name in written:
            if is_same(name, error.param) and is_set(request, name):
                return name
    raise error
