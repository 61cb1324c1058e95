"""The arithmetic of one attempt's cost, line by line. Law: the lines add up to what `rules.cost` reckons."""

import msgspec

from app.domain.prices.price import Price, PriceRates
from app.domain.prices.rules import cost
from app.kernel.money import format_usd
from providers.types import Usage


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """Some tokens at one rate: `rate` is USD per million tokens; of pictures, per picture."""

    what: str
    quantity: int
    rate: str
    per: str


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt costs at a price; the sum is rounded up once, to a nano-USD."""

    version: str
    lines: list[BillLine]
    total_nusd: int

    @property
    def total(self) -> str:
        """The sum in USD."""
        return format_usd(self.total_nusd)


def bill(price: Price, usage: Usage) -> Bill:
    """Return the lines of an attempt's cost, without those of nothing."""
    rates = price.rates_for(usage.prompt_tokens)
    lines = [
        BillLine(what=what, quantity=quantity, rate=format_usd(rate_nusd), per="million tokens")
        for what, quantity, rate_nusd in _tokens(rates, usage, has_pictures=_is_by_picture(price, usage))
        if quantity
    ]
    if price.image_nusd is not None and usage.images:
        rate = format_usd(price.image_nusd)
        lines.append(BillLine(what="pictures", quantity=usage.images, rate=rate, per="picture"))
    return Bill(version=price.version, lines=lines, total_nusd=cost(price, usage))


def _is_by_picture(price: Price, usage: Usage) -> bool:
    return price.image_nusd is not None and bool(usage.images)


def _tokens(rates: PriceRates, usage: Usage, *, has_pictures: bool) -> list[tuple[str, int, int]]:
    audio_in = min(usage.audio_input_tokens, usage.input_tokens)
    image_in = min(usage.image_input_tokens, usage.input_tokens - audio_in)
    hour = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
    reasoning = min(usage.reasoning_tokens, usage.output_tokens)
    audio_out = min(usage.audio_output_tokens, usage.output_tokens - reasoning)
    image_out = min(usage.image_output_tokens, usage.output_tokens - reasoning - audio_out)
    return [
        ("input", usage.input_tokens - audio_in - image_in, rates.input_nusd),
        ("input, sound", audio_in, rates.audio_input_nusd),
        ("input, pictures", image_in, rates.image_input_nusd),
        ("read from the provider's cache", usage.cache_read_tokens, rates.cache_read_nusd),
        ("written to the provider's cache", usage.cache_write_tokens - hour, rates.cache_write_nusd),
        ("written to the provider's cache for an hour", hour, rates.cache_write_1h_nusd),
        ("output", usage.output_tokens - reasoning - audio_out - image_out, rates.output_nusd),
        ("reasoning", reasoning, rates.reasoning_nusd),
        ("output, sound", audio_out, rates.audio_output_nusd),
        ("output, pictures", image_out, 0 if has_pictures else rates.image_output_nusd),
    ]
