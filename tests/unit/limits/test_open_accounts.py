from uuid import UUID, uuid4

import pytest

from app.domain.usage.codec import decode_event
from app.domain.usage.schemas import UsageEvent
from app.kernel.clock import ManualClock
from app.limits.accounts import OpenAccounts
from app.observability.metrics import DEGRADED, Metrics
from app.stores.errors import StoreUnavailable
from app.stores.memory import MemoryUsageQueue


def event(organization):
    return UsageEvent(
        event_id=uuid4(), request_id=uuid4(), attempt=1, organization_id=UUID(int=organization), key_id=UUID(int=2),
        occurred_at=ManualClock().now(), operation="chat", dialect="openai", provider="p", model="m",
        upstream_model="up", outcome="ok", stream=False, usage_source="provider", duration_ms=1,
    )  # fmt: skip


class Flaky:
    """A queue that fails so many times, having taken the entries or not."""

    def __init__(self, faults, *, takes=False):
        self.queue = MemoryUsageQueue(clock=ManualClock())
        self.faults = faults
        self.takes = takes

    async def put(self, entries):
        if not self.faults or self.takes:
            await self.queue.put(entries)
        if self.faults:
            self.faults -= 1
            raise StoreUnavailable("away")


def accounts(queue):
    spilled, metrics = [], Metrics()
    return OpenAccounts(queue, overflow=spilled.extend, metrics=metrics), spilled, metrics


def degraded(metrics):
    return dict(metrics._cells.read())[DEGRADED.name, ("state",), "value"]


async def test_events_go_into_the_partition_of_their_organisation():
    queue = Flaky(0)
    open_accounts, spilled, metrics = accounts(queue)
    events = [event(5), event(64 + 7)]
    assert await open_accounts.settle(events, reserved=False) is True
    taken = [claimed.entry for claimed in await queue.queue.claim(limit=10, wait_s=0)]
    assert [entry.partition for entry in taken] == [5, 7]
    assert [decode_event(entry.payload) for entry in taken] == events
    assert (spilled, degraded(metrics)) == ([], 0.0)


@pytest.mark.parametrize("takes", [False, True])
async def test_a_put_that_failed_is_made_once_more(takes):
    queue = Flaky(1, takes=takes)
    open_accounts, spilled, metrics = accounts(queue)
    assert await open_accounts.settle([event(1)], reserved=True) is True
    assert await queue.queue.depth() == 1
    assert (spilled, degraded(metrics)) == ([], 0.0)


async def test_what_the_store_does_not_take_is_handed_over():
    open_accounts, spilled, metrics = accounts(Flaky(2))
    settled = event(1)
    assert await open_accounts.settle([settled], reserved=False) is False
    assert [decode_event(entry.payload) for entry in spilled] == [settled]
    assert degraded(metrics) == 1.0


async def test_nothing_is_limited():
    open_accounts, _, _ = accounts(Flaky(0))
    assert open_accounts.is_limited(uuid4()) is False
