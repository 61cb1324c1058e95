"""The seam of reserve and settle: one awaited store step before the upstream call and one after."""

from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from app.domain.usage.codec import encode_event
from app.domain.usage.schemas import UsageEvent
from app.observability.metrics import DEGRADED, Metrics
from app.stores.errors import StoreUnavailable
from app.stores.protocols import PARTITIONS, UsageEntry, UsageQueue


class Hold(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a request may use at most, asked for as a whole; `cost_nusd` is absent without a price."""

    request_id: UUID
    organization_id: UUID
    team_id: UUID | None
    key_id: UUID
    model: str
    input_tokens: int
    output_tokens: int
    cost_nusd: int | None


class Accounts(Protocol):
    """Every scope's limits and budgets, and the way into the ledger."""

    def is_limited(self, organization_id: UUID) -> bool:
        """Whether anything of this organisation must be reserved at all."""
        ...

    async def reserve(self, hold: Hold) -> None:
        """Take the hold in all scopes or in none; raises `RateLimited` or `QuotaExceeded`."""
        ...

    async def settle(self, events: Sequence[UsageEvent], *, reserved: bool) -> bool:
        """Release the request's hold, charge the events and hand them to the ledger, as one step.

        The events belong to one request; settling them again adds nothing. Returns whether the store took them;
        if not, they are on a slower way to the ledger.
        """
        ...


class OpenAccounts:
    """Accounts without limits or budgets: `reserve` asks nothing, `settle` only records."""

    def __init__(
        self, queue: UsageQueue, *, overflow: Callable[[Sequence[UsageEntry]], None], metrics: Metrics
    ) -> None:
        """Record through `queue`; what it cannot take goes to `overflow`."""
        self._queue = queue
        self._overflow = overflow
        self._degraded = metrics.number(DEGRADED, "state")

    def is_limited(self, organization_id: UUID) -> bool:
        """Return whether anything must be reserved: nothing."""
        del organization_id
        return False

    async def reserve(self, hold: Hold) -> None:
        """Take nothing."""

    async def settle(self, events: Sequence[UsageEvent], *, reserved: bool) -> bool:
        """Hand the events to the ledger; the second try is safe because entries are known by id."""
        del reserved
        entries = [
            UsageEntry(event.organization_id.int % PARTITIONS, event.event_id.hex, encode_event(event))
            for event in events
        ]
        for _ in range(2):
            try:
                await self._queue.put(entries)
            except StoreUnavailable:
                continue
            return True
        self._degraded.add()
        self._overflow(entries)
        return False
