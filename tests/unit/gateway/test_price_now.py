"""What a model costs now: the operator's price before the catalogue's."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.domain.prices import PriceBook
from app.domain.prices.overlay import PriceOverlay
from app.domain.prices.schemas import StoredPrice
from app.gateway.billing import Billing
from app.kernel.clock import ManualClock
from app.settings.model import ModelSettings, ProviderSettings, Settings
from app.settings.upstream import PriceSettings
from providers.registry import Registry

NOW = datetime(2026, 11, 25, tzinfo=UTC)
SETTINGS = Settings(
    providers={
        "echo": ProviderSettings(adapter="echo"),
        "vendor": ProviderSettings(adapter="openai"),
        "lost": ProviderSettings(adapter="no-such-adapter"),
    },
    models={"priced": ModelSettings(targets=(), price=PriceSettings(input_nusd=7, output_nusd=8))},
)
MADE = StoredPrice(id=UUID(int=1), provider="vendor", model="gpt-4o", input="5", created_at=NOW, updated_at=NOW)


def rate(public, *, provider, upstream, overlay=()):
    registry = Registry()
    book = PriceBook(registry.catalog, clock=ManualClock())
    billing = Billing(registry, book=book, overlay=lambda: PriceOverlay(overlay), settings=lambda: SETTINGS)
    price = billing.price_now(public, provider=provider, upstream=upstream)
    return None if price is None else price.rates.input_nusd


def test_the_files_price_wins():
    assert rate("priced", provider="vendor", upstream="gpt-4o", overlay=(MADE,)) == 7


def test_a_price_made_here_goes_before_the_catalogues():
    catalogued = rate("any", provider="vendor", upstream="gpt-4o")
    assert rate("any", provider="vendor", upstream="gpt-4o", overlay=(MADE,)) == 5_000_000_000
    assert catalogued not in {None, 5_000_000_000}


def test_the_echo_is_free():
    assert rate("echo", provider="echo", upstream="echo") == 0


@pytest.mark.parametrize(
    ("provider", "upstream"), [("vendor", "no-such-model"), ("lost", "gpt-4o"), ("nobody", "gpt-4o")]
)
def test_what_nobody_knows_has_no_price(provider, upstream):
    assert rate("any", provider=provider, upstream=upstream) is None
