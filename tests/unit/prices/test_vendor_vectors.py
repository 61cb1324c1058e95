"""Costs worked out by hand from the vendors' own price pages, against the shipped snapshot.

The amounts are nano-USD. When a refresh of the snapshot breaks a vector, read the vendor's page before changing it.
"""

from datetime import UTC, datetime

import pytest

from app.domain.prices import PriceBook, cost
from app.kernel.clock import ManualClock
from providers.catalog import load_catalog
from providers.types import Usage

OPENAI = "https://developers.openai.com/api/docs/pricing"
ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/pricing"
GEMINI = "https://ai.google.dev/gemini-api/docs/pricing"
DEEPSEEK = "https://api-docs.deepseek.com/quick_start/pricing"
GROQ = "https://groq.com/pricing"
XAI = "https://docs.x.ai/docs/models"

CATALOG = load_catalog()
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def book_at(moment: datetime) -> PriceBook:
    return PriceBook(CATALOG, clock=ManualClock(wall_ns=int(moment.timestamp()) * 10**9))


VECTORS = [
    # $0.15 in, $0.60 out: 0.00015 + 0.0003
    (OPENAI, "openai", "gpt-4o-mini", Usage(input_tokens=1_000, output_tokens=500), 450_000),
    # the smallest thing that costs: one token at $0.15
    (OPENAI, "openai", "gpt-4o-mini", Usage(input_tokens=1), 150),
    # $2.50 in, $1.25 cached, $10 out: 0.0025 + 0.00125 + 0.001
    (
        OPENAI,
        "openai",
        "gpt-4o",
        Usage(input_tokens=1_000, cache_read_tokens=1_000, output_tokens=100),
        4_750_000,
    ),
    # $2, $0.50 cached, $8: 0.02 + 0.045 + 0.016
    (
        OPENAI,
        "openai",
        "gpt-4.1",
        Usage(input_tokens=10_000, cache_read_tokens=90_000, output_tokens=2_000),
        81_000_000,
    ),
    # reasoning is part of the output: $2 and $8: 0.0004 + 0.008
    (OPENAI, "openai", "o3", Usage(input_tokens=200, output_tokens=1_000, reasoning_tokens=900), 8_400_000),
    # up to 272k input $2.50 and $15: 0.68 + 0.015
    (OPENAI, "openai", "gpt-5.4", Usage(input_tokens=272_000, output_tokens=1_000), 695_000_000),
    # beyond it the whole request at $5 and $22.50: 1.360005 + 0.0225
    (OPENAI, "openai", "gpt-5.4", Usage(input_tokens=272_001, output_tokens=1_000), 1_382_505_000),
    # cached input counts towards the threshold, at $0.50: 1 + 0.05
    (OPENAI, "openai", "gpt-5.4", Usage(input_tokens=200_000, cache_read_tokens=100_000), 1_050_000_000),
    # $0.02: seven tokens
    (OPENAI, "openai", "text-embedding-3-small", Usage(input_tokens=7), 140),
    # $5 in, $6.25 written, $0.50 read, $25 out: 0.005 + 0.0125 + 0.005 + 0.0125
    (
        ANTHROPIC,
        "anthropic",
        "claude-opus-5",
        Usage(input_tokens=1_000, cache_write_tokens=2_000, cache_read_tokens=10_000, output_tokens=500),
        35_000_000,
    ),
    # $1 and $5: 0.0001 + 0.00025
    (ANTHROPIC, "anthropic", "claude-haiku-4-5", Usage(input_tokens=100, output_tokens=50), 350_000),
    # up to 100k input $0.10 and $0.50: 0.01 + 0.0005
    (ANTHROPIC, "anthropic", "claude-haiku-5-5", Usage(input_tokens=100_000, output_tokens=1_000), 10_500_000),
    # beyond it $0.50 and $2.50: 0.0500005 + 0.0025
    (ANTHROPIC, "anthropic", "claude-haiku-5-5", Usage(input_tokens=100_001, output_tokens=1_000), 52_500_500),
    # up to 200k input $1.25 and $10: 0.25 + 0.01
    (GEMINI, "gemini-openai", "gemini-2.5-pro", Usage(input_tokens=200_000, output_tokens=1_000), 260_000_000),
    # beyond it $2.50 and $15: 0.5000025 + 0.015
    (GEMINI, "gemini-openai", "gemini-2.5-pro", Usage(input_tokens=200_001, output_tokens=1_000), 515_002_500),
    # $0.30 and $2.50: 0.0003702 + 0.0014175
    (GEMINI, "gemini-openai", "gemini-2.5-flash", Usage(input_tokens=1_234, output_tokens=567), 1_787_700),
    # off-peak $0.66, $0.022 cached, $1.98: 0.00066 + 0.000022 + 0.00198
    (
        DEEPSEEK,
        "deepseek",
        "deepseek-v4-pro",
        Usage(input_tokens=1_000, cache_read_tokens=1_000, output_tokens=1_000),
        2_662_000,
    ),
    # $0.59 and $0.79
    (GROQ, "groq", "llama-3.3-70b-versatile", Usage(input_tokens=1_000, output_tokens=1_000), 1_380_000),
    # $3, $0.75 cached, $15: 0.0003 + 0.00075 + 0.0015
    (
        XAI,
        "xai",
        "grok-4-0709",
        Usage(input_tokens=100, cache_read_tokens=1_000, output_tokens=100),
        2_550_000,
    ),
    # sound at $32 in and $64 out, text at $2.50 and $10: 0.0032 + 0.00005 + 0.0192 + 0.0005
    (
        OPENAI,
        "openai",
        "gpt-audio",
        Usage(input_tokens=120, audio_input_tokens=100, output_tokens=350, audio_output_tokens=300),
        22_950_000,
    ),
    # heard at $6, read at $2.50, written at $10: 0.006 + 0.00005 + 0.0005
    (
        OPENAI,
        "openai",
        "gpt-4o-transcribe",
        Usage(input_tokens=1_020, audio_input_tokens=1_000, output_tokens=50),
        6_550_000,
    ),
    # text $5, pictures in $8, $1.25 cached; out $10 for text and $32 for pictures:
    # 0.0005 + 0.0008 + 0.000125 + 0.0001 + 0.032
    (
        OPENAI,
        "openai",
        "gpt-image-1.5",
        Usage(
            input_tokens=200,
            image_input_tokens=100,
            cache_read_tokens=100,
            output_tokens=1_010,
            image_output_tokens=1_000,
            images=1,
        ),
        33_525_000,
    ),
    # all that it makes is pictures, at $40; text $5, pictures in $10: 0.00005 + 0.0004 + 0.04224
    (
        OPENAI,
        "openai",
        "gpt-image-1",
        Usage(input_tokens=50, image_input_tokens=40, output_tokens=1_056, image_output_tokens=1_056, images=1),
        42_690_000,
    ),
    # sound $1, all else $0.30; $2.50: 0.0001 + 0.00003 + 0.00025
    (
        GEMINI,
        "gemini",
        "gemini-2.5-flash",
        Usage(input_tokens=200, audio_input_tokens=100, output_tokens=100, reasoning_tokens=60),
        380_000,
    ),
    # a picture of 1290 tokens at $30 is $0.0387; text and pictures in $0.30, text and thoughts out $2.50:
    # 0.0000858 + 0.0387 + 0.00005
    (
        GEMINI,
        "gemini",
        "gemini-2.5-flash-image",
        Usage(input_tokens=286, image_input_tokens=258, output_tokens=1_310, image_output_tokens=1_290),
        38_835_800,
    ),
    # $1 in, $1.25 written for five minutes, $2 for an hour, $0.10 read, $5 out:
    # 0.0001 + 0.0005 + 0.0012 + 0.0001 + 0.00025
    (
        ANTHROPIC,
        "anthropic",
        "claude-haiku-4-5",
        Usage(
            input_tokens=100,
            cache_write_tokens=1_000,
            cache_write_1h_tokens=600,
            cache_read_tokens=1_000,
            output_tokens=50,
        ),
        2_150_000,
    ),
    # Azure charges what OpenAI does
    (OPENAI, "azure", "gpt-4o-mini", Usage(input_tokens=1_000, output_tokens=500), 450_000),
]


