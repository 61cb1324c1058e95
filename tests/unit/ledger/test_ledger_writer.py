import asyncio
import logging
from uuid import UUID, uuid4

import msgspec
import pytest

from app.domain.usage.codec import decode_event, encode_event
from app.domain.usage.entries import entry_of
from app.domain.usage.schemas import UsageEvent
from app.kernel.clock import ManualClock
from app.kernel.errors import Unavailable
from app.kernel.ids import adjustment_id
from app.ledger import writer as module
from app.ledger.writer import LedgerWriter
from app.ledger.writing import EntryWriter
from app.observability.metrics import LEDGER_LAG, Metrics
from app.stores.errors import StoreUnavailable
from app.stores.memory import MemoryUsageQueue
from app.stores.protocols import UsageEntry


class FakeLedger:
    """A database that can be down, hang, or refuse events called `poison`."""

    def __init__(self):
        self.rows = {}
        self.batches = []
        self.parked = []
        self.written = []
        self.withheld = set()
        self.is_down = False
        self.gate = None
        self.entered = asyncio.Event()

    async def insert(self, events):
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise Unavailable
        if any(event.model == "poison" for event in events):
            raise ValueError("a text cannot hold NUL")
        self.batches.append(len(events))
        fresh = {event.event_id for event in events} - set(self.rows)
        for event in events:
            self.rows.setdefault(event.event_id, event)
        return fresh

    async def orphans(self, ids):
        return [row for row in self.rows.values() if row.event_id in ids and row.usage_source == "orphan"]

    async def park(self, payload, error):
        if self.is_down:
            raise Unavailable
        self.parked.append((payload, error))


class Fixture:
    """A writer between a real queue and a fake database."""

    def __init__(self):
        self.clock = ManualClock()
        self.queue = MemoryUsageQueue(clock=self.clock)
        self.ledger = FakeLedger()
        self.metrics = Metrics()
        self.entries = EntryWriter(
            self.ledger.insert, self.ledger.park, orphans=self.ledger.orphans, metrics=self.metrics
        )
        self.writer = LedgerWriter(self.queue, self.entries, beside=self, metrics=self.metrics, clock=self.clock)

    async def prepare(self, claimed):
        return [item for item in claimed if item.entry.id not in self.ledger.withheld]

    def written(self, claimed):
        self.ledger.written.append([item.entry.id for item in claimed])

    def entry(self, *, model="m"):
        event = UsageEvent(
            event_id=uuid4(), request_id=uuid4(), attempt=1, organization_id=UUID(int=1), key_id=UUID(int=2),
            occurred_at=self.clock.now(), operation="chat", dialect="openai", provider="p", model=model,
            upstream_model="up", outcome="ok", stream=False, usage_source="provider", duration_ms=1,
        )  # fmt: skip
        return entry_of(event)

    async def put(self, count, **fields):
        entries = [self.entry(**fields) for _ in range(count)]
        await self.queue.put(entries)
        return entries

    async def drain(self):
        while await self.writer.step(wait_s=0.0):
            pass

    async def is_complete(self, entries):
        return {UUID(entry.id) for entry in entries} == set(self.ledger.rows) and await self.queue.depth() == 0


@pytest.fixture
async def ledger():
    return Fixture()


def test_an_event_survives_the_queue(ledger):
    entry = ledger.entry()
    assert encode_event(decode_event(entry.payload)) == entry.payload


async def test_events_are_written_in_batches_and_acknowledged(ledger):
    entries = await ledger.put(1_201)
    await ledger.drain()
    assert await ledger.is_complete(entries)
    assert ledger.ledger.batches == [500, 500, 201]


async def test_nothing_to_write_is_said(ledger):
    assert await ledger.writer.step(wait_s=0.0) is False


async def test_an_event_that_comes_twice_is_written_once(ledger):
    [entry] = await ledger.put(1)
    await ledger.drain()
    await ledger.entries.write([entry, entry])
    assert await ledger.is_complete([entry])


