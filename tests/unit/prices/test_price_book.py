"""Finding prices: who wins, what is remembered, and when a price changes."""

from datetime import UTC, date, datetime

import msgspec
import pytest

from app.domain.prices import PriceBook, bound, cost, price_from_settings
from app.kernel.clock import ManualClock
from app.settings.upstream import PriceSettings
from providers.catalog import Catalog, Vendor, load_catalog
from providers.price_snapshot import CatalogModel, Change, ModelPrices, PriceList, Rates, Snapshot, SnapshotFile, Source
from providers.types import Usage


def clock_at(moment: datetime) -> ManualClock:
    return ManualClock(wall_ns=int(moment.timestamp()) * 10**9)


def listed(input_nusd: int) -> PriceList:
    return PriceList(rates=Rates(input_nusd=input_nusd))


def book_of(prices: ModelPrices | None, *, clock: ManualClock) -> PriceBook:
    source = Source(models=(CatalogModel(id="model", prices=prices),))
    raw = {"acme": msgspec.Raw(msgspec.json.encode(source))}
    catalog = Catalog({"acme": Vendor(display="Acme", source="https://example.com", read="2026-11", prices="acme")})
    catalog._snapshot = Snapshot(SnapshotFile(version="v1", notice="", sources=raw))
    return PriceBook(catalog, clock=clock)


@pytest.fixture
def book() -> PriceBook:
    return PriceBook(load_catalog(), clock=ManualClock())


def test_an_unknown_model_has_no_price(book: PriceBook):
    assert book.find("openai", "no-such-model") is None
    assert book.find("no-such-vendor", "gpt-4o") is None
    assert book.find("vllm", "gpt-4o") is None


def test_a_model_that_is_not_charged_by_tokens_has_no_price(book: PriceBook):
    assert book.find("openai", "whisper-1") is None


def test_the_same_price_is_found_again(book: PriceBook):
    assert book.find("openai", "gpt-4o") is book.find("openai", "gpt-4o")


def test_the_version_is_that_of_the_snapshot(book: PriceBook):
    price = book.find("openai", "gpt-4o")
    assert price is not None
    assert price.version == load_catalog().snapshot.version


def test_junk_names_do_not_grow_the_book(book: PriceBook):
    for number in range(6_000):
        assert book.find("openai", f"junk-{number}") is None
        assert book.find("openai", f"ft:gpt-4o-mini-2024-{number}") is not None
    assert book._entries.cache_info().currsize == 4_096


def test_a_long_name_is_not_even_remembered(book: PriceBook):
    assert book.find("openai", "ft:gpt-3.5-turbo" + "x" * 1_000) is None
    assert book._entries.cache_info().currsize == 0


def test_absent_cache_prices_equal_the_input_price(book: PriceBook):
    price = book.find("groq", "llama-3.3-70b-versatile")
    assert price is not None
    assert price.rates.cache_read_nusd == price.rates.cache_write_nusd == price.rates.input_nusd
    assert price.rates.reasoning_nusd == price.rates.output_nusd


def test_the_operators_price_wins_as_a_whole(book: PriceBook):
    override = PriceSettings(input_nusd=150_000_000, output_nusd=600_000_000)
    price = book.find("openai", "gpt-4o", override=override)
    assert price == price_from_settings(override)
    assert price.rates.cache_read_nusd == 150_000_000
    assert cost(price, Usage(input_tokens=1_000, cache_read_tokens=1_000, output_tokens=500)) == 600_000
    assert book.find("no-such-vendor", "anything", override=override) == price


def test_the_version_of_an_override_is_what_was_written():
    one, same = PriceSettings(input_nusd=1), PriceSettings(input_nusd=1)
    other = PriceSettings(input_nusd=1, cache_read_nusd=1)
    assert price_from_settings(one).version == price_from_settings(same).version
    assert price_from_settings(one).version != price_from_settings(other).version
    assert price_from_settings(one).version.startswith("config:")
    assert len(price_from_settings(one).version) == len("config:") + 12


def test_an_override_of_nothing_is_free():
    price = price_from_settings(PriceSettings())
    assert cost(price, Usage(input_tokens=10**6, output_tokens=10**6)) == 0


def test_a_price_of_media_is_carried_over():
    price = price_from_settings(PriceSettings(input_nusd=1_000_000, audio_input_nusd=5_000_000))
    assert bound(price, input_tokens=10, output_tokens=0, has_media=True) == 50
    assert cost(price, Usage(input_tokens=10, audio_input_tokens=4)) == 6 + 20


def test_an_operators_price_of_a_picture_is_for_each():
    price = price_from_settings(PriceSettings(image_nusd=40_000_000))
    assert price.image_nusd == 40_000_000
    assert cost(price, Usage(input_tokens=9, output_tokens=900, image_output_tokens=900, images=2)) == 80_000_000
    assert price.version != price_from_settings(PriceSettings()).version


def test_a_write_that_lives_an_hour_costs_what_the_other_does_where_it_has_no_price():
    price = price_from_settings(PriceSettings(input_nusd=1, cache_write_nusd=2))
    assert price.rates.cache_write_1h_nusd == 2
    assert price_from_settings(PriceSettings(input_nusd=1)).rates.cache_write_1h_nusd == 1


def test_a_service_tier_is_found_only_where_it_has_a_price(book: PriceBook):
    priority = book.find_tier("openai", "gpt-4o-mini", service_tier="priority")
    assert priority is not None
    assert priority is book.find("openai", "gpt-4o-mini", service_tier="priority")
    assert book.find_tier("openai", "gpt-4o-mini", service_tier="default") is None
    assert book.find_tier("openai", "gpt-4o-mini", service_tier="x" * 10**5) is None
    assert book.find_tier("openai", "no-such-model", service_tier="priority") is None
    assert book.find_tier("openai", "x" * 10**5, service_tier="priority") is None


def test_a_change_holds_from_its_day_on():
    prices = ModelPrices(standard=listed(1), changes=(Change(prices=listed(2), since=date(2026, 12, 1)),))
    clock = clock_at(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))
    book = book_of(prices, clock=clock)
    assert book.find("acme", "model").rates.input_nusd == 1
    clock.advance(1)
    assert book.find("acme", "model").rates.input_nusd == 2


def test_a_window_may_pass_midnight():
    prices = ModelPrices(standard=listed(1), changes=(Change(prices=listed(2), minutes=(22 * 60, 6 * 60)),))
    expected = {21: 1, 22: 2, 23: 2, 0: 2, 5: 2, 6: 1, 12: 1}
    for hour, rate in expected.items():
        book = book_of(prices, clock=clock_at(datetime(2026, 11, 23, hour, tzinfo=UTC)))
        assert book.find("acme", "model").rates.input_nusd == rate, hour


def test_the_last_change_in_force_wins():
    changes = (
        Change(prices=listed(2), since=date(2026, 1, 1)),
        Change(prices=listed(3), minutes=(0, 60)),
        Change(prices=listed(4), since=date(2027, 1, 1)),
    )
    prices = ModelPrices(standard=listed(1), changes=changes)
    for moment, rate in [
        (datetime(2025, 1, 1, 12, tzinfo=UTC), 1),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), 2),
        (datetime(2026, 1, 1, 0, 30, tzinfo=UTC), 3),
        (datetime(2027, 1, 1, 0, 30, tzinfo=UTC), 4),
    ]:
        assert book_of(prices, clock=clock_at(moment)).find("acme", "model").rates.input_nusd == rate, moment


def test_a_known_model_without_prices_has_none():
    assert book_of(None, clock=ManualClock()).find("acme", "model") is None
