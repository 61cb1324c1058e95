"""The arithmetic of money. Law: pure; a call has one cost, however its answer was delivered."""

from app.domain.prices.price import Price, PriceRates
from app.kernel.money import round_up
from providers.types import Usage


def cost(price: Price, usage: Usage) -> int:
    """Return what one attempt costs, in nano-USD, rounded up once.

    The tier is chosen by all input tokens, cached ones included. Usage does not tell media tokens from text, so the
    rates of text apply to them.
    """
    rates = price.rates_for(usage.prompt_tokens) if price.tiers else price.rates
    reasoning_tokens = min(usage.reasoning_tokens, usage.output_tokens)
    exact = (
        usage.input_tokens * rates.input_nusd
        + usage.cache_read_tokens * rates.cache_read_nusd
        + usage.cache_write_tokens * rates.cache_write_nusd
        + (usage.output_tokens - reasoning_tokens) * rates.output_nusd
        + reasoning_tokens * rates.reasoning_nusd
    )
    return round_up(exact)


def bound(price: Price, *, input_tokens: int, output_tokens: int, has_media: bool = False) -> int:
    """Return the most that an attempt can cost with at most so many tokens, in nano-USD.

    Every input token may turn out to be the dearest kind (a cache write can cost more than plain input), and any tier
    within reach may apply. `has_media` is whether audio or images go in or may come out.
    """
    reachable = [price.rates, *(tier.rates for tier in price.tiers if tier.above_tokens < input_tokens)]
    return max(
        round_up(input_tokens * _dearest_input(rates, has_media) + output_tokens * _dearest_output(rates, has_media))
        for rates in reachable
    )


def _dearest_input(rates: PriceRates, has_media: bool) -> int:  # noqa: FBT001 - private, and named at both calls
    text = max(rates.input_nusd, rates.cache_read_nusd, rates.cache_write_nusd)
    return max(text, rates.audio_input_nusd, rates.image_input_nusd) if has_media else text


def _dearest_output(rates: PriceRates, has_media: bool) -> int:  # noqa: FBT001 - the same
    text = max(rates.output_nusd, rates.reasoning_nusd)
    return max(text, rates.audio_output_nusd, rates.image_output_nusd) if has_media else text