async def test_whoever_waits_is_told_what_is_written(ledger):
    entries = await ledger.put(2)
    await ledger.drain()
    assert ledger.ledger.written == [[entry.id for entry in entries]]


async def test_what_may_not_be_written_yet_comes_again(ledger):
    entries = await ledger.put(3)
    ledger.ledger.withheld = {entries[1].id}
    assert await ledger.writer.step(wait_s=0.0)
    assert {UUID(entry.id) for entry in (entries[0], entries[2])} == set(ledger.ledger.rows)
    assert await ledger.queue.depth() == 1
    ledger.ledger.withheld = set()
    ledger.clock.advance(31)
    await ledger.drain()
    assert await ledger.is_complete(entries)


async def test_what_a_sweeper_had_charged_is_corrected_by_the_event_that_comes_after_all(ledger):
    event = msgspec.structs.replace(
        decode_event(ledger.entry().payload), input_tokens=10, output_tokens=90, cost_nusd=500
    )
    orphan = msgspec.structs.replace(
        event, usage_source="orphan", outcome="interrupted", output_tokens=40, cost_nusd=300
    )
    await ledger.entries.write([entry_of(orphan)])
    for _ in range(2):
        assert await ledger.entries.write([entry_of(event)]) == set()
    charged, corrected = ledger.ledger.rows.values()
    assert charged == orphan
    assert (corrected.event_id, corrected.kind) == (adjustment_id(event.event_id), "adjustment")
    assert (corrected.output_tokens, corrected.cost_nusd, corrected.is_final) == (50, 200, False)
    assert sum(row.cost_nusd for row in ledger.ledger.rows.values()) == 500


@pytest.mark.parametrize("places", [[0], [6], [12], [3, 4], [0, 5, 12], list(range(13))])
async def test_a_poisoned_event_is_parked_alone(ledger, caplog, places):
    entries = [ledger.entry(model="poison" if at in places else "m") for at in range(13)]
    await ledger.queue.put(entries)
    with caplog.at_level(logging.ERROR, "gateway.ledger"):
        await ledger.drain()
    assert await ledger.is_complete([entry for at, entry in enumerate(entries) if at not in places])
    parked = [payload.decode() for payload, _ in ledger.ledger.parked]
    assert len(parked) == len(places) == len(caplog.records)
    for at in places:
        assert any(str(UUID(entries[at].id)) in text and '"model":"poison"' in text for text in parked)


async def test_what_is_no_event_is_parked(ledger, caplog):
    entries = await ledger.put(2)
    await ledger.queue.put([UsageEntry(0, "x", b"\xff garbage")])
    with caplog.at_level(logging.ERROR, "gateway.ledger"):
        await ledger.drain()
    assert await ledger.is_complete(entries)
    [(payload, _)] = ledger.ledger.parked
    assert payload == b"\xff garbage"
    assert len(caplog.records) == 1


async def test_while_the_database_is_down_nothing_is_lost_and_then_nothing_is_double(ledger):
    entries = await ledger.put(700)
    ledger.ledger.is_down = True
    for _ in range(5):
        with pytest.raises(Unavailable):
            await ledger.writer.step(wait_s=0.0)
    assert await ledger.queue.depth() == 700
    late = await ledger.put(3)
    ledger.ledger.is_down = False
    await ledger.drain()
    assert await ledger.is_complete(entries + late)
    assert sum(ledger.ledger.batches) == 703


async def test_an_outage_longer_than_the_redelivery_of_the_queue_doubles_nothing(ledger):
    entries = await ledger.put(10)
    ledger.ledger.is_down = True
    with pytest.raises(Unavailable):
        await ledger.writer.step(wait_s=0.0)
    ledger.clock.advance(31)
    ledger.ledger.is_down = False
    await ledger.drain()
    assert await ledger.is_complete(entries)


