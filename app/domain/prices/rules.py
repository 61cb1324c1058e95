"""The arithmetic of money. Law: pure; a call has one cost, however its answer was delivered."""

from typing import Literal, NamedTuple

from app.domain.prices.price import Price, PriceRates
from app.kernel.money import TOKENS_PER_PRICE, round_up
from providers.types import Usage

ChargeKind = Literal[
    "input",
    "audio_input",
    "image_input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_output",
    "image_output",
    "image",
]


def cost(price: Price, usage: Usage) -> int:
    """Return what one attempt costs, in nano-USD, rounded up once.

    The tier is chosen by all input tokens, cached ones included. Every token is charged once, at the rate of its kind:
    parts that together are more than the count they are of are cut to it. Where the price has an amount for each
    picture, the pictures made are charged by it, and the output tokens that they took are not charged.
    """
    rates = price.rates_for(usage.prompt_tokens) if price.tiers else price.rates
    exact = _input(rates, usage) + _cached(rates, usage)
    if price.image_nusd is None or not usage.images:
        return round_up(exact + _output(rates, usage, image_nusd=rates.image_output_nusd))
    pictures = usage.images * price.image_nusd * TOKENS_PER_PRICE
    return round_up(exact + _output(rates, usage, image_nusd=0) + pictures)


class ChargeLine(NamedTuple):
    """So many tokens of one kind, or pictures, and their rate: `exact` is their product in nano-USD times a million.

    The rate is in nano-USD per million tokens, or for each picture.
    """

    kind: ChargeKind
    number: int
    rate_nusd: int
    exact: int


def lines(price: Price, usage: Usage) -> list[ChargeLine]:
    """Return what `cost` adds up: the sum of the exact amounts, rounded up, is the cost. What is 0 is left out."""
    rates = price.rates_for(usage.prompt_tokens) if price.tiers else price.rates
    audio_in = min(usage.audio_input_tokens, usage.input_tokens)
    image_in = min(usage.image_input_tokens, usage.input_tokens - audio_in)
    hour = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
    reasoning = min(usage.reasoning_tokens, usage.output_tokens)
    audio_out = min(usage.audio_output_tokens, usage.output_tokens - reasoning)
    image_out = min(usage.image_output_tokens, usage.output_tokens - reasoning - audio_out)
    has_pictures = price.image_nusd is not None and usage.images > 0
    counted: list[tuple[ChargeKind, int, int]] = [
        ("input", usage.input_tokens - audio_in - image_in, rates.input_nusd),
        ("audio_input", audio_in, rates.audio_input_nusd),
        ("image_input", image_in, rates.image_input_nusd),
        ("cache_read", usage.cache_read_tokens, rates.cache_read_nusd),
        ("cache_write", usage.cache_write_tokens - hour, rates.cache_write_nusd),
        ("cache_write_1h", hour, rates.cache_write_1h_nusd),
        ("output", usage.output_tokens - reasoning - audio_out - image_out, rates.output_nusd),
        ("reasoning", reasoning, rates.reasoning_nusd),
        ("audio_output", audio_out, rates.audio_output_nusd),
        ("image_output", image_out, 0 if has_pictures else rates.image_output_nusd),
    ]
    found = [ChargeLine(kind, count, rate, count * rate) for kind, count, rate in counted if count]
    if price.image_nusd is not None and has_pictures:
        exact = usage.images * price.image_nusd * TOKENS_PER_PRICE
        found.append(ChargeLine("image", usage.images, price.image_nusd, exact))
    return found


def bound(price: Price, *, input_tokens: int, output_tokens: int, has_media: bool = False, images: int = 0) -> int:
    """Return the most that an attempt can cost with at most so many tokens and pictures, in nano-USD.

    Every input token may turn out to be the dearest kind (a cache write can cost more than plain input), and any tier
    within reach may apply. `has_media` is whether sound or pictures go in or may come out; `images` is how many
    pictures may be made.
    """
    reachable = [price.rates, *(tier.rates for tier in price.tiers if tier.above_tokens < input_tokens)]
    pictures = images * (price.image_nusd or 0) * TOKENS_PER_PRICE
    most = max(
        input_tokens * _dearest_input(rates, has_media) + output_tokens * _dearest_output(rates, has_media)
        for rates in reachable
    )
    return round_up(most + pictures)


def bound_parts(price: Price, *, input_tokens: int, has_media: bool = False, images: int = 0) -> tuple[int, int]:
    """Return the most that the input and the pictures can cost, in nano-USD, and the dearest rate of output tokens.

    With the rate, in nano-USD per million tokens, the bound of any output can be told without the price.
    """
    if not price.tiers:
        rates = price.rates
        exact = input_tokens * _dearest_input(rates, has_media) + images * (price.image_nusd or 0) * TOKENS_PER_PRICE
        return round_up(exact), _dearest_output(rates, has_media)
    reachable = [price.rates, *(tier.rates for tier in price.tiers if tier.above_tokens < input_tokens)]
    pictures = images * (price.image_nusd or 0) * TOKENS_PER_PRICE
    most = max(input_tokens * _dearest_input(rates, has_media) for rates in reachable)
    return round_up(most + pictures), max(_dearest_output(rates, has_media) for rates in reachable)


def _input(rates: PriceRates, usage: Usage) -> int:
    audio = min(usage.audio_input_tokens, usage.input_tokens)
    image = min(usage.image_input_tokens, usage.input_tokens - audio)
    plain = usage.input_tokens - audio - image
    return plain * rates.input_nusd + audio * rates.audio_input_nusd + image * rates.image_input_nusd


def _cached(rates: PriceRates, usage: Usage) -> int:
    hour = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
    written = (usage.cache_write_tokens - hour) * rates.cache_write_nusd + hour * rates.cache_write_1h_nusd
    return usage.cache_read_tokens * rates.cache_read_nusd + written


def _output(rates: PriceRates, usage: Usage, *, image_nusd: int) -> int:
    left = usage.output_tokens
    reasoning = min(usage.reasoning_tokens, left)
    audio = min(usage.audio_output_tokens, left - reasoning)
    image = min(usage.image_output_tokens, left - reasoning - audio)
    plain = left - reasoning - audio - image
    media = audio * rates.audio_output_nusd + image * image_nusd
    return plain * rates.output_nusd + reasoning * rates.reasoning_nusd + media


def _dearest_input(rates: PriceRates, has_media: bool) -> int:  # noqa: FBT001 - private, and named at both calls
    return rates.most_input_media_nusd if has_media else rates.most_input_nusd


def _dearest_output(rates: PriceRates, has_media: bool) -> int:  # noqa: FBT001 - the same
    return rates.most_output_media_nusd if has_media else rates.most_output_nusd
