"""The price of one model. Law: complete; whatever was left out where it was written has been filled in here."""

import hashlib

import msgspec

from app.settings.upstream import PriceSettings
from providers.price_snapshot import PriceList, Rates

_VERSION_DIGITS = 12


class PriceRates(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What tokens cost, in nano-USD per million.

    Reasoning, sound and pictures are parts of the input or output tokens, and may have rates of their own; so may a
    cache write that lives an hour. The dearest of them (`most_…`) follow from the others.
    """

    input_nusd: int
    output_nusd: int
    cache_read_nusd: int
    cache_write_nusd: int
    cache_write_1h_nusd: int
    reasoning_nusd: int
    audio_input_nusd: int
    audio_output_nusd: int
    image_input_nusd: int
    image_output_nusd: int
    most_input_nusd: int = 0
    most_output_nusd: int = 0
    most_input_media_nusd: int = 0
    most_output_media_nusd: int = 0

    def __post_init__(self) -> None:
        """Work the dearest rates out, once: of text, and of anything."""
        text_in = max(self.input_nusd, self.cache_read_nusd, self.cache_write_nusd, self.cache_write_1h_nusd)
        text_out = max(self.output_nusd, self.reasoning_nusd)
        dearest = {
            "most_input_nusd": text_in,
            "most_output_nusd": text_out,
            "most_input_media_nusd": max(text_in, self.audio_input_nusd, self.image_input_nusd),
            "most_output_media_nusd": max(text_out, self.audio_output_nusd, self.image_output_nusd),
        }
        for name, rate in dearest.items():
            msgspec.structs.force_setattr(self, name, rate)


class PriceTier(msgspec.Struct, frozen=True, kw_only=True):
    """The rates of a request whose input, cached or not, is longer than `above_tokens`; they hold for all of it."""

    above_tokens: int
    rates: PriceRates


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A price and its version: `genai-prices-…+DATE` from the catalogue, `config:…` from the settings.

    `tiers` have ascending thresholds. `image_nusd` is what each picture made costs, in nano-USD, where pictures are
    billed one by one; it is the same in every tier.
    """

    version: str
    rates: PriceRates
    tiers: tuple[PriceTier, ...] = ()
    image_nusd: int | None = None

    def rates_for(self, input_tokens: int) -> PriceRates:
        """Return the rates of a request with that many input tokens, cached or not."""
        rates = self.rates
        for tier in self.tiers:
            if input_tokens <= tier.above_tokens:
                break
            rates = tier.rates
        return rates


def price_from_list(prices: PriceList, *, version: str) -> Price:
    """Return the price that a list of the catalogue states."""
    tiers = tuple(PriceTier(above_tokens=tier.above_tokens, rates=_complete(tier.rates)) for tier in prices.tiers)
    return Price(version=version, rates=_complete(prices.rates), tiers=tiers)


def price_from_settings(settings: PriceSettings) -> Price:
    """Return the price that an operator has written; it replaces the catalogue's as a whole.

    An absent input or output price is zero. The version is a digest of what was written.
    """
    digest = hashlib.sha256(msgspec.json.encode(settings)).hexdigest()
    rates = Rates(
        input_nusd=settings.input_nusd or 0,
        output_nusd=settings.output_nusd or 0,
        cache_read_nusd=settings.cache_read_nusd,
        cache_write_nusd=settings.cache_write_nusd,
        audio_input_nusd=settings.audio_input_nusd,
        audio_output_nusd=settings.audio_output_nusd,
    )
    version = f"config:{digest[:_VERSION_DIGITS]}"
    return Price(version=version, rates=_complete(rates), image_nusd=settings.image_nusd)


def _complete(rates: Rates) -> PriceRates:
    """Return the rates with those that are absent equal to the rate of their direction, or of the plain cache write."""
    cache_write_nusd = _or(rates.cache_write_nusd, rates.input_nusd)
    return PriceRates(
        input_nusd=rates.input_nusd,
        output_nusd=rates.output_nusd,
        cache_read_nusd=_or(rates.cache_read_nusd, rates.input_nusd),
        cache_write_nusd=cache_write_nusd,
        cache_write_1h_nusd=_or(rates.cache_write_1h_nusd, cache_write_nusd),
        reasoning_nusd=_or(rates.reasoning_nusd, rates.output_nusd),
        audio_input_nusd=_or(rates.audio_input_nusd, rates.input_nusd),
        audio_output_nusd=_or(rates.audio_output_nusd, rates.output_nusd),
        image_input_nusd=_or(rates.image_input_nusd, rates.input_nusd),
        image_output_nusd=_or(rates.image_output_nusd, rates.output_nusd),
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