class BrokenQueue:
    """A queue whose store is away for some calls."""

    def __init__(self, queue, *, claims=0, acknowledgements=0):
        self.queue = queue
        self.faults = {"claim": claims, "acknowledge": acknowledgements}

    def _meet(self, call):
        if self.faults[call]:
            self.faults[call] -= 1
            raise StoreUnavailable("away")

    async def claim(self, **wanted):
        self._meet("claim")
        return await self.queue.claim(**wanted)

    async def acknowledge(self, claimed):
        self._meet("acknowledge")
        await self.queue.acknowledge(claimed)


async def test_a_lost_acknowledgement_is_made_again(ledger):
    entries = await ledger.put(5)
    ledger.writer._queue = BrokenQueue(ledger.queue, acknowledgements=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await ledger.writer.step(wait_s=0.0)
    await ledger.drain()
    assert await ledger.is_complete(entries)


async def test_a_running_writer_goes_on_after_any_failure(ledger, monkeypatch, caplog):
    monkeypatch.setattr(module, "_PAUSE_S", 0.001)
    faults = [Unavailable(), RuntimeError("a defect")]
    insert = ledger.ledger.insert
    done = asyncio.Event()

    async def fail_first(events):
        if faults:
            raise faults.pop(0)
        fresh = await insert(events)
        done.set()
        return fresh

    ledger.entries._insert = fail_first
    entries = await ledger.put(3)
    ledger.writer.start()
    async with asyncio.timeout(20):
        await done.wait()
    await ledger.writer.stop()
    assert await ledger.is_complete(entries)
    assert "a defect" in caplog.text


async def test_stopping_writes_what_is_there(ledger):
    ledger.writer.start()
    await asyncio.sleep(0)
    entries = await ledger.put(1_100)
    await ledger.writer.stop()
    await ledger.writer.stop()
    assert await ledger.is_complete(entries)


async def test_stopping_in_the_middle_of_a_batch_loses_none_of_it(ledger):
    ledger.ledger.gate = asyncio.Event()
    entries = await ledger.put(5)
    ledger.writer.start()
    async with asyncio.timeout(20):
        await ledger.ledger.entered.wait()
    stopping = asyncio.create_task(ledger.writer.stop())
    await asyncio.sleep(0)
    ledger.ledger.gate.set()
    await stopping
    assert await ledger.is_complete(entries)


@pytest.mark.parametrize("hangs", [False, True])
async def test_stopping_has_an_end_though_the_database_has_none(ledger, hangs):
    ledger.ledger.is_down = not hangs
    ledger.ledger.gate = asyncio.Event() if hangs else None
    await ledger.put(5)
    ledger.writer.start()
    async with asyncio.timeout(20):
        await ledger.ledger.entered.wait()
        await ledger.writer.stop(patience_s=0.05)
    assert await ledger.queue.depth() == 5


async def test_the_lag_is_that_of_the_oldest_event(ledger):
    await ledger.put(1)
    ledger.clock.advance(12)
    await ledger.put(1)
    seen = []
    insert = ledger.ledger.insert

    async def watch(events):
        seen.append(dict(ledger.metrics._cells.read())[LEDGER_LAG.name, (), "value"])
        return await insert(events)

    ledger.entries._insert = watch
    await ledger.drain()
    assert seen == [12.0]
    assert dict(ledger.metrics._cells.read())[LEDGER_LAG.name, (), "value"] == 0.0


async def test_a_long_request_is_not_late(ledger):
    """Its event has the time at which it was admitted, and is in the queue since it ended."""
    began_ms = ledger.clock.now_ns() // 10**6
    ledger.clock.advance(600)
    await ledger.queue.put([msgspec.structs.replace(ledger.entry(), at_ms=began_ms)])
    ledger.clock.advance(2)
    await ledger.writer._write(await ledger.queue.claim(limit=1, wait_s=0))
    assert dict(ledger.metrics._cells.read())[LEDGER_LAG.name, (), "value"] == 2.0


def test_a_parked_event_can_be_written_by_hand(ledger):
    event = decode_event(ledger.entry().payload)
    assert msgspec.json.decode(msgspec.json.encode(event), type=UsageEvent) == event