@pytest.mark.parametrize(("source", "vendor", "model", "usage", "expected"), VECTORS)
def test_costs_follow_the_vendors_price_page(source: str, vendor: str, model: str, usage: Usage, expected: int):
    price = book_at(NOON).find(vendor, model)
    assert price is not None, source
    assert cost(price, usage) == expected, source


@pytest.mark.parametrize(
    ("hour", "minute", "factor"),
    [(0, 59, 1), (1, 0, 2), (3, 59, 2), (4, 0, 1), (5, 59, 1), (6, 0, 2), (9, 59, 2), (10, 0, 1), (23, 59, 1)],
)
def test_peak_hours_cost_twice(hour: int, minute: int, factor: int):
    """Peak is 01:00 to 04:00 and 06:00 to 10:00 UTC on weekdays. Source: the page of `DEEPSEEK`, read 2026-11."""
    price = book_at(NOON.replace(hour=hour, minute=minute)).find("deepseek", "deepseek-v4-pro")
    assert price is not None
    usage = Usage(input_tokens=1_000, cache_read_tokens=1_000, output_tokens=1_000)
    assert cost(price, usage) == 2_662_000 * factor


def test_the_priority_tier_has_its_own_price():
    """$0.25, $0.125 cached and $1. Source: the page of `OPENAI`, priority table, read 2026-11."""
    book = book_at(NOON)
    usage = Usage(input_tokens=1_000, cache_read_tokens=1_000, output_tokens=1_000)
    priority = book.find("openai", "gpt-4o-mini", service_tier="priority")
    standard = book.find("openai", "gpt-4o-mini", service_tier="default")
    assert priority is not None
    assert standard is not None
    assert cost(priority, usage) == 250_000 + 125_000 + 1_000_000
    assert cost(standard, usage) == 150_000 + 75_000 + 600_000
    assert priority.version == f"{standard.version}#priority"


