"""The prices of the admin API within a process: which one is meant, and how they stay fresh."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from app.domain.prices.overlay import PriceDirectory, PriceOverlay, price_from_stored, version_of
from app.domain.prices.schemas import StoredPrice
from app.kernel.errors import Unavailable

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ID = UUID("019a0000-0000-7000-8000-0123456789ab")


def stored(model: str, *, provider: str | None = None, price_input: str | None = "1", **fields) -> StoredPrice:
    given = {"id": ID, "provider": provider, "model": model, "input": price_input, "created_at": NOW, "updated_at": NOW}
    return StoredPrice(**(given | fields))


def usd_per_million(price) -> int | None:
    return None if price is None else price.rates.input_nusd // 10**9


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([("p", "up", "1"), ("p", "pub", "2"), (None, "pub", "3"), (None, "up", "4")], 1),
        ([("p", "pub", "2"), (None, "pub", "3"), (None, "up", "4")], 2),
        ([(None, "pub", "3"), (None, "up", "4")], 3),
        ([(None, "up", "4")], 4),
        ([("q", "up", "5"), ("q", "pub", "6"), (None, "other", "7"), ("p", "other", "8")], None),
        ([("p", "UP", "1"), (None, "up ", "2")], None),
        ([], None),
    ],
)
def test_the_price_that_says_most_wins(made, expected):
    overlay = PriceOverlay([stored(model, provider=provider, price_input=text) for provider, model, text in made])
    assert usd_per_million(overlay.find(provider="p", upstream="up", public="pub")) == expected


def test_what_is_left_out_is_filled_in_as_of_the_file():
    rates = price_from_stored(stored("m", price_input="2", output="8", cache_read="0.5")).rates
    assert (rates.input_nusd, rates.cache_read_nusd, rates.cache_write_nusd) == (2 * 10**9, 5 * 10**8, 2 * 10**9)
    assert (rates.output_nusd, rates.reasoning_nusd) == (8 * 10**9, 8 * 10**9)
    assert price_from_stored(stored("m", reasoning="9")).rates.reasoning_nusd == 9 * 10**9
    assert price_from_stored(stored("m", reasoning="0")).rates.reasoning_nusd == 0
    assert price_from_stored(stored("m", price_input=None, output="1")).rates.input_nusd == 0


def test_each_change_is_another_version():
    first = stored("m")
    assert version_of(first) == "api:456789ab@1"
    assert price_from_stored(first).version == "api:456789ab@1"
    assert price_from_stored(msgspec.structs.replace(first, version=2)).version == "api:456789ab@2"


class Table:
    """Stored prices that count their readings, may be away, and may be slow."""

    def __init__(self, *prices: StoredPrice) -> None:
        self.prices = list(prices)
        self.readings = 0
        self.is_away = False
        self.gate: asyncio.Event | None = None
        self.changes = 0
        self.directory = PriceDirectory(self.read)
        self.directory.on_change = self.changed

    def changed(self) -> None:
        self.changes += 1

    async def read(self):
        self.readings += 1
        found = list(self.prices)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_away:
            raise Unavailable
        return found

    def seen(self, model="m"):
        return usd_per_million(self.directory.current.find(provider="p", upstream=model, public=model))


async def test_it_reads_only_when_a_price_may_have_changed():
    table = Table(stored("m"))
    await table.directory.refresh()
    await table.directory.refresh()
    assert (table.readings, table.changes, table.seen()) == (1, 1, 1)
    table.prices = [stored("m", price_input="2", version=2)]
    await table.directory.refresh()
    assert table.seen() == 1
    table.directory.forget()
    await table.directory.refresh()
    assert (table.readings, table.changes, table.seen()) == (2, 2, 2)


async def test_nobody_is_told_where_nothing_differs():
    table = Table()
    await table.directory.refresh()
    table.directory.forget()
    await table.directory.refresh()
    assert (table.readings, table.changes) == (2, 0)


async def test_the_change_log_may_say_the_same_many_times():
    table = Table(stored("m"))
    readings = []
    for shown in ((), (3,), (3,), (3, 4), (4,), (), (2,), (2,)):
        table.directory.note(frozenset(shown))
        await table.directory.refresh()
        readings.append(table.readings)
    assert readings == [1, 2, 2, 3, 3, 3, 4, 4]


async def test_a_failed_reading_keeps_the_old_prices_and_is_made_up_for(caplog):
    table = Table(stored("m"))
    await table.directory.refresh()
    table.prices, table.is_away = [stored("m", price_input="2")], True
    table.directory.forget()
    with pytest.raises(Unavailable):
        await table.directory.refresh()
    await table.directory.try_refresh()
    assert "prices cannot be read" in caplog.text
    assert table.seen() == 1
    table.is_away = False
    await table.directory.try_refresh()
    assert table.seen() == 2


async def test_what_changes_during_a_reading_is_read_again():
    table = Table(stored("m"))
    table.gate = asyncio.Event()
    first = asyncio.ensure_future(table.directory.refresh())
    await asyncio.sleep(0)
    table.prices = [stored("m", price_input="2")]
    table.directory.forget()
    second = asyncio.ensure_future(table.directory.refresh())
    table.gate.set()
    await asyncio.gather(first, second)
    assert (table.readings, table.seen()) == (2, 2)


async def test_a_reading_that_is_given_up_is_made_up_for():
    table = Table(stored("m"))
    table.gate = asyncio.Event()
    given_up = asyncio.ensure_future(table.directory.refresh())
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    table.gate = None
    await table.directory.refresh()
    assert table.seen() == 1
