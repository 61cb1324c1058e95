"""Usage events as the queue takes them."""

from uuid import UUID

from app.domain.usage.codec import encode_event
from app.domain.usage.schemas import UsageEvent
from app.stores.entries import UsageEntry
from app.stores.protocols import PARTITIONS

_MS_PER_S = 1_000


def partition_of(organization_id: UUID) -> int:
    """Return the partition that everything of an organisation is in."""
    return organization_id.int % PARTITIONS


def entry_of(event: UsageEvent) -> UsageEntry:
    """Return an event as the queue takes it."""
    team = "" if event.team_id is None else event.team_id.hex
    return UsageEntry(
        partition_of(event.organization_id),
        event.event_id.hex,
        encode_event(event),
        round(event.occurred_at.timestamp() * _MS_PER_S),
        event.cost_nusd or 0,
        (event.organization_id.hex, team, event.key_id.hex),
    )
