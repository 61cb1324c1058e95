"""What calls cost. Law: exact integers of nano-USD, rounded up once for each attempt, and a version for every price."""

from app.domain.prices.book import PriceBook
from app.domain.prices.overlay import PriceDirectory, PriceOverlay
from app.domain.prices.price import Price, PriceRates, PriceTier, price_from_list, price_from_settings
from app.domain.prices.rules import ChargeKind, bound, bound_parts, cost, lines

__all__ = [
    "ChargeKind",
    "Price",
    "PriceBook",
    "PriceDirectory",
    "PriceOverlay",
    "PriceRates",
    "PriceTier",
    "bound",
    "bound_parts",
    "cost",
    "lines",
    "price_from_list",
    "price_from_settings",
]