def test_a_fast_answer_has_its_own_price():
    """$10 and $50, where others are $5 and $25. Source: the page of `ANTHROPIC`, fast mode, read 2026-11."""
    book = book_at(NOON)
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    fast = book.find_tier("anthropic", "claude-opus-5", service_tier="fast")
    standard = book.find("anthropic", "claude-opus-5")
    assert fast is not None
    assert standard is not None
    assert (cost(fast, usage), cost(standard, usage)) == (60_000_000, 30_000_000)
    assert fast.version == f"{standard.version}#fast"


@pytest.mark.parametrize(
    ("vendor", "model", "names"),
    [
        ("openai", "gpt-audio", {"audio_input_nusd", "audio_output_nusd"}),
        ("openai", "gpt-image-1.5", {"image_input_nusd", "image_output_nusd"}),
        ("gemini", "gemini-2.5-flash", {"audio_input_nusd"}),
        ("gemini", "gemini-2.5-flash-image", {"image_output_nusd"}),
        ("anthropic", "claude-haiku-4-5", {"cache_write_1h_nusd"}),
        ("bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", {"cache_write_1h_nusd"}),
    ],
)
def test_the_snapshot_carries_what_the_source_says_of_media_and_long_caches(vendor: str, model: str, names: set[str]):
    found = CATALOG.find(vendor, model)
    assert found is not None
    assert found.prices is not None
    rates = found.prices.standard.rates
    assert all(getattr(rates, name) is not None for name in names)
