"""The ring of layers around one call. Law: every floor has the same signature, so that any can be wrapped or faked."""

from typing import Any, Protocol

from app.pipeline.answer import Answer
from app.pipeline.exchange import Exchange


class Next(Protocol):
    """The floors below a layer."""

    async def __call__(self, exchange: Exchange) -> Answer:
        """Answer the exchange."""
        ...


class Layer(Protocol):
    """One floor of the ring."""

    async def __call__(self, exchange: Exchange, following: Next) -> Answer:
        """Answer the exchange, with or without the floors below."""
        ...


def compose(layers: list[Layer], innermost: Next) -> Next:
    """Return one call through all layers, the first outermost."""
    call = innermost
    for layer in reversed(layers):
        call = _bind(layer, call)
    return call


def _bind(layer: Layer, following: Next) -> Next:
    def bound(exchange: Exchange) -> Any:
        return layer(exchange, following)

    return bound
