"""Layers whose own time is noted for a trace. Law: what is below a layer is not of its time."""

from app.observability.tracing.record import RequestTrace
from app.pipeline.exchange import Answer, Exchange, Layer, Next


class Traced:
    """A layer of a request that is sampled; `name` is what its span is called."""

    def __init__(self, layer: Layer, name: str) -> None:
        self._layer = layer
        self._name = name

    async def __call__(self, exchange: Exchange, following: Next) -> Answer:
        """Answer as the layer does."""
        trace = exchange.trace
        if trace is None or not trace.is_sampled:
            return await self._layer(exchange, following)
        return await self._noted(exchange, following, trace=trace)

    async def _noted(self, exchange: Exchange, following: Next, *, trace: RequestTrace) -> Answer:
        mark = trace.begin(self._name)

        async def below(exchange: Exchange) -> Answer:
            trace.end(mark)
            return await following(exchange)

        try:
            answer = await self._layer(exchange, below)
        except BaseException as error:
            trace.end(mark, error)
            raise
        trace.end(mark)
        return answer
