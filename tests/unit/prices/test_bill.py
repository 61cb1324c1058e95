"""A bill's lines are the whole of what is charged."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from app.domain.prices import Price, PriceRates, PriceTier, cost
from app.domain.prices.bill import bill
from app.kernel.money import NUSD_PER_USD, TOKENS_PER_PRICE, parse_usd
from providers.types import Usage

RATES = PriceRates.__struct_fields__[:10]
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
          "audio_input_tokens", "image_input_tokens", "audio_output_tokens", "image_output_tokens",
          "cache_write_1h_tokens", "images")  # fmt: skip


def rates():
    return st.builds(PriceRates, **{name: st.integers(0, 100 * NUSD_PER_USD) for name in RATES})


def prices():
    tiers = st.lists(st.builds(PriceTier, above_tokens=st.just(5_000), rates=rates()), max_size=1).map(tuple)
    image = st.none() | st.integers(0, NUSD_PER_USD)
    return st.builds(Price, version=st.just("config:1"), rates=rates(), tiers=tiers, image_nusd=image)


@given(prices(), st.builds(Usage, **{name: st.integers(0, 10_000) for name in COUNTS}))
def test_the_lines_add_up_to_the_cost(price, usage):
    made = bill(price, usage)
    exact = sum(
        Fraction(line.quantity * parse_usd(line.rate), 1 if line.per == "picture" else TOKENS_PER_PRICE)
        for line in made.lines
    )
    assert made.total_nusd == cost(price, usage) == -(-exact.numerator // exact.denominator)


def test_a_bill_leaves_out_what_was_not_used():
    price = Price(version="v", rates=PriceRates(**dict.fromkeys(RATES, 2_000_000_000)))
    made = bill(price, Usage(input_tokens=3))
    assert [(line.what, line.quantity, line.rate) for line in made.lines] == [("input", 3, "2.000000000")]
    assert (made.total_nusd, made.total, made.version) == (6_000, "0.000006000", "v")
