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
IMAGE_NUSD = st.none() | st.integers(min_value=0, max_value=10**9)
COUNTS = [field.name for field in msgspec.structs.fields(Usage) if field.type is int]


@st.composite
def tiered(draw: st.DrawFn) -> Price:
    starts = sorted(draw(st.sets(TOKENS, max_size=3)))
    tiers = tuple(PriceTier(above_tokens=start, rates=draw(RATES)) for start in starts)
    return Price(version="test", rates=draw(RATES), tiers=tiers, image_nusd=draw(IMAGE_NUSD))


@st.composite
def usages(draw: st.DrawFn, *, has_media: bool = True) -> Usage:
    """Draw a usage whose parts are no more than their wholes."""
    input_tokens, output_tokens, cache_write_tokens = draw(TOKENS), draw(TOKENS), draw(TOKENS)
    audio_input, image_input = draw(shares(input_tokens, 2)) if has_media else (0, 0)
    reasoning, audio_output, image_output = draw(shares(output_tokens, 3))
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=draw(TOKENS),
        cache_write_tokens=cache_write_tokens,
        cache_write_1h_tokens=draw(st.integers(0, cache_write_tokens)),
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_input,
        image_input_tokens=image_input,
        audio_output_tokens=audio_output if has_media else 0,
        image_output_tokens=image_output if has_media else 0,
        images=draw(st.integers(0, 20)) if has_media else 0,
    )


@st.composite
def shares(draw: st.DrawFn, whole: int, parts: int) -> list[int]:
    """Draw so many counts that together are no more than `whole`."""
    found: list[int] = []
    for _ in range(parts):
        found.append(draw(st.integers(0, whole - sum(found))))
    return found


@st.composite
def odd_usages(draw: st.DrawFn) -> Usage:
    """Draw a usage of which nothing is known but that it is plausible, as an adapter may report it."""
    return Usage(**{name: draw(st.integers(0, 20) if name == "images" else TOKENS) for name in COUNTS})


def together(one: Usage, other: Usage) -> Usage:
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in COUNTS})


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
    is_per_picture = price.image_nusd is not None and usage.images > 0
    kinds = {
        "audio_input": usage.audio_input_tokens,
        "image_input": usage.image_input_tokens,
        "input": usage.input_tokens - usage.audio_input_tokens - usage.image_input_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write": usage.cache_write_tokens - usage.cache_write_1h_tokens,
        "cache_write_1h": usage.cache_write_1h_tokens,
        "reasoning": usage.reasoning_tokens,
        "audio_output": usage.audio_output_tokens,
        "image_output": 0 if is_per_picture else usage.image_output_tokens,
        "output": usage.output_tokens - usage.reasoning_tokens - usage.audio_output_tokens - usage.image_output_tokens,
    }
    rates = {name for name in NAMES if not name.startswith("most_")}
    assert {f"{name}_nusd" for name in kinds} == rates, "every rate has its tokens"
    exact_millionths = sum(tokens * getattr(chosen, f"{name}_nusd") for name, tokens in kinds.items())
    exact_millionths += usage.images * (price.image_nusd or 0) * 1_000_000
    assert 0 <= cost(price, usage) * 1_000_000 - exact_millionths < 1_000_000


@given(price=tiered(), usage=usages() | odd_usages(), spare_in=TOKENS, spare_out=TOKENS, spare=st.integers(0, 3))
def test_nothing_within_the_counts_costs_more_than_the_bound(
    price: Price, usage: Usage, spare_in: int, spare_out: int, spare: int
):
    most = bound(
        price,
        input_tokens=usage.prompt_tokens + spare_in,
        output_tokens=usage.output_tokens + spare_out,
        has_media=True,
        images=usage.images + spare,
    )
    assert cost(price, usage) <= most


@given(price=tiered(), usage=usages(has_media=False), spare_in=TOKENS, spare_out=TOKENS)
def test_no_text_within_the_tokens_costs_more_than_the_bound_of_text(
    price: Price, usage: Usage, spare_in: int, spare_out: int
):
    most = bound(price, input_tokens=usage.prompt_tokens + spare_in, output_tokens=usage.output_tokens + spare_out)
    assert cost(price, usage) <= most


@given(price=tiered(), usage=odd_usages())
def test_no_token_is_charged_twice_however_odd_the_parts(price: Price, usage: Usage):
    cut = msgspec.structs.replace(
        usage,
        audio_input_tokens=(audio := min(usage.audio_input_tokens, usage.input_tokens)),
        image_input_tokens=min(usage.image_input_tokens, usage.input_tokens - audio),
        cache_write_1h_tokens=min(usage.cache_write_1h_tokens, usage.cache_write_tokens),
        reasoning_tokens=(thought := min(usage.reasoning_tokens, usage.output_tokens)),
        audio_output_tokens=(spoken := min(usage.audio_output_tokens, usage.output_tokens - thought)),
        image_output_tokens=min(usage.image_output_tokens, usage.output_tokens - thought - spoken),
    )
    assert cost(price, usage) == cost(price, cut)


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


def test_pictures_are_charged_one_by_one_where_the_price_says_so_and_not_by_their_tokens():
    rates = flat(input=1_000_000, output=2_000_000, image_output=9_000_000)
    by_token = Price(version="test", rates=rates)
    by_picture = Price(version="test", rates=rates, image_nusd=40_000_000)
    usage = Usage(input_tokens=10, output_tokens=1_010, image_output_tokens=1_000, images=2)
    assert cost(by_token, usage) == 10 + 20 + 9_000
    assert cost(by_picture, usage) == 10 + 20 + 80_000_000
    unnumbered = msgspec.structs.replace(usage, images=0)
    assert cost(by_picture, unnumbered) == cost(by_token, usage), "tokens are charged where no picture was counted"
    assert cost(by_picture, Usage(images=3)) == 120_000_000
    assert cost(by_token, Usage(images=3)) == 0
    assert (
        cost(msgspec.structs.replace(by_picture, image_nusd=0), Usage(output_tokens=5, image_output_tokens=5, images=1))
        == 0
    )


def test_a_write_that_lives_an_hour_has_its_rate():
    price = Price(version="test", rates=flat(cache_write=1_000_000, cache_write_1h=3_000_000))
    assert cost(price, Usage(cache_write_tokens=10, cache_write_1h_tokens=4)) == 6 + 12
    assert bound(price, input_tokens=10, output_tokens=0) == 30


def test_the_bound_has_room_for_the_pictures():
    price = Price(version="test", rates=flat(output=1_000_000), image_nusd=7)
    assert bound(price, input_tokens=0, output_tokens=5) == 5
    assert bound(price, input_tokens=0, output_tokens=5, images=3) == 26
    assert bound(msgspec.structs.replace(price, image_nusd=None), input_tokens=0, output_tokens=5, images=3) == 5


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
