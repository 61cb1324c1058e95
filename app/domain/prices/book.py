"""Finds the price of a model. Law: bounded; names that mean nothing are remembered, but never without limit."""

from datetime import datetime
from functools import lru_cache

import msgspec

from app.domain.prices.price import Price, price_from_list, price_from_settings
from app.kernel.clock import Clock
from app.settings.upstream import PriceSettings
from providers.catalog import Catalog
from providers.price_snapshot import MAX_NAME_CHARS, Change, ModelPrices

_REMEMBERED = 4096
"""How many names each book remembers, meaningful or not."""

_MINUTES_PER_HOUR = 60


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The prices of a model, made ready: the last change in force wins over `standard`."""

    standard: Price
    changes: tuple[tuple[Change, Price], ...]
    service_tiers: dict[str, Price]


class PriceBook:
    """The prices of the catalogue and of the operator; one for each process."""

    def __init__(self, catalog: Catalog, *, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._entries = lru_cache(_REMEMBERED)(self._look_up)
        self._overrides = lru_cache(_REMEMBERED)(price_from_settings)

    def find(
        self,
        vendor: str,
        model: str,
        *,
        override: PriceSettings | None = None,
        service_tier: str | None = None,
    ) -> Price | None:
        """Return the price in force now of an upstream model at a vendor, or nothing if it is unknown.

        `vendor` is a row of the catalogue, or a price source; `override` is what the operator wrote for the model, and
        wins. `service_tier` is the tier that the vendor's answer names; one that the catalogue does not know is charged
        as standard.
        """
        if override is not None:
            return self._overrides(override)
        entry = self._entry(vendor, model)
        if entry is None:
            return None
        if service_tier is not None and (price := entry.service_tiers.get(service_tier)):
            return price
        return _in_force(entry, self._clock) if entry.changes else entry.standard

    def find_tier(self, vendor: str, model: str, *, service_tier: str) -> Price | None:
        """Return the catalogue's price of a model in a service tier; nothing if it has none of its own there."""
        entry = self._entry(vendor, model)
        return None if entry is None else entry.service_tiers.get(service_tier)

    def _entry(self, vendor: str, model: str) -> _Entry | None:
        return self._entries(vendor, model) if len(model) <= MAX_NAME_CHARS else None

    def _look_up(self, vendor: str, model: str) -> _Entry | None:
        found = self._catalog.find(vendor, model)
        if found is None or found.prices is None:
            return None
        return _entry(found.prices, version=self._catalog.snapshot.version)


def _entry(prices: ModelPrices, *, version: str) -> _Entry:
    return _Entry(
        standard=price_from_list(prices.standard, version=version),
        changes=tuple((change, price_from_list(change.prices, version=version)) for change in prices.changes),
        service_tiers={
            name: price_from_list(listed, version=f"{version}#{name}") for name, listed in prices.service_tiers.items()
        },
    )


def _in_force(entry: _Entry, clock: Clock) -> Price:
    now = clock.now()
    return next((price for change, price in reversed(entry.changes) if _is_active(change, now)), entry.standard)


def _is_active(change: Change, now: datetime) -> bool:
    """Whether a change of price holds at `now`, which is in UTC."""
    if change.since is not None and now.date() < change.since:
        return False
    if change.minutes is None:
        return True
    start, end = change.minutes
    minute = now.hour * _MINUTES_PER_HOUR + now.minute
    return start <= minute < end if start <= end else minute >= start or minute < end
