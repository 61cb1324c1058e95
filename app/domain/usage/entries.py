"""Usage events as the queue takes them."""

from uuid import UUID

from app.domain.usage.codec import encode_event
from app.domain.usage.schemas import UsageEvent
from app.stores.entries import UsageEntry
from app.stores.protocols import PARTITIONS

Scopes = tuple[str, str, str]
"""Organisation, team (or nothing) and key, in hexadecimal."""

_MS_PER_S = 1_000


def partition_of(organization_id: UUID) -> int:
    """Return the partition that everything of an organisation is in."""
    return organization_id.int % PARTITIONS


def entry_of(event: UsageEvent, *, scopes: Scopes | None = None, at_ms: int | None = None) -> UsageEntry:
    """Return an event as the queue takes it; `scopes` and `at_ms` spare the work where they are known."""
    if scopes is None:
        scopes = scopes_of(event.organization_id, event.team_id, event.key_id)
    if at_ms is None:
        at_ms = round(event.occurred_at.timestamp() * _MS_PER_S)
    partition = partition_of(event.organization_id)
    return UsageEntry(partition, event.event_id.hex, encode_event(event), at_ms, event.cost_nusd or 0, scopes)


def scopes_of(organization_id: UUID, team_id: UUID | None, key_id: UUID) -> Scopes:
    """Return whose spending something is."""
    return organization_id.hex, "" if team_id is None else team_id.hex, key_id.hex
