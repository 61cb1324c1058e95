"""The arithmetic of cost and bound: laws, by property."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prices import Price, PriceRates, PriceTier, bound, cost
from providers.types import Usage

RATE_NUSD = st.integers(min_value=0, max_value=200 * 10**9)
TOKENS = st.integers(min_value=0, max_value=2_000_000)


NAMES = [field.name for field in msgspec.structs.fields(PriceRates)]
RATES = st.builds(PriceRates, **dict.fromkeys(NAMES, RATE_NUSD))
UNTIERED = st.builds(Price, version=st.just("test"), rates=RATES)


@st.composite
def tiered(draw: st.DrawFn) -> Price:
    starts = sorted(draw(st.sets(TOKENS, max_size=3)))
    tiers = tuple(PriceTier(above_tokens=start, rates=draw(RATES)) for start in starts)
    return Price(version="test", rates=draw(RATES), tiers=tiers)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    output_tokens = draw(TOKENS)
    return Usage(
        input_tokens=draw(TOKENS),
        output_tokens=output_tokens,
        cache_read_tokens=draw(TOKENS),
        cache_write_tokens=draw(TOKENS),
        reasoning_tokens=draw(st.integers(min_value=0, max_value=output_tokens)),
    )


def together(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        cache_write_tokens=one.cache_write_tokens + other.cache_write_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
    )


def flat(**nusd: int) -> PriceRates:
    named = {f"{name}_nusd": value for name, value in nusd.items()}
    return PriceRates(**{**dict.fromkeys(NAMES, 0), **named})


@given(price=UNTIERED, one=usages(), other=usages())
def test_splitting_usage_costs_at_most_one_nano_usd(price: Price, one: Usage, other: Usage):
    apart = cost(price, one) + cost(price, other)
    assert cost(price, together(one, other)) <= apart <= cost(price, together(one, other)) + 1


@given(price=UNTIERED, usage=usages(), more=usages())
def test_more_tokens_never_cost_less(price: Price, usage: Usage, more: Usage):
    assert cost(price, usage) <= cost(price, together(usage, more))


@given(price=tiered(), usage=usages())
def test_cost_is_the_exact_amount_rounded_up(price: Price, usage: Usage):
    chosen = price.rates_for(usage.prompt_tokens)
    exact_millionths = (
        usage.input_tokens * chosen.input_nusd
        + usage.cache_read_tokens * chosen.cache_read_nusd
        + usage.cache_write_tokens * chosen.cache_write_nusd
        + (usage.output_tokens - usage.reasoning_tokens) * chosen.output_nusd
        + usage.reasoning_tokens * chosen.reasoning_nusd
    )
    assert 0 <= cost(price, usage) * 1_000_000 - exact_millionths < 1_000_000


@given(price=tiered(), usage=usages(), spare_in=TOKENS, spare_out=TOKENS, has_media=st.booleans())
def test_nothing_within_the_tokens_costs_more_than_the_bound(
    price: Price, usage: Usage, spare_in: int, spare_out: int, has_media: bool
):
    most = bound(
        price,
        input_tokens=usage.prompt_tokens + spare_in,
        output_tokens=usage.output_tokens + spare_out,
        has_media=has_media,
    )
    assert cost(price, usage) <= most


@given(price=tiered(), input_tokens=TOKENS, output_tokens=TOKENS)
def test_media_never_lower_the_bound(price: Price, input_tokens: int, output_tokens: int):
    text = bound(price, input_tokens=input_tokens, output_tokens=output_tokens)
    assert text <= bound(price, input_tokens=input_tokens, output_tokens=output_tokens, has_media=True)


def test_a_fraction_is_rounded_up_once():
    price = Price(version="test", rates=flat(input=1, output=1))
    assert cost(price, Usage(input_tokens=1, output_tokens=1)) == 1
    assert cost(price, Usage(input_tokens=500_000, output_tokens=500_000)) == 1
    assert cost(price, Usage(input_tokens=500_000, output_tokens=500_001)) == 2


def test_nothing_costs_nothing():
    assert cost(Price(version="test", rates=flat(input=5, output=5)), Usage()) == 0


def test_a_tier_begins_beyond_its_threshold_and_holds_for_all_tokens():
    price = Price(
        version="test",
        rates=flat(input=1_000_000, output=1_000_000),
        tiers=(
            PriceTier(above_tokens=100, rates=flat(input=2_000_000, output=3_000_000)),
            PriceTier(above_tokens=200, rates=flat(input=4_000_000, output=5_000_000)),
        ),
    )
    assert cost(price, Usage(input_tokens=100, output_tokens=10)) == 110
    assert cost(price, Usage(input_tokens=101, output_tokens=10)) == 202 + 30
    assert cost(price, Usage(input_tokens=201, output_tokens=10)) == 804 + 50
    assert cost(price, Usage(output_tokens=1_000)) == 1_000


def test_cached_tokens_count_towards_the_threshold():
    tier = PriceTier(above_tokens=100, rates=flat(input=2_000_000, cache_read=1_000_000, cache_write=3_000_000))
    price = Price(version="test", rates=flat(input=1_000_000), tiers=(tier,))
    assert cost(price, Usage(input_tokens=1, cache_read_tokens=50, cache_write_tokens=50)) == 2 + 50 + 150


def test_reasoning_beyond_the_output_is_not_charged_twice():
    price = Price(version="test", rates=flat(output=2_000_000, reasoning=1_000_000))
    assert cost(price, Usage(output_tokens=10, reasoning_tokens=4)) == 12 + 4
    assert cost(price, Usage(output_tokens=10, reasoning_tokens=99)) == 10


def test_the_bound_takes_the_dearest_input_and_output():
    price = Price(
        version="test",
        rates=flat(
            input=4_000_000, cache_write=5_000_000, output=1_000_000, audio_input=9_000_000, image_output=7_000_000
        ),
    )
    assert bound(price, input_tokens=10, output_tokens=10) == 50 + 10
    assert bound(price, input_tokens=10, output_tokens=10, has_media=True) == 90 + 70


def test_the_bound_ignores_tiers_out_of_reach():
    tier = PriceTier(above_tokens=100, rates=flat(input=2_000_000))
    price = Price(version="test", rates=flat(input=1_000_000), tiers=(tier,))
    assert bound(price, input_tokens=100, output_tokens=0) == 100
    assert bound(price, input_tokens=101, output_tokens=0) == 202
