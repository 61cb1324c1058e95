"""Entries into the database, in batches or one by one. Law: what the database refuses for good is parked."""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

import msgspec

from app.domain.usage.adjusting import adjustment
from app.domain.usage.codec import decode_event
from app.domain.usage.schemas import UsageEvent
from app.observability.metrics import LEDGER_PARKED, Metrics
from app.stores.entries import UsageEntry

_LOG = logging.getLogger("gateway.ledger")

Insert = Callable[[Sequence[UsageEvent]], Awaitable[set[UUID]]]
"""Inserts events, skipping those already there; returns which were new.

Raises `GatewayError` when the database is down, and `ValueError` when it refuses one of them."""

Orphans = Callable[[Collection[UUID]], Awaitable[list[UsageEvent]]]
"""Returns those of some events that a sweeper wrote. Raises `GatewayError` when the database is down."""

Park = Callable[[bytes, str], Awaitable[None]]
"""Keeps what cannot be an event, with the reason. Raises `GatewayError` when the database is down."""


class EntryWriter:
    """Writes entries; idempotent by their ids."""

    def __init__(self, insert: Insert, park: Park, *, orphans: Orphans, metrics: Metrics) -> None:
        self._insert = insert
        self._park = park
        self._orphans = orphans
        self._parked = metrics.number(LEDGER_PARKED)

    async def write(self, entries: Sequence[UsageEntry]) -> set[UUID]:
        """Write entries; return the ids of the events that the database had not. Raises `GatewayError`."""
        events: dict[UUID, UsageEvent] = {}
        for entry in entries:
            try:
                event = decode_event(entry.payload)
            except msgspec.DecodeError as error:
                await self._put_aside(entry.payload, str(error))
            else:
                events[event.event_id] = event
        fresh = await self._write(list(events.values()))
        if len(fresh) < len(events):
            await self._correct([event for event in events.values() if event.event_id not in fresh])
        return fresh

    async def _correct(self, known: Sequence[UsageEvent]) -> None:
        """Write what is missing of attempts that a sweeper had charged before their own event came.

        Whoever was cut off from the store for longer than his lease did not hear of the sweeper.
        """
        late = {event.event_id: event for event in known if event.usage_source != "orphan" and event.kind == "attempt"}
        if not late:
            return
        charged = await self._orphans(late)
        differences = [adjustment(late[each.event_id], each) for each in charged]
        await self._write([each for each in differences if each.cost_nusd or each.input_tokens or each.output_tokens])

    async def _write(self, events: Sequence[UsageEvent]) -> set[UUID]:
        """Write a batch; one that the database refuses is halved until the offending event is alone and parked."""
        if not events:
            return set()
        try:
            return await self._insert(events)
        except ValueError as error:
            if len(events) == 1:
                await self._put_aside(msgspec.json.encode(events[0]), str(error))
                return set()
            middle = len(events) // 2
            return await self._write(events[:middle]) | await self._write(events[middle:])

    async def _put_aside(self, payload: bytes, error: str) -> None:
        _LOG.error("a usage event cannot be written, and is parked in ledger_dead_letter: %s", error)
        await self._park(payload, error)
        self._parked.add()
