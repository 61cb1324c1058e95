"""Finds the price at which an attempt was charged, and the one at which the next would be.

Law: an attempt's is only one of the very same version; a newer one says nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

from app.domain.prices import Price, PriceBook, PriceOverlay, price_from_settings
from app.domain.prices.bill import Bill, bill
from app.domain.usage.schemas import UsageEvent
from app.gateway.core import Core
from app.settings.model import Settings
from app.settings.upstream import PriceSettings
from providers.registry import BrokenPlugin, Registry, UnknownAdapter
from providers.types import Usage

_FREE = PriceSettings(input_nusd=0, output_nusd=0)
_TIER = "#"
_ECHO = "echo"


class Billing:
    """Shows what attempts cost, and why. One for each process that serves the admin plane."""

    def __init__(
        self,
        registry: Registry,
        *,
        book: PriceBook,
        overlay: Callable[[], PriceOverlay],
        settings: Callable[[], Settings],
    ) -> None:
        """Look in the settings in force, the prices of the admin API and the catalogue."""
        self._registry = registry
        self._book = book
        self._overlay = overlay
        self._settings = settings

    def __call__(self, event: UsageEvent) -> Bill | None:
        """Return the arithmetic of an attempt; nothing where its price is no longer there, or it had none."""
        if event.price_version is None or event.kind != "attempt" or event.cost_nusd is None:
            return None
        price = next((each for each in self._prices(event) if each.version == event.price_version), None)
        made = None if price is None else bill(price, _usage_of(event))
        return made if made is not None and made.total_nusd == event.cost_nusd else None

    def price_now(self, public: str, *, provider: str, upstream: str) -> Price | None:
        """Return what an upstream model costs now that is asked for by the name `public`; nothing where none is known.

        The operator's price goes before the catalogue's, and the echo is free unless it has one.
        """
        settings = self._settings()
        model, given = settings.models.get(public), settings.providers.get(provider)
        if model is not None and model.price is not None:
            return price_from_settings(model.price)
        made = self._overlay().find(provider=provider, upstream=upstream, public=public)
        if made is not None or given is None:
            return made
        adapter = given.adapter or provider
        vendor = self._vendor(adapter)
        found = None if vendor is None else self._book.find(vendor, upstream)
        return price_from_settings(_FREE) if found is None and adapter == _ECHO else found

    def _prices(self, event: UsageEvent) -> Iterator[Price]:
        settings = self._settings()
        model, provider = settings.models.get(event.model), settings.providers.get(event.provider)
        if model is not None and model.price is not None:
            yield price_from_settings(model.price)
        made = self._overlay().find(provider=event.provider, upstream=event.upstream_model, public=event.model)
        if made is not None:
            yield made
        yield price_from_settings(_FREE)
        vendor = None if provider is None else self._vendor(provider.adapter or event.provider)
        if vendor is not None:
            yield from self._of_catalogue(vendor, event)

    def _of_catalogue(self, vendor: str, event: UsageEvent) -> Iterator[Price]:
        tier = (event.price_version or "").partition(_TIER)[2] or None
        found = self._book.find(vendor, event.upstream_model, service_tier=tier)
        if found is not None:
            yield found

    def _vendor(self, adapter: str) -> str | None:
        try:
            return self._registry.find(adapter).catalog
        except (UnknownAdapter, BrokenPlugin):
            return None


def open_billing(core: Core) -> Billing:
    """Return what shows the bills of an installation."""
    registry = Registry()
    return Billing(
        registry,
        book=PriceBook(registry.catalog, clock=core.clock),
        overlay=lambda: core.prices.current,
        settings=lambda: core.served,
    )


def _usage_of(event: UsageEvent) -> Usage:
    counts: dict[str, Any] = {name: count for name, count in event.details.items() if name in Usage.__struct_fields__}
    return Usage(
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        cache_read_tokens=event.cache_read_tokens,
        cache_write_tokens=event.cache_write_tokens,
        reasoning_tokens=event.reasoning_tokens,
        **counts,
    )
