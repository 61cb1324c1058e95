"""The embedder that is a provider's model. Law: what it costs is told, and its failure is a miss.

Its vectors have as many bits as dimensions. From which cosine on texts may mean the same differs by model, so that an
operator who chooses one should look at the shadow report and set a threshold.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from app.cache.embedding import NotEmbedded, Vector, vector_of
from app.domain.prices import PriceBook, cost
from app.routing.table import RouteTarget
from providers.errors import ProviderError
from providers.types import EmbeddingRequest, Usage

THRESHOLD: Final = 0.85
_WITHIN_S: Final = 5.0
"""A miss is better than a longer wait."""

TargetOf = Callable[[str], RouteTarget | None]
"""Returns the target that serves a model, by its public name or `provider/model`."""
Used = Callable[[RouteTarget, Usage, int], None]
"""Is told what a call used, and what that costs in nano-USD."""


class RemoteEmbedder:
    """Asks a provider for vectors."""

    def __init__(self, name: str, *, target_of: TargetOf, prices: PriceBook, used: Used) -> None:
        """Make it; `name` is the model, as `provider/model` or by its public name."""
        self.id = f"remote-{name}"
        self.threshold = THRESHOLD
        self._name = name
        self._target_of = target_of
        self._prices = prices
        self._used = used

    async def embed(self, text: str) -> Vector:
        """Return the text's vector. Raises `NotEmbedded` where the provider does not answer with one."""
        target = self._target_of(self._name)
        if target is None:
            raise NotEmbedded(f"no provider serves {self._name}")
        request = EmbeddingRequest(model=target.target.model, input=[text], dialect="openai")
        try:
            async with asyncio.timeout(_WITHIN_S):
                answer = await target.adapter.embed(request, target.whole_target)
        except (ProviderError, TimeoutError) as error:
            raise NotEmbedded(f"{self._name} does not embed: {error}") from error
        usage = answer.usage or Usage()
        price = target.price or self._prices.find(target.vendor, target.target.model)
        self._used(target, usage, 0 if price is None else cost(price, usage))
        values = answer.vectors[0]
        if not values:
            raise NotEmbedded(f"{self._name} answers with no vector")
        return vector_of(values)
